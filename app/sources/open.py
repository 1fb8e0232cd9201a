"""From what the user typed to a source. A new kind of source has its file, and its line here."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from edgepose import EdgeposeError

from ..media import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from .base import Source
from .camera import LiveCapture
from .demo import Demo
from .folder import Folder
from .video import VideoFile


def local_path(spec: int | str) -> Path | None:
    """The file or folder that `spec` names; None for cameras, addresses, the demo, and nothing at all."""
    if isinstance(spec, int) or spec == "demo" or not spec.strip():
        return None
    if "://" in spec and not spec.startswith("file://"):
        return None
    return Path(spec.removeprefix("file://")).expanduser()


def open_source(spec: int | str, *, sequence: bool = False) -> Source:
    """Open a camera number, `demo`, a URL, a folder, an image or a video.

    EdgeposeError in one sentence when it is not there or cannot be read.
    """
    if isinstance(spec, int):
        return LiveCapture(spec)
    if spec == "demo":
        return Demo()
    if "://" in spec and not spec.startswith("file://"):
        suffix = Path(urlsplit(spec).path).suffix.lower()
        return VideoFile(spec) if suffix in VIDEO_SUFFIXES else LiveCapture(spec)
    path = local_path(spec)
    if path is None:
        raise EdgeposeError("the source is empty: name a file, a folder, an address or demo")
    if not path.exists():
        hint = f"; did you mean --camera {spec}?" if spec.isdigit() else "; check the spelling"
        raise EdgeposeError(f"{path}: there is no such file or folder{hint}")
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return Folder(path, sequence=sequence)
    return VideoFile(path)
