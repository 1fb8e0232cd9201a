"""An annotated video."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose import EdgeposeError

from ..engine import Result
from ..overlay import OverlayOptions, SkeletonStyle, compose, fitted
from .base import with_parent


class VideoOutput:
    """An annotated video at a constant rate; frames are repeated where needed to keep the time of capture."""

    def __init__(self, path: str, fps: float, style: SkeletonStyle, overlay: OverlayOptions) -> None:
        self._path, self._fps, self._style, self._overlay = path, fps, style, overlay
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._last: NDArray[np.uint8] = np.zeros((0, 0, 3), np.uint8)
        self._start = 0.0
        self._written = 0

    def write(self, result: Result) -> None:
        image = compose(result.frame.image, result.poses, self._style, self._overlay)
        height, width = (max(2, side // 2 * 2) for side in image.shape[:2])  # chroma is stored at half size
        image = fitted(image[:height, :width], (width, height))
        if self._writer is None:
            self._start = result.frame.time
            self._writer = self._open(image)
            self._last = image
        due = round((result.frame.time - self._start) * self._fps)
        if not -1 <= due - self._written <= 5 * self._fps:
            # Another source has begun, or there was a pause: no reason for a still, or for a gap.
            self._start = result.frame.time - self._written / self._fps
            due = self._written
        for _ in range(due - self._written):
            self._writer.write(self._last)
        self._last = fitted(image, self._size)
        if due >= self._written:
            self._writer.write(self._last)
            self._written = due + 1

    def close(self) -> str:
        if self._writer is None:
            return f"{self._path}: not written, there were no frames"
        self._writer.release()
        if not _plays(self._path):  # the writer itself never says that the disk is full
            raise EdgeposeError(f"{self._path}: the video could not be finished; is the disk full?")
        return f"{self._path}: {self._written / self._fps:.1f} s of annotated video"

    def _open(self, image: NDArray[np.uint8]) -> cv2.VideoWriter:
        codec = cv2.VideoWriter.fourcc(*("MJPG" if self._path.lower().endswith(".avi") else "mp4v"))
        self._size = (image.shape[1], image.shape[0])
        path = with_parent(self._path)
        try:  # OpenCV does not say why it cannot
            path.open("wb").close()
        except OSError as error:
            reason = f"{self._path}: cannot be written ({error.strerror}); choose another place for --save"
            raise EdgeposeError(reason) from error
        writer = cv2.VideoWriter(str(path), codec, self._fps, self._size)
        if not writer.isOpened():
            path.unlink(missing_ok=True)
            raise EdgeposeError(f"{self._path}: OpenCV cannot write such a video here; choose a name that ends in .mp4")
        return writer


def _plays(path: str) -> bool:
    """Whether a video has its index and a first frame."""
    capture = cv2.VideoCapture(path)
    try:
        return bool(capture.read()[0])
    finally:
        capture.release()
