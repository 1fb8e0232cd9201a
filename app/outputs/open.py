"""From a path to the output that its ending asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgepose import EdgeposeError

from ..media import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from ..overlay import Cast, Look
from .base import Sink
from .images import PictureSink
from .video import VideoSink


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
