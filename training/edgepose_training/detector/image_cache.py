"""Images decoded once, for training."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from edgepose.images import read_image
from edgepose_training.data.mapped_images import MappedImages, appending, bytes_of, offsets_of, replacing
from edgepose_training.detector.person_lists import AnnotatedImage

log = logging.getLogger(__name__)

CHUNK = 256  # images decoded ahead of the writer at most


class ImageCache(MappedImages):
    """A list of images, none longer than `side`, in a file of `folder`. What that lacks is decoded and added to it."""

    def __init__(self, images: Sequence[AnnotatedImage], folder: Path, side: int = 320) -> None:
        path, index = folder / f"pixels-{side}.bin", folder / f"index-{side}.json"
        names, sizes = _read_index(index, path)
        rows: dict[str, int] = {}
        for row, name in enumerate(names):
            rows.setdefault(name, row)
        keys = [_key(image.path, rows) for image in images]
        if new := list(dict.fromkeys(key for key in keys if key not in rows)):
            added = _decode(new, path, sizes, side)
            rows |= {name: row for row, name in enumerate(new, len(names))}
            names, sizes = names + new, np.concatenate([sizes, added])
            with replacing(index) as temporary:
                temporary.write_text(json.dumps({"names": names, "sizes": sizes.tolist()}))
        chosen = [rows[key] for key in keys]
        super().__init__(path, sizes[chosen], offsets_of(sizes)[chosen])


def _key(path: Path, rows: Mapping[str, int]) -> str:
    """The resolved path, so that every spelling of it shares a cache; the path itself where it was written before.

    Relative ones were written as well, and are not taken: nobody knows to which folder.
    """
    resolved = str(path.resolve())
    return str(path) if resolved not in rows and path.is_absolute() and str(path) in rows else resolved


def _read_index(index: Path, path: Path) -> tuple[list[str], np.ndarray]:
    """Keys of the images, in the order of the file, and their sizes [P, 2] H, W; none where the file lacks pixels."""
    if index.exists() and path.exists():
        known = json.loads(index.read_text())
        names, sizes = known["names"], np.array(known["sizes"], np.int64).reshape(-1, 2)
        if len(names) == len(sizes) and bytes_of(sizes).sum() <= path.stat().st_size:
            return names, sizes
        log.warning("%s does not fit %s: all images are decoded again", index, path.name)
    return [], np.zeros((0, 2), np.int64)


def _decode(names: Sequence[str], path: Path, known: np.ndarray, side: int) -> np.ndarray:
    """Write images behind those of the sizes `known` [P, 2]. Returns their sizes [N, 2]."""
    sizes = []
    with appending(path, known) as file:
        for image in _read_all(names, side):
            file.write(image.data)
            sizes.append(image.shape[:2])
    log.info("decoded %d images into %s, %.1f GB", len(names), path, path.stat().st_size / 1e9)
    return np.array(sizes, np.int64)


def _read_all(names: Sequence[str], side: int) -> Iterator[np.ndarray]:
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(names), CHUNK):
            yield from pool.map(lambda name: _read(name, side), names[start : start + CHUNK])


def _read(name: str, side: int) -> np.ndarray:
    image: np.ndarray = read_image(name)
    zoom = side / max(image.shape[:2])
    if zoom < 1:
        size = [max(round(length * zoom), 1) for length in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image)
