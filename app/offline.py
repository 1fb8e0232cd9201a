"""--smooth offline: a file is looked at twice, once by the net, once for the outputs with its whole course known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose import EdgeposeError, Poses, Skeleton
from edgepose.offline import OfflineConfig, smooth_offline
from edgepose.smoothing import SmoothingConfig

from . import headless
from .choice import source_options
from .context import AppContext
from .engine import Estimator, Result
from .headless import Report
from .sources import Source, Spec, files_of, open_source


class Collected:
    """An output that keeps the poses of every frame, without the images."""

    def __init__(self) -> None:
        self.poses: list[Poses] = []
        self.times: list[float] = []
        self.timings_ms: list[dict[str, float]] = []

    def write(self, result: Result) -> None:
        self.poses.append(result.poses)
        self.times.append(result.frame.time)
        self.timings_ms.append(result.timings_ms)

    def close(self) -> str:
        return ""


class Replay:
    """Answers as the estimator that was asked first did, frame after frame, smoothed."""

    def __init__(self, poses: list[Poses], timings_ms: list[dict[str, float]]) -> None:
        self.sequence = True
        self.last_timings_ms: dict[str, float] = {}
        self._poses, self._timings, self._next = poses, timings_ms, 0

    def __call__(self, frame: NDArray[np.uint8], *, timestamp: float | None = None) -> Poses:  # noqa: ARG002 - the engine's
        poses, self.last_timings_ms = self._poses[self._next], self._timings[self._next]
        self._next += 1
        return poses

    def reset(self) -> None:
        """Nothing to forget: the order of the frames is all."""


@dataclass(frozen=True)
class Passes:
    """What is left to do: how many frames of which source, and who answers."""

    source: Source
    estimator: Estimator
    frames: int | None = None  # None: all
    interrupted: bool = False  # the first pass was, by Ctrl-C


def two_passes(
    context: AppContext, smoothing: SmoothingConfig, *, duration: float | None, progress: Callable[[str], None]
) -> Passes:
    """The second pass, after the first one was run.

    KeyboardInterrupt where that was interrupted before anything was seen; EdgeposeError as `first_pass`.
    """
    if not can_be_read_again(context.spec):
        raise EdgeposeError(
            f"--smooth offline reads a video twice, and {context.source.name} can be read once only: save it as a file"
        )
    replay, first = first_pass(
        context.source, context.estimator, context.style.skeleton, OfflineConfig(smoothing=smoothing),
        duration=duration, max_frames=context.options.frames, progress=progress,
    )  # fmt: skip
    if not first.frames and first.interrupted:
        raise KeyboardInterrupt
    again = open_source(context.spec, options=source_options(context.options))
    return Passes(again, replay, first.frames or context.options.frames, first.interrupted)


def can_be_read_again(spec: Spec) -> bool:
    """Whether a second look shows the same: not for standard input and pipes."""
    return spec != "-" and all(path.is_file() or path.is_dir() for path in files_of(spec))


def first_pass(
    source: Source,
    estimator: Estimator,
    skeleton: Skeleton,
    config: OfflineConfig,
    *,
    duration: float | None,
    max_frames: int | None,
    progress: Callable[[str], None],
) -> tuple[Replay, Report]:
    """Run the whole file; what then answers in place of the estimator, and how the pass went.

    Raises EdgeposeError for what has no end or no order: live sources and unrelated images.
    """
    if source.live or not source.is_sequence:
        raise EdgeposeError(f"--smooth offline is for videos and --sequence folders: {source.name} is neither")
    collected = Collected()
    report = headless.run(
        source, estimator, [collected], duration=duration, max_frames=max_frames,
        progress=lambda text: progress(f"first pass: {text}"),
    )  # fmt: skip
    smoothed = smooth_offline(collected.poses, collected.times, skeleton, config)
    return Replay(smoothed, collected.timings_ms), report
