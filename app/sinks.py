"""Where results go: JSON lines, a video, annotated pictures."""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TextIO

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose import EdgeposeError
from edgepose.formats import frame_record

from .engine import Result
from .overlay import Cast, Look, compose, letterbox
from .source import PICTURE_SUFFIXES, VIDEO_SUFFIXES, Frame
from .status import count_of


class Sink(Protocol):
    """Takes every result in order; `close` finishes the file and says what was written.

    Both raise EdgeposeError when the file cannot be written; `close` may be called after that.
    """

    def write(self, result: Result) -> None: ...

    def close(self) -> str: ...


class JsonLines:
    """One JSON object a frame; `-` is standard output. Flushed by the line, so that others can follow."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._count = 0
        self._file: TextIO = sys.stdout
        if path != "-":
            try:
                self._file = _made(path).open("w", encoding="utf-8", buffering=1)
            except OSError as error:
                reason = f"{path}: cannot be written ({error.strerror}); choose another place for --json"
                raise EdgeposeError(reason) from error

    def write(self, result: Result) -> None:
        frame = result.frame
        record = frame_record(
            frame.index,
            result.poses,
            time=frame.time,
            file=frame.file,
            size=(frame.image.shape[1], frame.image.shape[0]),
            timings_ms=result.timings_ms,
        )
        try:
            self._file.write(json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n")
        except BrokenPipeError:  # the reader has had enough: no mistake
            raise
        except OSError as error:
            raise EdgeposeError(self._cut_short(error)) from error
        self._count += 1

    def close(self) -> str:
        if self._path == "-":
            self._file.flush()
            return ""
        try:
            self._file.close()
        except OSError as error:
            raise EdgeposeError(self._cut_short(error)) from error
        return f"{self._path}: {count_of(self._count, 'line', 'lines')}"

    def _cut_short(self, error: OSError) -> str:
        lines = count_of(self._count, "line", "lines")
        return f"{self._path}: cut short after {lines} ({error.strerror}); choose another place for --json"


class VideoSink:
    """An annotated video at a constant rate; frames are repeated where needed to keep the time of capture."""

    def __init__(self, path: str, fps: float, cast: Cast, look: Look) -> None:
        self._path, self._fps, self._cast, self._look = path, fps, cast, look
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._last: NDArray[np.uint8] = np.zeros((0, 0, 3), np.uint8)
        self._start = 0.0
        self._written = 0

    def write(self, result: Result) -> None:
        image = compose(result.frame.image, result.poses, self._cast, self._look)
        height, width = (max(2, side // 2 * 2) for side in image.shape[:2])  # chroma is stored at half size
        image = letterbox(image[:height, :width], (width, height))
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
        self._last = letterbox(image, self._size)
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
        writer = cv2.VideoWriter(str(_made(self._path)), codec, self._fps, self._size)
        if not writer.isOpened():
            raise EdgeposeError(f"{self._path}: cannot be written as a video; choose a place that ends in .mp4")
        return writer


def _plays(path: str) -> bool:
    """Whether a video has its index and a first frame."""
    capture = cv2.VideoCapture(path)
    try:
        return bool(capture.read()[0])
    finally:
        capture.release()


_COLOURED = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"])
# Of each format its own; OpenCV's default for WebP is lossless and takes a quarter of a second a picture.
_QUALITY = [cv2.IMWRITE_WEBP_QUALITY, 90, cv2.IMWRITE_JPEG_QUALITY, 92]


class PictureSink:
    """Annotated pictures into a folder, under their own names, or the one picture that was asked for."""

    def __init__(self, path: str, cast: Cast, look: Look) -> None:
        self._path, self._cast, self._look = Path(path), cast, look
        self._single = self._path.suffix.lower() in PICTURE_SUFFIXES
        self._count = 0

    def write(self, result: Result) -> None:
        path = _made(self._path if self._single else self._path / self._name(result.frame))
        image = compose(result.frame.image, result.poses, self._cast, self._look)
        reason = "this format cannot hold it"
        try:  # encoded in memory, because cv2.imwrite cannot open every path on Windows
            done, data = cv2.imencode(path.suffix, image, _QUALITY)
            if done:
                data.tofile(path)
        except cv2.error:
            done = False
        except OSError as error:
            done, reason = False, error.strerror or str(error)
        if not done:
            raise EdgeposeError(f"{path}: cannot be written ({reason}); choose another place for --save")
        self._count += 1

    @staticmethod
    def _name(frame: Frame) -> str:
        """The frame's own name, with another ending where the format could not hold colours at every size."""
        name = frame.file or f"frame{frame.index:06d}.jpg"
        return name if Path(name).suffix.lower() in _COLOURED else f"{name}.png"

    def close(self) -> str:
        return f"{self._path}: {count_of(self._count, 'annotated picture', 'annotated pictures')}"


def save_sink(path: str, fps: float, cast: Cast, look: Look) -> Sink:
    """A video, a picture or a folder of pictures, by the ending of `path`."""
    suffix = Path(path).suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return VideoSink(path, fps, cast, look)
    if suffix in PICTURE_SUFFIXES or not suffix:
        return PictureSink(path, cast, look)
    raise EdgeposeError(f"--save {path}: unknown ending {suffix}; use .mp4, .png, or a folder without ending")


def close_all(sinks: Sequence[Sink]) -> list[str]:
    """Finish all files, even where one of them fails; what was written, one sentence a file."""
    said: list[str] = []
    failed: Exception | None = None
    for sink in sinks:
        try:
            said.append(sink.close())
        except (EdgeposeError, OSError) as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return [sentence for sentence in said if sentence]


class Recorder:
    """Feeds sinks from a thread of its own, so that the encoder never delays the next pose.

    A short queue: when the disk cannot keep up, frames are left out of the recording and counted.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.dropped = 0
        self.error: Exception | None = None
        self._sinks = sinks
        self._queue: queue.Queue[Result | None] = queue.Queue(maxsize=16)
        self._thread = threading.Thread(target=self._run, name="edgepose-record", daemon=True)
        self._thread.start()

    def __call__(self, result: Result) -> None:
        """Take one result; never waits."""
        try:
            self._queue.put_nowait(result)
        except queue.Full:
            self.dropped += 1

    def close(self) -> list[str]:
        """Finish the files; what was written, what was not, one sentence each."""
        self._queue.put(None)
        self._thread.join()
        try:
            said = close_all(self._sinks)
        except (EdgeposeError, OSError) as error:
            said, self.error = [], self.error or error
        if self.dropped:
            said.append(f"{count_of(self.dropped, 'frame was', 'frames were')} left out: the disk is too slow")
        return [*said, *([f"recording: {self.error}"] if self.error else [])]

    def _run(self) -> None:
        while (result := self._queue.get()) is not None:
            try:
                for sink in self._sinks if self.error is None else ():
                    sink.write(result)
            except Exception as error:  # a full disk must not end the show; the window tells it
                self.error = error


def _made(path: str | Path) -> Path:
    """The path, with its folder there."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{path.parent}: this folder cannot be made ({error.strerror}); choose another place"
        raise EdgeposeError(reason) from error
    return path
