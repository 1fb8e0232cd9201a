"""A folder of images (or a single one), unrelated unless the user says that it is a sequence."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose import EdgeposeError
from edgepose.transforms import to_bgr8

from ..media import IMAGE_SUFFIXES
from .base import Frame, Source

log = logging.getLogger(__name__)


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as [H, W, 3] BGR uint8, upright; ValueError or OSError in one sentence.

    Read by numpy and decoded from memory, because cv2.imread cannot open every path on Windows.
    """
    data = np.fromfile(path, np.uint8)
    if not data.size:
        raise ValueError("the file is empty")
    # JPEG: only the color reader obeys the camera's orientation tag. The others: depth and alpha as stored.
    is_jpeg = data[:2].tobytes() == b"\xff\xd8"
    image = cv2.imdecode(data, cv2.IMREAD_COLOR if is_jpeg else cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError("no image that OpenCV can read, or damaged")
    return to_bgr8(image)


def natural_key(path: Path) -> list[tuple[bool, int, str]]:
    """Sorts frame2 before frame10."""
    parts = re.split(r"(\d+)", path.as_posix().lower())
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]  # "²" is a digit too


class Folder(Source):
    """Images in natural order, with sub-folders. What cannot be read is named, skipped, counted."""

    def __init__(self, path: Path, *, sequence: bool = False) -> None:
        super().__init__()
        self.name = path.name or str(path)
        self.is_sequence = sequence
        self.fps = 30.0 if sequence else 1.0  # unrelated images: a slide show
        self._path = path
        self._root = path if path.is_dir() else path.parent
        files = path.rglob("*") if path.is_dir() else [path]
        self._files = sorted((f for f in files if f.suffix.lower() in IMAGE_SUFFIXES), key=natural_key)
        if not self._files:
            raise EdgeposeError(f"{path}: no images in this folder ({', '.join(sorted(IMAGE_SUFFIXES))})")
        self.count = len(self._files)
        self._position = 0
        self._index = 0

    @property
    def description(self) -> str:
        return f"{self.name} · {len(self._files)} image{'s' if len(self._files) > 1 else ''}"

    def read(self) -> Frame | None:
        while self._position < len(self._files) and not self.stopped.is_set():
            path = self._files[self._position]
            self._position += 1
            name = path.relative_to(self._root).as_posix()
            try:
                image = read_image(path)
            except (ValueError, OSError, cv2.error) as error:
                self.skipped.append(name)
                log.warning("%s: skipped: %s", name, error)
                continue
            frame = Frame(image, self._index, self._index / self.fps, file=name)
            self._index += 1
            return frame
        if not self._index and not self.stopped.is_set():
            raise EdgeposeError(f"{self._path}: no image that can be read ({len(self.skipped)} tried)")
        return None
