"""Crop shards: labeled people as small tar files in WebDataset's layout.

A shard holds, per person, `<key>.webp` or `<key>.jpg` (the window of the image around the person) and
`<key>.json` (its labels, in pixels of that window). Tar members are read in order, so shards stream well from
network storage, and any worker of any machine can take any subset of them. Compressed shards (`.tar.gz`) are a
quarter smaller: the images are dense already, but labels and tar's own blocks shrink to a tenth.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from edgepose import EdgeposeError

FORMATS = {"webp": cv2.IMWRITE_WEBP_QUALITY, "jpg": cv2.IMWRITE_JPEG_QUALITY}
SUFFIXES = (".tar", ".tar.gz")
TAR_SLACK = 2048 + 10240  # headers and padding of two members; the end of the archive
GZIP_SLACK = 320 << 10  # what Python and zlib hold back before they write


@dataclass(frozen=True, slots=True)
class Crop:
    """One person in a window of an image. Pixels of the window; float32."""

    image: np.ndarray  # [h, w, 3] uint8 BGR
    bbox: np.ndarray  # [4] xyxy, may reach outside the window
    keypoints: np.ndarray  # [K, 2]
    visible: np.ndarray  # [K] uint8: 0 unlabeled, 1 teacher's label, 2 ground truth
    weights: np.ndarray  # [K] in [0, 1], 0 where unlabeled
    source: str = ""
    license: str = ""


class ShardWriter:
    """Write crops into `<root>/crops-00000.tar`, …, none larger than `part_bytes`; `.tar.gz` if `compress`."""

    def __init__(
        self,
        root: str | Path,
        *,
        part_bytes: int = 256 << 20,
        image_format: str = "webp",
        quality: int = 90,
        compress: bool = False,
        first: int = 0,
    ) -> None:
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self.part_bytes, self.image_format, self.quality, self.compress = part_bytes, image_format, quality, compress
        self.first = first  # number of the first shard
        self.paths: list[Path] = []
        self._file: BinaryIO | None = None
        self._tar: tarfile.TarFile | None = None
        self._count = 0

    def write(self, crop: Crop) -> None:
        ok, image = cv2.imencode(f".{self.image_format}", crop.image, [FORMATS[self.image_format], self.quality])
        if not ok:
            raise EdgeposeError(f"cannot encode a crop as {self.image_format}")
        label = json.dumps(_label(crop), separators=(",", ":")).encode()
        if self._tar is None or self._position() + len(image) + len(label) + TAR_SLACK > self.part_bytes:
            self._open_next()
        assert self._tar is not None
        key = f"{self._count:07d}"
        for name, data in ((f"{key}.{self.image_format}", image.tobytes()), (f"{key}.json", label)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            self._tar.addfile(info, io.BytesIO(data))
        self._count += 1

    def _position(self) -> int:
        """Bytes that the open shard has, or will have once what is buffered reaches the file."""
        assert self._file is not None
        return self._file.tell() + GZIP_SLACK * self.compress

    def _open_next(self) -> None:
        self.close()
        path = self.root / f"crops-{self.first + len(self.paths):05d}.tar{'.gz' * self.compress}"
        self._file = path.open("wb")
        # No name, no time: the same crops make the same bytes.
        self._zip = gzip.GzipFile("", "wb", 6, self._file, mtime=0) if self.compress else None
        self._tar = tarfile.TarFile(fileobj=self._zip or self._file, mode="w", format=tarfile.USTAR_FORMAT)
        self.paths.append(path)

    def close(self) -> None:
        if self._tar is not None and self._file is not None:
            self._tar.close()
            if self._zip is not None:
                self._zip.close()
            self._file.close()
            self._tar = self._file = None

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _label(crop: Crop) -> dict[str, object]:
    table = np.column_stack((crop.keypoints, crop.visible, crop.weights)).astype(np.float64)
    return {
        "bbox": [round(float(v), 1) for v in crop.bbox],
        "keypoints": [round(v, 2) if i % 4 == 3 else round(v, 1) for i, v in enumerate(table.ravel().tolist())],
        "source": crop.source,
        "license": crop.license,
    }


def read_shard(path: str | Path) -> Iterator[Crop]:
    """Crops of one shard, in order. Raises EdgeposeError for a file that is no crop shard."""
    image: np.ndarray | None = None
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                stream = tar.extractfile(member)
                if stream is None:
                    continue
                data = stream.read()
                if not member.name.endswith(".json"):
                    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
                    continue
                if image is None:
                    raise EdgeposeError(f"{path}: expected an image before {member.name}")
                yield _crop(image, json.loads(data))
                image = None
    except (OSError, EOFError, zlib.error, tarfile.TarError, json.JSONDecodeError, KeyError) as error:
        reason = str(error).partition("\n")[0]  # tarfile lists every format that it is not
        raise EdgeposeError(f"{path}: not a readable crop shard ({reason})") from error


def _crop(image: np.ndarray, label: dict[str, Any]) -> Crop:
    table = np.asarray(label["keypoints"], np.float32).reshape(-1, 4)
    return Crop(
        image=image,
        bbox=np.asarray(label["bbox"], np.float32),
        keypoints=table[:, :2].copy(),
        visible=table[:, 2].astype(np.uint8),
        weights=table[:, 3].copy(),
        source=label.get("source", ""),
        license=label["license"] if "license" in label else label.get("licence", ""),  # as it was called before
    )


def list_shards(root: str | Path) -> list[Path]:
    """Shards in a folder, sorted; none where there are none."""
    return sorted(path for path in Path(root).glob("*.tar*") if path.name.endswith(SUFFIXES))


def find_shards(root: str | Path) -> list[Path]:
    """Shards in `root`, sorted. Raises EdgeposeError when there are none."""
    paths = list_shards(root)
    if not paths:
        raise EdgeposeError(f"{root}: no crop shards (*.tar, *.tar.gz) there; make them with training/pack.py")
    return paths
