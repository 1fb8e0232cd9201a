"""Cameras and network streams: live, so they may stop, freeze or vanish, and are opened again."""

from __future__ import annotations

import logging
import os
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose import EdgeposeError

from .base import Frame, Source
from .names import name_of

log = logging.getLogger(__name__)

FROZEN_AFTER = 5.0  # s without a single changed pixel; a real sensor always has noise
RETRY_DELAYS = (0.5, 1.0, 2.0, 4.0)  # s between attempts to open again; the last one repeats
# A stream is only useful when it is recent: no buffering, and no five seconds of probing at the start.
STREAM_OPTIONS = "fflags;nobuffer|flags;low_delay|analyzeduration;1000000|rtsp_transport;tcp"


@dataclass(frozen=True)
class CameraSettings:
    """What to ask a camera for; it answers with what it can do."""

    size: tuple[int, int] | None = None  # (width, height) px; None: 1280 × 720
    fps: float | None = None  # None: 30
    format: str | None = None  # four letters; None: MJPG

    def missed(self, width: int, height: int, fps: float, format: str) -> list[str]:
        """What was asked for and is not what came."""
        missed = []
        if self.size and self.size != (width, height):
            missed.append(f"{self.size[0]}×{self.size[1]}")
        if self.format and self.format != format:
            missed.append(self.format)
        if self.fps and abs(self.fps - fps) > 0.5:
            missed.append(f"{self.fps:.3g} fps")
        return missed


def find_camera(name: str) -> int:
    """The number of the camera whose name is `name` or holds it, in any case. EdgeposeError for none or many."""
    cameras = list_cameras()
    wanted = name.casefold()
    same = [number for number, label in cameras.items() if label.casefold() == wanted]
    found = same or [number for number, label in cameras.items() if wanted in label.casefold()]
    if len(found) == 1 or (found and same):
        return found[0]
    here = ", ".join(f"{number} ({label})" for number, label in cameras.items()) or "none that the system names"
    what = "several cameras have" if found else "no camera has"
    raise EdgeposeError(f"--camera {name}: {what} such a name; cameras here: {here}")


def list_cameras() -> dict[int, str]:
    """Camera numbers and names, without opening one; empty where the system does not say (not Linux)."""
    cameras: dict[int, str] = {}
    for entry in Path("/sys/class/video4linux").glob("video*"):
        try:  # a device has several nodes; index 0 is the one with images
            if (entry / "index").read_text().strip() == "0":
                cameras[int(entry.name.removeprefix("video"))] = (entry / "name").read_text("utf-8", "replace").strip()
        except (OSError, ValueError):
            continue
    return dict(sorted(cameras.items()))


class LiveCapture(Source):
    """A camera by number or a stream by URL.

    A dead stream leaves OpenCV's `isOpened()` True, so failed and frozen reads decide. The first opening
    raises EdgeposeError; later ones wait and try again, with `message` set, until `stop`.
    """

    live = True

    def __init__(self, target: int | str, settings: CameraSettings | None = None) -> None:
        super().__init__()
        self.target = target
        self.name = name_of(target)
        self._settings = settings or CameraSettings()
        self._index = 0
        self._start: float | None = None
        self._freeze = FreezeWatch(FROZEN_AFTER)
        self._capture, self._pending = self._open()
        if self._pending is None:
            raise EdgeposeError(self._why_not())

    @property
    def description(self) -> str:
        return self._negotiated

    def read(self) -> Frame | None:
        while not self.stopped.is_set():
            image = self._pending
            self._pending = None
            if image is None:
                image = self._grab()
            now = time.perf_counter()
            if image is None:
                self._reopen(f"{self.name} stopped sending images")
            elif self._freeze.frozen(image, now):
                self._reopen(f"{self.name} sends the same image again and again")
            else:
                self.message = ""
                return self._frame(image, now)
        return None

    def close(self) -> None:
        self._capture.release()

    def _frame(self, image: NDArray[np.uint8], now: float) -> Frame:
        if self._start is None:
            self._start = now
        frame = Frame(self.upright(image), self._index, now - self._start)
        self._index += 1
        return frame

    def _grab(self) -> NDArray[np.uint8] | None:
        try:
            ok, image = self._capture.read()
        except cv2.error as error:
            log.debug("%s: %s", self.name, error)
            return None
        if not ok or image is None:
            return None
        if image.ndim == 2:  # infrared cameras
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        return image.astype(np.uint8, copy=False)

    def _open(self) -> tuple[cv2.VideoCapture, NDArray[np.uint8] | None]:
        """The device and its first image; None instead of an image when it gives none."""
        if isinstance(self.target, int):
            backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
            self._capture = cv2.VideoCapture(self.target, backend)
            self._ask(self._capture)
        else:
            self._capture = _open_stream(self.target)
        image = self._grab() if self._capture.isOpened() else None
        if image is not None:
            self._negotiated = self._say_negotiated(image)
            rate = self._capture.get(cv2.CAP_PROP_FPS)
            self.fps = rate if 1 <= rate <= 240 else 30.0
        return self._capture, image

    def _ask(self, capture: cv2.VideoCapture) -> None:
        settings = self._settings
        width, height = settings.size or (1280, 720)
        # MJPG first: uncompressed formats leave USB 2 no bandwidth for 30 fps at 720p.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*(settings.format or "MJPG")))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        capture.set(cv2.CAP_PROP_FPS, settings.fps or 30)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def _say_negotiated(self, image: NDArray[np.uint8]) -> str:
        """What the device agreed to, and what it did not."""
        height, width = image.shape[:2]
        rate, format = self._capture.get(cv2.CAP_PROP_FPS), _fourcc(self._capture)
        missed = self._settings.missed(width, height, rate, format)
        asked = f" (asked for {' · '.join(missed)})" if missed else ""
        return f"{self.name} · {_format(width, height, rate, format)}{asked}"

    def _reopen(self, problem: str) -> None:
        """Close and open until an image comes or `stop`."""
        attempt = 0
        while True:
            self.message = f"{problem}; opening it again…"
            log.warning("%s", self.message)
            self._capture.release()
            if self.stopped.wait(RETRY_DELAYS[min(attempt, len(RETRY_DELAYS) - 1)]):
                return
            self._capture, self._pending = self._open()
            if self._pending is not None:
                log.warning("%s is back", self.name)
                return
            attempt += 1
            problem = f"{self.name} is gone"

    def _why_not(self) -> str:
        self._capture.release()
        if not isinstance(self.target, int):
            return f"{self.name}: no video stream there; check the address and that its server is running"
        cameras = list_cameras()
        node = Path(f"/dev/video{self.target}")
        if node.exists() and not os.access(node, os.R_OK | os.W_OK):
            return f"{self.name}: no permission for {node}; add your user to the group 'video' and log in again"
        if self.target in cameras or node.exists():
            return f"{self.name} gives no images; close other programs that use it, or plug it in again"
        found = ", ".join(f"{n} ({name})" for n, name in cameras.items())
        instead = f"this machine has {found}" if found else "no camera was found; try --source demo"
        return f"{self.name}: there is no such camera; {instead}"


class FreezeWatch:
    """Notices when a stream repeats one image for too long."""

    def __init__(self, after: float) -> None:
        self.after = after  # s; doubles with each alarm, as the image may be still for a good reason
        self._signature = 0
        self._since = 0.0

    def frozen(self, image: NDArray[np.uint8], now: float) -> bool:  # image: [H, W, 3]
        """Whether `image` has been the same for `after` seconds."""
        signature = zlib.crc32(image[::8, ::8].tobytes())
        if signature != self._signature:
            self._signature, self._since = signature, now
            return False
        if now - self._since < self.after:
            return False
        self.after *= 2
        self._since = now
        return True


def _open_stream(url: str) -> cv2.VideoCapture:
    key = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    before = os.environ.get(key)
    os.environ.setdefault(key, STREAM_OPTIONS)  # read by OpenCV while it opens
    try:
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 8000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 5000]
        return cv2.VideoCapture(url, cv2.CAP_FFMPEG, timeouts)
    finally:
        if before is None:
            os.environ.pop(key, None)


def _fourcc(capture: cv2.VideoCapture) -> str:
    """Four letters, or nothing where the device does not say."""
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    letters = "".join(chr(code >> 8 * i & 255) for i in range(4)).strip()
    return letters if letters.isalnum() else ""


def _format(width: int, height: int, rate: float, format: str) -> str:
    """What the device agreed to, e.g. `1280×720 · MJPG · 30 fps`."""
    words = [f"{width}×{height}", format, f"{rate:.3g} fps" if rate > 0 else ""]
    return " · ".join(word for word in words if word)
