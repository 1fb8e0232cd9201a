"""Images decoded once: one flat uint8 file that training reads at the speed of the page cache."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from edgepose import EdgeposeError
from edgepose_training.detector.person_lists import AnnotatedImage

log = logging.getLogger(__name__)

CHUNK = 256  # images decoded ahead of the writer at most


class ImageCache:
    """Pixels of a list of images, none longer than `side`, memory-mapped and shared by all processes."""

    def __init__(self, images: Sequence[AnnotatedImage], folder: Path, side: int = 320) -> None:
        self.path = folder / f"pixels-{side}.bin"
        index = folder / f"index-{side}.json"
        names = [str(image.path) for image in images]
        if not index.exists() or json.loads(index.read_text())["names"] != names:
            folder.mkdir(parents=True, exist_ok=True)
            index.unlink(missing_ok=True)
            sizes = _decode(names, self.path, side)
            index.write_text(json.dumps({"names": names, "sizes": sizes}))
        self.sizes = np.array(json.loads(index.read_text())["sizes"], np.int64).reshape(-1, 2)  # [P, 2] H, W
        lengths = self.sizes.prod(axis=1) * 3
        self._offsets = np.cumsum(lengths) - lengths
        self._pixels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, i: int) -> np.ndarray:  # [h, w, 3] BGR
        if self._pixels is None:  # opened in the process that reads, not inherited through a fork or pickle
            self._pixels = np.memmap(self.path, np.uint8, "r")
        h, w = self.sizes[i].tolist()
        start = int(self._offsets[i])
        return self._pixels[start : start + h * w * 3].reshape(h, w, 3)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_pixels": None}


def _decode(names: Sequence[str], path: Path, side: int) -> list[list[int]]:
    sizes = []
    with path.open("wb") as file, ThreadPoolExecutor(2) as pool:
        for start in range(0, len(names), CHUNK):
            for image in pool.map(lambda name: _read(name, side), names[start : start + CHUNK]):
                file.write(image.data)
                sizes.append(list(image.shape[:2]))
    log.info("decoded %d images, %.1f GB, into %s", len(names), path.stat().st_size / 1e9, path)
    return sizes


def _read(name: str, side: int) -> np.ndarray:
    image = cv2.imread(name)
    if image is None:
        raise EdgeposeError(f"{name}: cannot read the image")
    zoom = side / max(image.shape[:2])
    if zoom < 1:
        size = [max(round(length * zoom), 1) for length in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image)
