"""What the user has chosen to look at."""

from __future__ import annotations

import sys
from collections.abc import Callable

from .options import AppOptions
from .sources import SourceOptions, Spec, expand
from .sources.camera import find_camera, list_cameras


def source_options(options: AppOptions) -> SourceOptions:
    """Those of the options that sources know."""
    return SourceOptions(options.sequence, options.fps, options.size, options.format, options.rotate)


def choose(options: AppOptions, tell: Callable[[str], None]) -> list[Spec]:
    """What to open, in order; where the user did not say: the first camera, else the demo, which `tell` says.

    EdgeposeError where a pattern or a camera's name fits nothing.
    """
    if options.camera is not None:
        return [find_camera(options.camera) if isinstance(options.camera, str) else options.camera]
    if options.sources or options.source is not None:
        return expand(options.sources or [options.source or ""])
    cameras = list_cameras()
    if cameras or sys.platform != "linux":
        return [next(iter(cameras), 0)]
    tell("no camera found, so showing the demo (--camera N, or the name of a file, chooses)")
    return ["demo"]


def cameras_text() -> str:
    """The cameras by number and name, one a line; a sentence where there are none."""
    cameras = list_cameras()
    if cameras:
        return "\n".join(f"{number}  {name}" for number, name in cameras.items())
    where = "no camera found" if sys.platform == "linux" else "the names of cameras are known on Linux only"
    return f"{where}; --camera 0 tries the first one"
