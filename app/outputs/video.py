"""A video of the results: annotated, or as the source gave the images."""

from __future__ import annotations

from typing import Any

from edgepose import EdgeposeError

from ..engine import Result
from ..overlay import OverlayOptions, SkeletonStyle, compose, fitted
from ..pyav import need_av
from ..status import count_of
from .encoder import Encoder, format_of, seconds_in
from .sound import Sound


class VideoOutput:
    """A video whose frames carry the time of capture: it lasts as long as its source, pauses and gaps included.

    `fps` is for formats that know constant rates only, and for the end of the last frame. `sound`: the file that the
    frames come from, whose sound is copied until another source begins.
    """

    def __init__(
        self, path: str, fps: float, style: SkeletonStyle, overlay: OverlayOptions, *, sound: str | None = None
    ) -> None:
        format_of(path)
        self._av = need_av()
        self._path, self._fps, self._style, self._overlay = path, fps, style, overlay
        self._sound_path = sound
        self._sound: Sound | None = None
        self._encoder: Encoder | None = None
        self._timeline = Timeline(1 / fps)
        self._failure: OSError | None = None
        self._finished = False

    def write(self, result: Result) -> None:
        image = compose(result.frame.image, result.poses, self._style, self._overlay)
        frame = result.frame
        time = self._timeline.at(frame.stream, frame.time, frame.duration)
        try:
            encoder = self._encoder or self._open(result, image.shape[1::-1])
            encoder.write(_even(image, encoder.size), time, self._timeline.step)
            if self._sound is not None and self._timeline.streams == 1:
                self._sound.copy_until(encoder.end)
        except OSError as error:
            self._finish()
            self._failure = error
            raise self._cut_short(error) from error

    def close(self) -> str:
        if self._encoder is None:
            return f"{self._path}: not written, there were no frames"
        self._finish()
        if self._failure is not None:
            raise self._cut_short(self._failure) from self._failure
        return f"{self._path}: {self._encoder.end:.1f} s of video{self._remarks()}"

    def _finish(self) -> None:
        if self._sound is not None:
            self._sound.close()
        try:
            if self._encoder is not None and not self._finished:
                self._finished = True
                self._encoder.close()
        except OSError as error:
            self._failure = error

    def _cut_short(self, error: OSError) -> EdgeposeError:
        """What was kept, read back from the file."""
        end = self._encoder.end if self._encoder else 0.0
        kept = f"{seconds_in(self._av, self._path):.1f} s of {end:.1f} s are in the file"
        return EdgeposeError(f"{self._path}: cut short, {kept} ({error.strerror or error}); choose another place")

    def _remarks(self) -> str:
        encoder, said = self._encoder, []
        if encoder is not None and encoder.left_out:
            frames = count_of(encoder.left_out, "frame", "frames")
            said.append(f"{frames} left out: this format has a constant rate, .mp4 has not")
        if self._sound is not None and self._sound.missing:
            said.append(self._sound.missing)
        return "".join(f"; {remark}" for remark in said)

    def _open(self, result: Result, size: tuple[int, int]) -> Encoder:
        width, height = (max(2, side // 2 * 2) for side in size)  # chroma is stored at half size
        try:
            encoder = self._encoder = Encoder(self._av, self._path, (width, height), self._fps)
        except OSError as error:
            reason = f"{self._path}: cannot be written ({error.strerror}); choose another place for --save"
            raise EdgeposeError(reason) from error
        if self._sound_path is not None and result.frame.sound_at is not None:
            self._sound = Sound(self._av, self._sound_path, result.frame.sound_at, encoder)
        return encoder


class Timeline:
    """Where frames are in a recording: as far apart as they were in their source; sources follow each other."""

    def __init__(self, step: float) -> None:
        self.step = step  # s, for which the last frame is shown where none follows
        self.streams = 0  # that were seen
        self._nominal = step
        self._stream = -1
        self._offset = 0.0
        self._source_time = 0.0
        self._time = 0.0

    def at(self, stream: int, time: float, duration: float | None) -> float:
        """s since the start of the recording."""
        if stream != self._stream or time < self._source_time:  # another source, or the same from its start
            self._offset = (self._time + self.step if self.streams else 0.0) - time
            self.streams += 1
        self._stream, self._source_time = stream, time
        self._time = time + self._offset
        self.step = duration or self._nominal
        return self._time


def _even(image: Any, size: tuple[int, int]) -> Any:  # [H, W, 3]
    """The image in the size of the video: without its odd last row and column, else fitted into it."""
    height, width = (max(2, side // 2 * 2) for side in image.shape[:2])
    return fitted(image[:height, :width], size)
