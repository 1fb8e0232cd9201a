"""Crop shards: labelled people as small tar files (WebDataset layout), and the decoded store that training reads.

A shard holds, per person, `<key>.webp` or `<key>.jpg` (the window of the picture around the person) and
`<key>.json` (its labels, in pixels of that window). Tar members are read in order, so shards stream well from
network storage, and any worker of any machine can take any subset of them.
"""

from __future__ import annotations

import io
import json
import logging
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgepose import EdgeposeError

log = logging.getLogger(__name__)

FORMATS = {"webp": cv2.IMWRITE_WEBP_QUALITY, "jpg": cv2.IMWRITE_JPEG_QUALITY}


@dataclass(frozen=True, slots=True)
class Crop:
    """One person in a window of a picture. Pixels of the window; float32."""

    image: np.ndarray  # [h, w, 3] uint8 BGR
    bbox: np.ndarray  # [4] xyxy, may reach outside the window
    keypoints: np.ndarray  # [K, 2]
    visible: np.ndarray  # [K] uint8: 0 unlabelled, 1 teacher's label, 2 ground truth
    weights: np.ndarray  # [K] in [0, 1], 0 where unlabelled
    source: str = ""
    licence: str = ""


class ShardWriter:
    """Write crops into `<root>/crops-00000.tar`, …, none larger than `part_bytes`."""

    def __init__(self, root: str | Path, *, part_bytes: int = 256 << 20, image_format: str = "webp", quality: int = 90):
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self.part_bytes, self.image_format, self.quality = part_bytes, image_format, quality
        self.paths: list[Path] = []
        self._tar: tarfile.TarFile | None = None
        self._written = self._count = 0

    def write(self, crop: Crop) -> None:
        ok, image = cv2.imencode(f".{self.image_format}", crop.image, [FORMATS[self.image_format], self.quality])
        if not ok:
            raise EdgeposeError(f"cannot encode a crop as {self.image_format}")
        label = json.dumps(_label(crop), separators=(",", ":")).encode()
        # 512-byte headers and padding, for two members.
        size = len(image) + len(label) + 2048
        if self._tar is None or self._written + size > self.part_bytes:
            self._open_next()
        assert self._tar is not None
        key = f"{self._count:07d}"
        for name, data in ((f"{key}.{self.image_format}", image.tobytes()), (f"{key}.json", label)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            self._tar.addfile(info, io.BytesIO(data))
        self._written += size
        self._count += 1

    def _open_next(self) -> None:
        self.close()
        self.paths.append(self.root / f"crops-{len(self.paths):05d}.tar")
        self._tar = tarfile.TarFile(self.paths[-1], "w", format=tarfile.USTAR_FORMAT)
        self._written = 10240  # the end-of-archive blocks

    def close(self) -> None:
        if self._tar is not None:
            self._tar.close()
            self._tar = None

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
        "licence": crop.licence,
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
    except (OSError, tarfile.TarError, json.JSONDecodeError, KeyError) as error:
        raise EdgeposeError(f"{path}: not a readable crop shard ({error})") from error


def _crop(image: np.ndarray, label: dict) -> Crop:
    table = np.asarray(label["keypoints"], np.float32).reshape(-1, 4)
    return Crop(
        image=image,
        bbox=np.asarray(label["bbox"], np.float32),
        keypoints=table[:, :2].copy(),
        visible=table[:, 2].astype(np.uint8),
        weights=table[:, 3].copy(),
        source=label.get("source", ""),
        licence=label.get("licence", ""),
    )


def find_shards(root: str | Path) -> list[Path]:
    """Shards below `root`, sorted. Raises EdgeposeError when there are none."""
    paths = sorted(Path(root).glob("*.tar"))
    if not paths:
        raise EdgeposeError(f"{root}: no crop shards (*.tar) there; make them with training/pack.py")
    return paths


class CropStore(Sequence[Crop]):
    """All crops of a shard folder, decoded once into one memory-mapped file beside it.

    Decoding WebP costs more than augmenting, on every epoch; a flat uint8 file is read at the speed of the page
    cache and shared by all worker processes of a machine.
    """

    def __init__(self, shards: Sequence[Path], cache: str | Path | None = None) -> None:
        root = Path(cache) if cache else Path(shards[0]).parent / "decoded"
        fingerprint = [[path.name, path.stat().st_size] for path in map(Path, shards)]
        index = root / "index.npz"
        if not index.exists() or json.loads(str(np.load(index)["shards"])) != fingerprint:
            _decode(shards, root, fingerprint)
        with np.load(index) as table:
            self.offsets, self.sizes = table["offsets"], table["sizes"]
            self.bboxes, self.keypoints = table["bboxes"], table["keypoints"]
            self.visible, self.weights = table["visible"], table["weights"]
            self.sources, self.licences = table["sources"], table["licences"]
        self.path = root / "pixels.bin"
        self._pixels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def num_keypoints(self) -> int:
        return int(self.keypoints.shape[1])

    def __getitem__(self, i):  # type: ignore[override]
        if self._pixels is None:  # opened in the worker that reads, not inherited through a fork or pickle
            self._pixels = np.memmap(self.path, np.uint8, "r")
        h, w = (int(v) for v in self.sizes[i])
        start = int(self.offsets[i])
        return Crop(
            image=self._pixels[start : start + h * w * 3].reshape(h, w, 3),
            bbox=self.bboxes[i],
            keypoints=self.keypoints[i],
            visible=self.visible[i],
            weights=self.weights[i],
            source=str(self.sources[i]),
            licence=str(self.licences[i]),
        )

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_pixels": None}


def _decode(shards: Iterable[Path], root: Path, fingerprint: list) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "index.npz").unlink(missing_ok=True)
    crops: list[Crop] = []
    with (root / "pixels.bin").open("wb") as pixels:
        for path in shards:
            for crop in read_shard(path):
                pixels.write(np.ascontiguousarray(crop.image).data)
                crops.append(Crop(np.empty((*crop.image.shape[:2], 0)), *_fields(crop)))
    sizes = np.array([crop.image.shape[:2] for crop in crops], np.int32)
    lengths = sizes.prod(1).astype(np.int64) * 3
    np.savez(
        root / "index.npz",
        shards=json.dumps(fingerprint),
        sizes=sizes,
        offsets=np.cumsum(lengths) - lengths,
        bboxes=np.stack([c.bbox for c in crops]),
        keypoints=np.stack([c.keypoints for c in crops]),
        visible=np.stack([c.visible for c in crops]),
        weights=np.stack([c.weights for c in crops]),
        sources=np.array([c.source for c in crops]),
        licences=np.array([c.licence for c in crops]),
    )
    log.info("decoded %d crops, %.1f GB, into %s", len(crops), lengths.sum() / 1e9, root)


def _fields(crop: Crop) -> tuple:
    return crop.bbox, crop.keypoints, crop.visible, crop.weights, crop.source, crop.licence
