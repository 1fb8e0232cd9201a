"""A folder of images (or a single one), unrelated unless the user says that it is a sequence."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgepose import EdgeposeError
from edgepose.images import decode_image

from ..media import IMAGE_SUFFIXES
from .base import Frame, Source

log = logging.getLogger(__name__)


def natural_key(path: Path) -> list[tuple[bool, int, str]]:
    """Sorts frame2 before frame10."""
    parts = re.split(r"(\d+)", path.as_posix().lower())
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]  # "²" is a digit too


class Folder(Source):
    """Images in natural order, with sub-folders; or the `files` given. What cannot be read is named, skipped, counted.

    It keeps its place: the images after it have the index and the time that they would have beside it.
    """

    def __init__(
        self, path: Path, *, sequence: bool = False, fps: float | None = None, files: Sequence[Path] | None = None
    ) -> None:
        super().__init__()
        self.name = path.name or str(path)
        self.is_sequence = sequence
        self.fps = fps or (30.0 if sequence else 1.0)  # unrelated images: a slide show
        self._path = path
        self._files = images_in(path) if files is None else list(files)
        self._root = Path(os.path.commonpath([path if path.is_dir() else file.parent for file in self._files]))
        self.count = len(self._files)
        self._position = 0
        self._read_any = False

    @property
    def description(self) -> str:
        return f"{self.name} · {len(self._files)} image{'s' if len(self._files) > 1 else ''}"

    def read(self) -> Frame | None:
        while self._position < len(self._files) and not self.stopped.is_set():
            index, self._position = self._position, self._position + 1
            name = self._files[index].relative_to(self._root).as_posix()
            try:
                image = decode_image(np.fromfile(self._files[index], np.uint8))
            except (ValueError, OSError) as error:
                self._skip(name, error)
                continue
            self._read_any = True
            time, duration = index / self.fps, 1 / self.fps
            return Frame(self.upright(image), index, time, file=name, duration=duration)
        if not self._read_any and not self.stopped.is_set():
            raise EdgeposeError(f"{self._path}: no image that can be read ({len(self.skipped)} tried)")
        return None

    def _skip(self, name: str, error: Exception) -> None:
        if len(self._files) == 1:
            raise EdgeposeError(f"{self._path}: {getattr(error, 'strerror', None) or error}") from error
        self.skipped.append(name)
        log.warning("%s: skipped: %s", name, error)


# How the content of images begins, in part after four bytes of length; and that of videos that may be called like one.
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"ftypavif", b"ftyphei", b"ftypmif1", b"ftypmsf1")
_VIDEOS = (b"ftyp", b"\x1aE\xdf\xa3", b"RIFF")


def is_image(path: Path) -> bool:
    """Whether a file is an image: by its content where that says so, else by its ending."""
    head = b""
    try:
        if path.is_file():  # a pipe can be read once only: to look at it would be to lose its beginning
            with path.open("rb") as file:
                head = file.read(16)
    except OSError:
        pass
    if head.startswith(_IMAGES) or head[4:].startswith(_IMAGES) or head[8:12] == b"WEBP":
        return True
    return path.suffix.lower() in IMAGE_SUFFIXES and not (head.startswith(_VIDEOS) or head[4:].startswith(_VIDEOS))


def images_in(path: Path) -> list[Path]:
    """The images of a folder and its sub-folders in natural order, or the one that `path` is."""
    if not path.is_dir():
        return [path]
    found = sorted((file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES), key=natural_key)
    if not found:
        raise EdgeposeError(f"{path}: no images in this folder ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return found
