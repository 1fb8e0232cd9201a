"""A video file (or a URL that names one): every frame once, in the file's own time."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np

from edgepose import EdgeposeError

from ..redaction import without_secrets
from .base import Frame, Source

log = logging.getLogger(__name__)


class VideoFile(Source):
    """Frames of a video in order. Turned as the file's rotation flag says (phones film sideways)."""

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        self.name = Path(without_secrets(str(path))).name
        self._capture = cv2.VideoCapture(str(path))
        self._next = self._read_image()
        if self._next is None:
            self._capture.release()
            raise EdgeposeError(f"{path}: no video that OpenCV can read; check the file, or convert it to .mp4")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = rate if 1 <= rate <= 1000 else 30.0  # some containers state 0 or their time base
        self._expected = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count = self._expected if self._expected > 0 else None
        self._index = 0
        self._time = 0.0

    @property
    def description(self) -> str:
        height, width = self._size
        return f"{self.name} · {width}×{height} · {self.fps:.3g} fps"

    def read(self) -> Frame | None:
        image = self._next
        if image is None or self.stopped.is_set():
            return None
        frame = Frame(image, self._index, self._time)
        self._index += 1
        self._next = self._read_image()
        # The container's stamp follows variable frame rates; where it is missing or runs backwards, count.
        stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        self._time = stamp if stamp > self._time else self._time + 1 / self.fps
        if self._next is None and 0 < self._index < 0.9 * self._expected:
            log.warning("%s: damaged, ends after %d of %d frames", self.name, self._index, self._expected)
        return frame

    def close(self) -> None:
        self._capture.release()

    def _read_image(self) -> np.ndarray | None:
        ok, image = self._capture.read()
        if not ok:
            return None
        if image.ndim == 2:  # some gray codecs
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        self._size = image.shape[:2]
        return image.astype(np.uint8, copy=False)
