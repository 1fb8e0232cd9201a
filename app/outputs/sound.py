"""The sound of a video file, copied as it is beside the frames that were made of it."""

from __future__ import annotations

from typing import Any

from .encoder import Encoder


class Sound:
    """Copies packets of sound up to the time of the last frame. Not encoded again: nothing is lost.

    `start`: time of the first frame in s, in the clock of `path`.
    """

    def __init__(self, av: Any, path: str, start: float, encoder: Encoder) -> None:
        self.missing = ""  # why there is none, for people
        self._av, self._encoder, self._start = av, encoder, start
        self._packets: Any = iter(())
        self._next: Any = None
        try:
            self._container = av.open(path)
        except (av.FFmpegError, OSError):
            self.missing = "its sound cannot be read again"
            return
        source = self._container.streams.best("audio")
        codec = source.codec_context.name if source is not None and source.codec_context else ""
        codec = {"mp3float": "mp3", "mp2float": "mp2", "libopus": "opus", "libvorbis": "vorbis"}.get(codec, codec)
        if codec not in encoder.format.sounds:
            self.missing = f"without its sound: {codec or 'its codec'} does not fit there, but in .mkv"
            self.close()
            return
        self._stream = encoder.container.add_stream_from_template(source)
        self._packets = self._container.demux(source)
        self._next = self._read()

    def copy_until(self, time: float) -> None:
        """Write the packets that begin before `time`, in s since the first frame."""
        while self._next is not None and self._at(self._next) < time:
            packet, self._next = self._next, self._read()
            if self._at(packet) >= 0:
                packet.stream = self._stream
                shift = round(self._start / packet.time_base)
                packet.dts -= shift
                packet.pts = packet.dts if packet.pts is None else packet.pts - shift
                self._encoder.mux(packet)

    def close(self) -> None:
        self._next = None
        self._container.close()

    def _at(self, packet: Any) -> float:
        return float(packet.dts * packet.time_base) - self._start

    def _read(self) -> Any:
        try:
            return next((packet for packet in self._packets if packet.dts is not None), None)
        except (self._av.FFmpegError, OSError):  # damaged there: the frames are worth more
            return None
