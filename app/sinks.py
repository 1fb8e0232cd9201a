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
from .source import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from .status import count_of


class Sink(Protocol):
    """Takes every result in order; `close` finishes the file and says what was written."""

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
        self._file.write(json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n")
        self._count += 1

    def close(self) -> str:
        if self._path == "-":
            self._file.flush()
            return ""
        self._file.close()
        return f"{self._path}: {count_of(self._count, 'line', 'lines')}"


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
        image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]  # chroma is stored at half size
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
        return f"{self._path}: {self._written / self._fps:.1f} s of annotated video"

    def _open(self, image: NDArray[np.uint8]) -> cv2.VideoWriter:
        codec = cv2.VideoWriter.fourcc(*("MJPG" if self._path.lower().endswith(".avi") else "mp4v"))
        self._size = (image.shape[1], image.shape[0])
        writer = cv2.VideoWriter(str(_made(self._path)), codec, self._fps, self._size)
        if not writer.isOpened():
            raise EdgeposeError(f"{self._path}: cannot be written as a video; choose a place that ends in .mp4")
        return writer


# Of each format its own; OpenCV's default for WebP is lossless and takes a quarter of a second a picture.
_QUALITY = [cv2.IMWRITE_WEBP_QUALITY, 90, cv2.IMWRITE_JPEG_QUALITY, 92]


class PictureSink:
    """Annotated pictures into a folder, under their own names, or the one picture that was asked for."""

    def __init__(self, path: str, cast: Cast, look: Look) -> None:
        self._path, self._cast, self._look = Path(path), cast, look
        self._single = self._path.suffix.lower() in PICTURE_SUFFIXES
        self._count = 0

    def write(self, result: Result) -> None:
        name = result.frame.file or f"frame{result.frame.index:06d}.jpg"
        path = _made(self._path if self._single else self._path / name)
        image = compose(result.frame.image, result.poses, self._cast, self._look)
        try:
            done = cv2.imwrite(str(path), image, _QUALITY)
        except cv2.error:
            done = False
        if not done:
            raise EdgeposeError(f"{path}: cannot be written; choose another place for --save")
        self._count += 1

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
        """Finish the files; what was written, one sentence a file."""
        self._queue.put(None)
        self._thread.join()
        said = [said for sink in self._sinks if (said := sink.close())]
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
