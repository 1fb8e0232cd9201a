"""Annotated images."""

from __future__ import annotations

from pathlib import Path

import cv2

from edgepose import EdgeposeError

from ..engine import Result
from ..media import IMAGE_SUFFIXES
from ..overlay import OverlayOptions, SkeletonStyle, compose
from ..status import count_of
from .base import fresh

_COLORED = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"])
# Of each format its own; OpenCV's default for WebP is lossless and takes a quarter of a second an image.
_QUALITY = [cv2.IMWRITE_WEBP_QUALITY, 90, cv2.IMWRITE_JPEG_QUALITY, 92]


class ImagesOutput:
    """Annotated images into a folder, under their own names, or the one image that was asked for."""

    def __init__(self, path: str, style: SkeletonStyle, overlay: OverlayOptions) -> None:
        self._path, self._style, self._overlay = Path(path), style, overlay
        self._single = self._path.suffix.lower() in IMAGE_SUFFIXES
        self._count = 0

    def write(self, result: Result) -> None:
        if self._single and self._count:
            return  # the window has gone on to another source: the image that was asked for is there
        path = self._path if self._single else self._path / self._name(result)
        image = compose(result.frame.image, result.poses, self._style, self._overlay)
        reason = "this format cannot hold it"
        try:  # encoded in memory, because cv2.imwrite cannot open every path on Windows
            done, data = cv2.imencode(path.suffix, image, _QUALITY)
            if done:
                data.tofile(fresh(path))
        except cv2.error:
            done = False
        except OSError as error:
            done, reason = False, error.strerror or str(error)
        if not done:
            raise EdgeposeError(f"{path}: cannot be written ({reason}); choose another place for --save")
        self._count += 1

    @staticmethod
    def _name(result: Result) -> str:
        """The frame's own name, with another ending where the format could not hold colors at every size."""
        name = result.frame.file or f"frame{result.frame.index:06d}.jpg"
        return name if Path(name).suffix.lower() in _COLORED else f"{name}.png"

    def close(self) -> str:
        return f"{self._path}: {count_of(self._count, 'annotated image', 'annotated images')}"
