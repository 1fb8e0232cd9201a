"""A video file: PyAV's encoder and container, every written byte checked."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose import EdgeposeError

from .base import with_parent

TICKS = 90_000  # a second: exact for 24, 25, 30 and 60 frames a second, and for 1001/30000 s


@dataclass(frozen=True)
class Format:
    """How a container is written.

    `rate`: it knows no time stamps, only a constant rate. `repeats`: nor does it know a place without a frame.
    """

    container: str
    codec: str = "libx264"
    ticks: int = TICKS  # a second, of the encoder's clock
    pixels: str = "yuv420p"
    rate: bool = False
    repeats: bool = False
    codec_options: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    sounds: frozenset[str] = frozenset()  # codecs that players of this format know

    def time_base(self, fps: Fraction) -> Fraction:
        """s, of a tick."""
        return 1 / fps if self.rate else Fraction(1, self.ticks)


# No frame waits for a later one: a frame is in the file when it was written, whatever happens next.
_X264 = {"preset": "superfast", "tune": "zerolatency", "crf": "19"}
# Fragments of a tenth of a second, made a plain MP4 at the end: what was written before a kill or a full disk plays.
# Not frag_every_frame: beside a stream of sound FFmpeg 8.1 gives some packets the time of their neighbors.
_SURVIVES = {"movflags": "hybrid_fragmented+delay_moov", "frag_duration": "100000", "flush_packets": "1"}
_VPX = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "24", "b": "8M"}
_CLUSTERS = {"cluster_time_limit": "200", "flush_packets": "1"}  # ms, that a kill may cost
_MP4 = Format(
    "mp4",
    codec_options=_X264,
    options=_SURVIVES,
    sounds=frozenset(["aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"]),
)
_MPEG = Format(
    "mpeg",
    "mpeg2video",
    rate=True,
    repeats=True,
    codec_options={"b": "8M", "bf": "0"},
    sounds=frozenset(["mp2", "mp3"]),
)
_EVERY_SOUND = frozenset(
    ["aac", "mp3", "mp2", "ac3", "eac3", "opus", "vorbis", "flac", "pcm_s16le", "pcm_s24le", "pcm_f32le", "alac"]
)
FORMATS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": Format(
        "mov", codec_options=_X264, options=_SURVIVES, sounds=_MP4.sounds | {"pcm_s16le", "pcm_s16be", "pcm_s24le"}
    ),
    ".3gp": Format("3gp", codec_options=_X264, options=_SURVIVES, sounds=frozenset(["aac", "amr_nb", "amr_wb"])),
    ".mkv": Format("matroska", codec_options=_X264, options=_CLUSTERS, sounds=_EVERY_SOUND),
    ".webm": Format(
        "webm", "libvpx", 1000, codec_options=_VPX, options=_CLUSTERS, sounds=frozenset(["opus", "vorbis"])
    ),
    ".avi": Format(
        "avi",
        "mjpeg",
        rate=True,
        pixels="yuvj420p",
        codec_options={"q": "3"},
        sounds=frozenset(["mp3", "mp2", "ac3", "pcm_s16le"]),
    ),
    ".ts": Format("mpegts", codec_options=_X264, sounds=frozenset(["aac", "mp3", "mp2", "ac3", "eac3"])),
    ".flv": Format("flv", codec_options=_X264, sounds=frozenset(["aac", "mp3"])),
    ".wmv": Format("asf", "wmv2", 1000, codec_options={"b": "8M", "bf": "0"}, sounds=frozenset(["wmav1", "wmav2"])),
    ".mpg": _MPEG,
    ".mpeg": _MPEG,
}
MPEG_RATES = (Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 50, Fraction(60000, 1001), 60)


def format_of(path: str) -> Format:
    """The format for the ending of `path`; EdgeposeError where it is not written."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise EdgeposeError(f"{path}: {suffix} is not written; use .mp4, or one of {', '.join(sorted(FORMATS))}")
    return FORMATS[suffix]


class CheckedFile(io.RawIOBase):
    """A new file that remembers its first failure and refuses everything after it.

    So what follows a full disk can destroy nothing of what is in the file.
    """

    def __init__(self, path: Path) -> None:
        self.failure: OSError | None = None
        self._file = path.open("w+b", buffering=0)

    def write(self, data: Any) -> int:
        if self.failure is not None:
            raise self.failure
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.failure = error
            raise
        return size

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


class Encoder:
    """Images of one size into a video file, each at its own time. OSError when a byte cannot be written."""

    def __init__(self, av: Any, path: str, size: tuple[int, int], fps: float) -> None:  # size: width, height, even
        self.format = format_of(path)
        self.size = size
        self.end = 0.0  # s, of the last frame
        self.left_out = 0  # frames that a constant rate has no place for
        self._av = av
        self._base = self.format.time_base(_legal(self.format, fps))
        self._last = -1  # tick
        self._shown: Any = None  # the frame there
        self._file = CheckedFile(with_parent(path))
        try:
            self.container = av.open(self._file, "w", format=self.format.container, options=dict(self.format.options))
            self._stream = self._add(fps)
        except BaseException:
            self._file.close()
            raise

    def write(self, image: NDArray[np.uint8], time: float, duration: float) -> None:  # image: [H, W, 3] BGR
        """Show `image` from `time` on; for `duration` where none follows. Both in s; times rise."""
        tick = round(time / self._base)
        if tick <= self._last:
            if self.format.rate:
                self.left_out += 1
                return
            tick = self._last + 1
        frame = self._frame(image)
        ticks = max(1, round(duration / self._base))
        if self.format.repeats and self._shown is not None:
            for missing in range(self._last + 1, tick):
                self._encode(self._shown, missing, 1)
        self.end = max(time, float(tick * self._base)) + duration
        self._encode(frame, tick, ticks)
        self._last, self._shown = tick, frame

    def _frame(self, image: NDArray[np.uint8]) -> Any:
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
        return frame.reformat(
            format=self.format.pixels,
            # What players assume where the file does not say it, as only H.264 does.
            dst_colorspace="ITU709" if self.format.codec == "libx264" else "ITU601",
            dst_color_range="JPEG" if self.format.pixels == "yuvj420p" else "MPEG",
        )

    def _encode(self, frame: Any, tick: int, ticks: int) -> None:
        frame.pts, frame.time_base = tick, self._base
        self._mux(self._stream.encode(frame), ticks)

    def close(self) -> None:
        """Finish the file. OSError when that fails; what was written before is kept."""
        try:
            if self._file.failure is None and self._last >= 0:
                self._mux(self._stream.encode(None), 1)
            self._checked(self.container.close)
        finally:
            self._file.close()
        if self._file.failure is not None:
            raise self._file.failure

    def mux(self, packet: Any) -> None:
        """Write a packet of another stream."""
        self._checked(self.container.mux, packet)

    def _mux(self, packets: list[Any], ticks: int) -> None:
        for packet in packets:
            packet.duration = ticks
            self.mux(packet)

    def _checked(self, write: Any, *args: Any) -> None:
        try:
            write(*args)
        except self._av.FFmpegError as error:
            reason = self._file.failure or OSError(None, error.strerror or str(error))
            raise reason from error
        if self._file.failure is not None:  # FFmpeg does not pass on every failure
            raise self._file.failure

    def _add(self, fps: float) -> Any:
        rate = _legal(self.format, fps)
        try:
            stream = self.container.add_stream(self.format.codec, rate, options=dict(self.format.codec_options))
        except self._av.codec.codec.UnknownCodecError as error:
            raise EdgeposeError(
                f"this PyAV has no encoder {self.format.codec}: pip install --force-reinstall av"
            ) from error
        context = stream.codec_context
        stream.width, stream.height = self.size
        stream.pix_fmt = self.format.pixels
        context.time_base = self._base
        if self.format.codec == "libx264":  # said in the file, so that every player shows the same colors
            colors = self._av.video.reformatter
            context.colorspace = colors.Colorspace.ITU709
            context.color_range = colors.ColorRange.MPEG
            context.color_trc = colors.ColorTrc.BT709
            context.color_primaries = colors.ColorPrimaries.BT709
            context.gop_size = max(1, round(2 * fps))  # to jump to
        return stream


def _legal(format: Format, fps: float) -> Fraction:
    """The rate of a format; MPEG knows eight, of which the next higher one is taken."""
    rate = Fraction(fps).limit_denominator(1001)
    if format.codec == "mpeg2video":
        return Fraction(next((legal for legal in MPEG_RATES if legal >= rate - Fraction(1, 1000)), 60))
    return rate


def seconds_in(av: Any, path: str) -> float:
    """How much of a video file plays: the end of its last frame in s; 0.0 for none."""
    end = 0.0
    with contextlib.suppress(av.FFmpegError, OSError, IndexError), av.open(path) as container:
        first: int | None = None
        for packet in container.demux(container.streams.video[0]):
            if packet.pts is not None:
                first = packet.pts if first is None else first
                end = float((packet.pts - first + (packet.duration or 0)) * packet.time_base)
    return end
