"""Images decoded once, for training."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from edgepose import EdgeposeError
from edgepose_training.data.mapped_images import MappedImages, appending, offsets_of, replacing
from edgepose_training.detector.person_lists import AnnotatedImage

log = logging.getLogger(__name__)

CHUNK = 256  # images decoded ahead of the writer at most


class ImageCache(MappedImages):
    """A list of images, none longer than `side`, in a file of `folder`. What that lacks is decoded and added to it."""

    def __init__(self, images: Sequence[AnnotatedImage], folder: Path, side: int = 320) -> None:
        path, index = folder / f"pixels-{side}.bin", folder / f"index-{side}.json"
        names = [str(image.path) for image in images]
        sizes = _read_index(index)
        if new := list(dict.fromkeys(name for name in names if name not in sizes)):
            _decode(new, path, sizes, side)
            with replacing(index) as temporary:
                temporary.write_text(json.dumps({"names": list(sizes), "sizes": list(sizes.values())}))
        rows = {name: row for row, name in enumerate(sizes)}
        chosen = [rows[name] for name in names]
        table = _table(sizes)
        super().__init__(path, table[chosen], offsets_of(table)[chosen])


Sizes = dict[str, list[int]]  # path of an image → H, W, in the order of the file


def _read_index(index: Path) -> Sizes:
    if not index.exists():
        return {}
    known = json.loads(index.read_text())
    return dict(zip(known["names"], known["sizes"], strict=True))


def _table(sizes: Sizes) -> np.ndarray:  # [P, 2]
    return np.array(list(sizes.values()), np.int64).reshape(-1, 2)


def _decode(names: Sequence[str], path: Path, sizes: Sizes, side: int) -> None:
    """Write the images behind those of `sizes`, and their sizes into it."""
    with appending(path, _table(sizes)) as file:
        for name, image in zip(names, _read_all(names, side), strict=True):
            file.write(image.data)
            sizes[name] = list(image.shape[:2])
    log.info("decoded %d images into %s, %.1f GB", len(names), path, path.stat().st_size / 1e9)


def _read_all(names: Sequence[str], side: int) -> Iterator[np.ndarray]:
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(names), CHUNK):
            yield from pool.map(lambda name: _read(name, side), names[start : start + CHUNK])


def _read(name: str, side: int) -> np.ndarray:
    image = cv2.imread(name)
    if image is None:
        raise EdgeposeError(f"{name}: cannot read the image")
    zoom = side / max(image.shape[:2])
    if zoom < 1:
        size = [max(round(length * zoom), 1) for length in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image)
