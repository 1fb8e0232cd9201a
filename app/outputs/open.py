"""From a path to the output that its ending asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgepose import EdgeposeError

from ..media import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from .base import Output, RunInfo
from .images import ImagesOutput
from .video import VideoOutput


def open_output(path: str, run: RunInfo, *, option: str = "--save") -> Output:
    """A video, an image or a folder of images, by the ending of `path`."""
    suffix = Path(path).suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return VideoOutput(path, run.fps, run.style, run.overlay, sound=run.sound)
    if suffix in IMAGE_SUFFIXES or not suffix:
        return ImagesOutput(path, run.style, run.overlay)
    raise EdgeposeError(f"{option} {path}: unknown ending {suffix}; use .mp4, .png, or a folder without ending")


def close_all(outputs: Sequence[Output]) -> list[str]:
    """Finish all files, even where one of them fails; what was written, one sentence a file."""
    said: list[str] = []
    failed: Exception | None = None
    for output in outputs:
        try:
            said.append(output.close())
        except (EdgeposeError, OSError) as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return [sentence for sentence in said if sentence]
