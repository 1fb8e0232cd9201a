"""The decoded crops that training reads: their pixels in one file and a table of labels, made once from shards.

Decoding WebP costs more than augmenting, on every epoch; see mapped_images.py.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgepose import EdgeposeError
from edgepose_training.data.mapped_images import MappedImages, appending, bytes_of, offsets_of, replacing
from edgepose_training.data.shards import Crop, read_shard

log = logging.getLogger(__name__)

COLUMNS = ("sizes", "bboxes", "keypoints", "visible", "weights", "sources", "licenses")
Shard = tuple[str, int]  # name and size of the file; a cache knows its shards by them
Table = dict[str, np.ndarray]


class CropCache(Sequence[Crop]):
    """All crops of some shards, decoded into `cache`, by default the folder `decoded` beside the first of them.

    What is decoded already is kept; new shards are added at the end. If a shard is gone or changed, all are
    decoded anew. `workers` processes decode a shard each.
    """

    repeats: np.ndarray | None = None  # [N] how often each is seen in an epoch; None: once

    def __init__(self, shards: Sequence[Path], cache: str | Path | None = None, *, workers: int = 1) -> None:
        root = Path(cache) if cache else Path(shards[0]).parent / "decoded"
        if not set(_known(root)) <= {_name(path) for path in shards}:
            (root / "index.npz").unlink()
        extend(root, shards, workers=workers)
        self._open(root)

    @classmethod
    def open(cls, root: str | Path) -> CropCache:
        """A cache as it lies in its folder, its shards there or not."""
        cache = cls.__new__(cls)
        cache._open(Path(root))
        return cache

    def _open(self, root: Path) -> None:
        if not (root / "index.npz").exists():
            raise EdgeposeError(f"{root}: no decoded crops there")
        table = _load_columns(root)
        self.sizes, self.bboxes, self.keypoints = table["sizes"], table["bboxes"], table["keypoints"]
        self.visible, self.weights = table["visible"], table["weights"]
        self.sources, self.licenses = table["sources"], table["licenses"]
        self.images = MappedImages(root / "pixels.bin", self.sizes)
        self.offsets, self.path = self.images.offsets, self.images.path

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_keypoints(self) -> int:
        return int(self.keypoints.shape[1])

    def flat(self) -> np.ndarray:
        """The pixels of all images, one behind the other, at `offsets`; uint8."""
        return np.fromfile(self.path, np.uint8, int(bytes_of(self.sizes).sum()))

    def __getitem__(self, i: int) -> Crop:  # type: ignore[override]  # no slices
        return Crop(
            image=self.images[i],
            bbox=self.bboxes[i],
            keypoints=self.keypoints[i],
            visible=self.visible[i],
            weights=self.weights[i],
            source=str(self.sources[i]),
            license=str(self.licenses[i]),
        )


def extend(root: Path, shards: Sequence[Path], *, workers: int = 1) -> int:
    """Decode those of `shards` that a cache lacks, and add them to it. Returns the number of new crops.

    A crash leaves the cache as it was.
    """
    root.mkdir(parents=True, exist_ok=True)
    known = _known(root)
    new = [Path(path) for path in shards if _name(path) not in known]
    if not new:
        return 0
    tables = [_load_columns(root)] if known else []
    before = sum(len(table["sizes"]) for table in tables)
    pixels = root / "pixels.bin"
    try:
        with appending(pixels, tables[0]["sizes"] if tables else np.zeros((0, 2), np.int32)) as file:
            for path, table in zip(new, _decode_all(new, root, workers), strict=True):
                part = _part(root, path)
                with part.open("rb") as decoded:
                    shutil.copyfileobj(decoded, file, 16 << 20)
                part.unlink()
                if len(table["sizes"]):
                    tables.append(table)
    finally:
        for path in new:
            _part(root, path).unlink(missing_ok=True)
    if not tables:
        raise EdgeposeError(f"{new[0]}: no people in it")
    if len({table["keypoints"].shape[1] for table in tables}) > 1:
        raise EdgeposeError(f"{new[0].parent}: shards of different skeletons cannot be one cache")
    table = {name: np.concatenate([t[name] for t in tables]) for name in COLUMNS}
    _write_index(root, table, [*known, *map(_name, new)])
    added = len(table["sizes"]) - before
    log.info("decoded %d crops into %s, which now holds %d, %.1f GB", added, root, before + added,
             pixels.stat().st_size / 1e9)  # fmt: skip
    return added


def _decode_all(shards: Sequence[Path], root: Path, workers: int) -> Sequence[Table]:
    outs = [_part(root, path) for path in shards]
    if workers <= 1 or len(shards) == 1:
        return [_decode(path, out) for path, out in zip(shards, outs, strict=True)]
    # Started afresh: a fork of a process that runs torch's threads may hang.
    with ProcessPoolExecutor(min(workers, len(shards)), mp_context=get_context("spawn")) as pool:
        return list(pool.map(_decode, shards, outs))


def _decode(shard: Path, out: Path) -> Table:
    """Write one shard's pixels to `out`; its labels."""
    cv2.setNumThreads(1)
    crops: list[Crop] = []
    sizes = []
    with out.open("wb") as pixels:
        for crop in read_shard(shard):
            pixels.write(np.ascontiguousarray(crop.image).data)
            sizes.append(crop.image.shape[:2])
            crops.append(Crop(np.empty((0, 0, 3), np.uint8), crop.bbox, crop.keypoints, crop.visible, crop.weights,
                              crop.source, crop.license))  # fmt: skip
    return {
        "sizes": np.array(sizes, np.int32).reshape(-1, 2),
        "bboxes": np.array([c.bbox for c in crops], np.float32),
        "keypoints": np.array([c.keypoints for c in crops], np.float32),
        "visible": np.array([c.visible for c in crops], np.uint8),
        "weights": np.array([c.weights for c in crops], np.float32),
        "sources": np.array([c.source for c in crops], str),
        "licenses": np.array([c.license for c in crops], str),
    }


def _name(path: str | Path) -> Shard:
    return Path(path).name, Path(path).stat().st_size


def _part(root: Path, shard: Path) -> Path:
    return root / f"{shard.name}.pixels"


def _known(root: Path) -> list[Shard]:
    if not (root / "index.npz").exists():
        return []
    with np.load(root / "index.npz") as table:
        return [(name, size) for name, size in json.loads(str(table["shards"]))]


def _load_columns(root: Path) -> Table:
    with np.load(root / "index.npz") as table:
        names = [{"licences": "licenses"}.get(name, name) for name in table.files]  # as it was called before
        columns = dict(zip(names, table.files, strict=True))
        return {name: table[columns[name]] for name in COLUMNS}


def _write_index(root: Path, table: Table, shards: list[Shard]) -> None:
    with replacing(root / "index.npz") as temporary:
        columns: dict[str, Any] = {**table, "shards": json.dumps(shards), "offsets": offsets_of(table["sizes"])}
        np.savez(temporary, **columns)
