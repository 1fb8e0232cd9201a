"""Where pictures come from: the Frame, the interface of all sources, the choice by what the user typed."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from edgepose import EdgeposeError

VIDEO_SUFFIXES = frozenset(
    [".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".ogv", ".3gp"]
)
PICTURE_SUFFIXES = frozenset(
    [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm", ".jp2", ".avif"]
)


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture and what is known about its making."""

    image: NDArray[np.uint8]  # [H, W, 3], BGR
    index: int  # 0, 1, … within its source
    time: float  # s, of capture: since the first frame, in the clock of the camera or of the file
    file: str | None = None  # name within the folder
    motion: NDArray[np.float64] | None = None  # [2, 3] photograph → frame; the demo alone knows it
    captured: float = 0.0  # s, perf_counter when the picture was there; the age on screen counts from here
    stream: int = 0  # which of the sources opened since the start it belongs to


class Source(ABC):
    """A stream of frames. `read` is called by one thread; `stop` may be called by any."""

    name: str  # for people: "camera 0", "holiday.mp4", "demo"
    live: bool = False  # the pictures do not wait for us: the newest wins, a lost connection is opened again
    related: bool = True  # neighbouring pictures show the same scene: track and smooth
    fps: float = 30.0  # nominal rate; recordings and the pace of playback use it
    count: int | None = None  # pictures, where known
    message: str = ""  # what is wrong right now, for people; empty when all is well

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.skipped: list[str] = []  # files that could not be read

    @property
    def description(self) -> str:
        """The name, with what was negotiated with the device where there is one."""
        return self.name

    @abstractmethod
    def read(self) -> Frame | None:
        """The next frame, or None when there are no more (or after `stop`)."""

    def stop(self) -> None:
        """Make a waiting `read` return soon."""
        self.stopped.set()

    def close(self) -> None:  # noqa: B027 - most sources hold nothing
        """Release the device or file. Called by the thread that reads."""


def local_path(spec: int | str) -> Path | None:
    """The file or folder that `spec` names; None for cameras, addresses, the demo, and nothing at all."""
    if isinstance(spec, int) or spec == "demo" or not spec.strip():
        return None
    if "://" in spec and not spec.startswith("file://"):
        return None
    return Path(spec.removeprefix("file://")).expanduser()


def open_source(spec: int | str, *, sequence: bool = False) -> Source:
    """Open a camera number, `demo`, a URL, a folder, a picture or a video.

    EdgeposeError in one sentence when it is not there or cannot be read.
    """
    from .camera import LiveCapture
    from .demo import Demo
    from .folder import Folder
    from .video import VideoFile

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
    if path.is_dir() or path.suffix.lower() in PICTURE_SUFFIXES:
        return Folder(path, sequence=sequence)
    return VideoFile(path)
