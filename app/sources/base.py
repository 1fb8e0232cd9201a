"""Where images come from: the Frame, and the interface of all sources."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frame:
    """One image and what is known about its making."""

    image: NDArray[np.uint8]  # [H, W, 3], BGR
    index: int  # 0, 1, … within its source
    time: float  # s, of capture: since the first frame, in the clock of the camera or of the file
    file: str | None = None  # name within the folder
    motion: NDArray[np.float64] | None = None  # [2, 3] photograph → frame; the demo alone knows it
    captured: float = 0.0  # s, perf_counter when the image was there; the age on screen counts from here
    stream: int = 0  # which of the sources opened since the start it belongs to
    duration: float | None = None  # s, for which it is to be shown, where the file says so
    sound_at: float | None = None  # s, its time in the clock of `Source.sound`


class Source(ABC):
    """A stream of frames. `read` is called by one thread; `stop` may be called by any."""

    name: str  # for people: "camera 0", "holiday.mp4", "demo"
    live: bool = False  # the images do not wait for us: the newest wins, a lost connection is opened again
    is_sequence: bool = True  # neighboring images show the same scene: track and smooth
    fps: float = 30.0  # nominal rate; recordings and the pace of playback use it
    count: int | None = None  # images, where known
    sound: str | None = None  # path or address of the file whose sound belongs to the images
    rotation: int = 0  # degrees clockwise by which images are turned: 0, 90, 180 or 270
    message: str = ""  # what is wrong right now, for people; empty when all is well

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.skipped: list[str] = []  # files that could not be read

    @property
    def description(self) -> str:
        """The name, with what was negotiated with the device where there is one."""
        return self.name

    def upright(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:  # [H, W, 3]
        """The image after `rotation`."""
        return np.ascontiguousarray(np.rot90(image, -self.rotation // 90)) if self.rotation else image

    @abstractmethod
    def read(self) -> Frame | None:
        """The next frame, or None when there are no more (or after `stop`)."""

    def stop(self) -> None:
        """Make a waiting `read` return soon."""
        self.stopped.set()

    def close(self) -> None:  # noqa: B027 - most sources hold nothing
        """Release the device or file. Called by the thread that reads."""
