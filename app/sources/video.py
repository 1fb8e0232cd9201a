"""A video: a file, standard input, or an address that names a file. Every frame once, in the file's own time."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgepose import EdgeposeError

from ..pyav import need_av, to_bgr
from ..redaction import without_secrets
from .base import Frame, Source

log = logging.getLogger(__name__)

TIMEOUTS = (8.0, 5.0)  # s to open an address, and for each read
UNSEEN_END = 1.0  # s by which containers overstate their duration in good faith


class VideoFile(Source):
    """Frames of a video in order, upright, at the times that the file states.

    `path`: a file, an address, or "-" for standard input. EdgeposeError in one sentence where no frame can be decoded.
    Damage is passed over as far as the decoder can, and said at the end.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        self._av = need_av()
        self._path = "standard input" if path == "-" else without_secrets(str(path))
        self.name = self._path if path == "-" else Path(self._path).name
        self._broken = 0  # packets that could not be decoded, after the first frame
        self._cut: str = ""  # why the file ends early
        self._seen_until = 0.0  # s in the container, of all its streams
        self._container = self._open(path)
        try:
            self._stream = self._choose()
            self._frames = self._decode()
            self._next = next(self._frames, None)
            if self._next is None:
                what = _IN_ONE_GO if path == "-" else _CONVERT
                raise EdgeposeError(f"{self._path}: no frame of it can be decoded ({self._codec()}); {what}")
        except BaseException:
            self._container.close()
            raise
        self._describe(self._next)
        self._index = 0
        self._time = 0.0
        self._damage_said = False
        self._clock = Clock(1 / self.fps)
        if path != "-" and "://" not in str(path) and self._container.streams.audio:
            self.sound = str(path)

    @property
    def description(self) -> str:
        width, height = self._size if self.rotation % 180 == 0 else self._size[::-1]
        rate = f" · {self._rate:.3g} fps" if self._rate else ""
        return f"{self.name} · {width}×{height}{rate}"

    def read(self) -> Frame | None:
        if self.stopped.is_set():
            return None
        picture, self._next = self._next or next(self._frames, None), None
        if picture is None:
            self._say_damage()
            return None
        base = picture.time_base
        duration = float(picture.duration * base) if picture.duration and base else None
        self._time = self._clock.at(picture.time, duration)
        frame = Frame(self.upright(to_bgr(picture)), self._index, self._time, duration=duration, sound_at=picture.time)
        self._index += 1
        return frame

    def close(self) -> None:
        self._container.close()

    def _open(self, path: Path | str) -> Any:
        if path == "-" and sys.stdin is None:
            raise EdgeposeError("standard input is closed; name a file, or lead a video into it")
        source: Any = sys.stdin.buffer if path == "-" else str(path)
        try:
            return self._av.open(source, timeout=TIMEOUTS if "://" in str(path) else None)
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise EdgeposeError(f"{self._path}: {why_not_opened(path, error)}") from error

    def _choose(self) -> Any:
        """The video among the streams; a cover of a song is none."""
        streams = self._container.streams
        cover = self._av.stream.Disposition.attached_pic
        videos = [stream for stream in streams.video if not stream.disposition & cover]
        if not videos:
            kinds = sorted({stream.type for stream in streams})
            raise EdgeposeError(f"{self._path}: there is no video in it, only {' and '.join(kinds) or 'nothing'}")
        best = streams.best("video")
        stream = best if best in videos else videos[0]
        if stream.codec_context is None:
            raise EdgeposeError(f"{self._path}: nothing here decodes its video; {_CONVERT}")
        # Across frames too: what a file costs in latency it gains in throughput. Not for what may come from a camera.
        stream.thread_type = "SLICE" if self.name == "standard input" else "AUTO"
        return stream

    def _decode(self) -> Iterator[Any]:
        """All frames. What cannot be decoded is counted and passed over."""
        seen = False
        try:
            for packet in self._container.demux():
                if self.stopped.is_set():
                    return
                self._note_end(packet)
                if packet.stream is not self._stream:
                    continue
                try:
                    frames = packet.decode()
                except self._av.FFmpegError as error:
                    log.debug("%s: %s", self._path, error)
                    self._broken += seen  # before the first: a stream that was cut at no key frame
                    continue
                seen = seen or bool(frames)
                yield from frames
        except (self._av.FFmpegError, OSError) as error:
            log.debug("%s: %s", self._path, error)
            self._cut = without_secrets(getattr(error, "strerror", None) or str(error))

    def _note_end(self, packet: Any) -> None:
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is not None:
            self._seen_until = max(self._seen_until, float((stamp + (packet.duration or 0)) * packet.time_base))

    def _describe(self, picture: Any) -> None:
        rates = (self._stream.average_rate, self._stream.guessed_rate)
        # Some containers state 0, or their time base (1,000 in what browsers record).
        self._rate = next((float(rate) for rate in rates if rate and 1 <= rate <= 480), 0.0)
        self.fps = self._rate or 30.0
        self._size = to_bgr(picture).shape[1::-1]
        stated = self._container.duration
        self._duration = None if stated is None else stated / self._av.time_base
        alone = len(self._container.streams) == 1  # else the duration may be that of the sound
        self.count = self._stream.frames or (round((self._duration or 0) * self._rate) if alone else 0) or None

    def _codec(self) -> str:
        context = self._stream.codec_context
        return f"{context.name}, {context.pix_fmt or 'unknown pixels'}"

    def _say_damage(self) -> None:
        if self._damage_said:
            return
        self._damage_said = True
        start = (self._container.start_time or 0) / self._av.time_base
        # Some containers state their length, others the time of their end.
        missing = 0.0 if self._duration is None else self._duration - self._seen_until + min(start, 0.0)
        if self._cut or missing > max(UNSEEN_END, 0.1 * (self._duration or 0)):
            of = f" of {self._duration:.1f} s" if self._duration else ""
            log.warning("%s: damaged or cut off: it ends after %.1f s%s", self.name, self._time, of)
        elif self._broken:
            log.warning("%s: damaged: %d of its packets could not be decoded", self.name, self._broken)


class Clock:
    """Seconds since the first frame, strictly rising, from stamps that may be missing or jump."""

    def __init__(self, step: float) -> None:
        self._step = step  # s, where a stamp is of no use
        self._time = -1.0
        self._offset: float | None = None  # what a stamp needs to be our time

    def at(self, stamp: float | None, duration: float | None = None) -> float:
        """The time of the next frame; `stamp` and `duration` in s, as the container has them."""
        if self._time < 0:
            self._time, self._offset = 0.0, None if stamp is None else -stamp
        elif stamp is None or self._offset is None or stamp + self._offset <= self._time:
            self._time += self._step
            self._offset = None if stamp is None else self._time - stamp  # the container's clock was set back
        else:
            self._time = stamp + self._offset
        self._step = duration or self._step
        return self._time


_CONVERT = "convert it, for example: ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4"

_IN_ONE_GO = "it is read in one go, which .mkv, .ts and .webm allow, but no .mp4 with its index at the end"


def why_not_opened(path: Path | str, error: Exception) -> str:
    """What is wrong with something that FFmpeg cannot open, for people."""
    reason = without_secrets(getattr(error, "strerror", None) or str(error))
    if path == "-":
        return f"no video comes from there ({reason}); {_IN_ONE_GO}"
    if "://" in str(path):
        return f"no video there ({reason}); check the address and that its server is running"
    file = Path(path)
    if file.is_file() and file.stat().st_size == 0:
        return "the file is empty"
    if isinstance(error, PermissionError):
        return f"cannot be opened ({reason}); check who may read it"
    if file.is_file() and _lacks_index(file):
        return "cut off before its index was written, so nothing can be read; record or copy it again"
    return f"no video that can be read ({reason}); check the file, or {_CONVERT}"


def _lacks_index(path: Path) -> bool:
    """Whether this is an MP4 or MOV without its index (`moov`), as an interrupted copy or recording leaves it."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            kinds: list[bytes] = []
            at = 0
            while at + 8 <= size and len(kinds) < 1000:
                file.seek(at)
                head = file.read(16)
                length = int.from_bytes(head[:4], "big")
                length = int.from_bytes(head[8:16], "big") if length == 1 else length
                if length < 8 or (head[4:8] == b"moov" and at + length > size):
                    break
                kinds.append(head[4:8])
                at += length
    except OSError:
        return False
    return kinds[:1] == [b"ftyp"] and b"moov" not in kinds
