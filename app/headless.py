"""The app without a window: runs a source to its end, feeds the outputs, reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .engine import Engine, Estimator, Result
from .jitter import Jitter, JitterReport
from .outputs import Output
from .sources import Source
from .status import count_of
from .timing import TimingTable

PROGRESS_EVERY = 2.0  # s
WARMUP = 5  # frames left out of the table of timings


@dataclass
class Report:
    """What a run came to."""

    frames: int = 0
    people: int = 0  # over all frames
    seconds: float = 0.0
    skipped: tuple[str, ...] = ()
    interrupted: bool = False
    timings: TimingTable = field(default_factory=lambda: TimingTable(WARMUP))
    jitter: JitterReport | None = None

    def text(self) -> str:
        """For people, several lines."""
        rate = self.frames / self.seconds if self.seconds else 0.0
        frames = count_of(self.frames, "frame", "frames")
        lines = [
            f"{frames} in {self.seconds:.1f} s ({rate:.1f} fps), {self.people / max(1, self.frames):.2f} people a frame"
        ]
        if self.skipped:
            few = ", ".join(self.skipped[:5]) + (" …" if len(self.skipped) > 5 else "")
            count = count_of(len(self.skipped), "file", "files")
            lines.append(f"skipped {count} that could not be read: {few}")
        if self.timings.rows():
            lines += ["", self.timings.text()]
        if self.jitter is not None:
            lines += ["", str(self.jitter)]
        return "\n".join(lines)


def run(
    source: Source,
    estimator: Estimator,
    outputs: Sequence[Output],
    *,
    jitter: Jitter | None = None,
    duration: float | None = None,
    max_frames: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Every frame of a file, the newest frames of a live source, until the end or the limits.

    `duration` counts seconds of the source, of live ones also those of the clock, lest a dead camera never
    ends. `jitter` collects the points of the demo. Ctrl-C ends the run in order. Raises what a thread died of.
    """
    engine = Engine(estimator, realtime=False)
    report = Report()
    start = said = time.perf_counter()
    engine.open(lambda: source)
    try:
        for result in engine.results():
            now = time.perf_counter()
            if now - said > PROGRESS_EVERY:
                said = now
                progress(source.message or _status(report, engine, result))
            if duration is not None and source.live and now - start > duration:
                break
            if result is None:
                continue
            if duration is not None and result.frame.time >= duration:
                break
            _consume(result, outputs, report, jitter)
            if report.frames == max_frames:
                break
    except KeyboardInterrupt:
        report.interrupted = True
    finally:
        engine.stop()
    report.seconds = time.perf_counter() - start
    report.skipped = tuple(source.skipped)
    report.jitter = jitter.report() if jitter else None
    return report


def _consume(result: Result, outputs: Sequence[Output], report: Report, jitter: Jitter | None) -> None:
    write_start = time.perf_counter()
    for output in outputs:
        output.write(result)
    written = {"write": 1000 * (time.perf_counter() - write_start)} if outputs else {}
    report.frames += 1
    report.people += len(result.poses)
    report.timings.add({**result.timings_ms, **written})
    if jitter is not None and result.frame.motion is not None:
        height, width = result.frame.image.shape[:2]
        jitter.add(result.frame.motion, result.poses, (width, height))


def _status(report: Report, engine: Engine, result: Result | None) -> str:
    total = f" of {engine.source.count}" if engine.source and engine.source.count else ""
    people = f" · {count_of(len(result.poses), 'person', 'people')}" if result else ""
    return f"frame {report.frames}{total} · {engine.pose_rate.per_second():.1f} fps{people}"
