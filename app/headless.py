"""The app without a window: runs a source to its end, feeds the outputs, reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .engine import Engine, Estimator, Result
from .jitter import Jitter, JitterReport
from .outputs import Output, Recorder
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
    written: list[str] = field(default_factory=list)  # by the outputs, one sentence each
    complaints: list[str] = field(default_factory=list)  # about what an output left out

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
    clock: float | None = None,
    max_frames: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Every frame of a file, the newest frames of a live source, until the end or the limits.

    `duration` counts seconds of the source, of live ones also those of the clock, lest a dead camera never
    ends; `clock` counts those of the clock alone. `jitter` collects the points of the demo. Ctrl-C ends the run in
    order. The outputs are finished in any case; one that cannot keep up slows a file's run and misses frames of a
    live source. Raises what a thread died of.
    """
    engine = Engine(estimator, realtime=False)
    recorder = Recorder(outputs, lossless=not source.live)
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
            if clock is not None and now - start > clock:
                break
            if result is None:
                continue
            if duration is not None and result.frame.time >= duration:
                break
            _consume(result, recorder, report, jitter)
            if report.frames == max_frames or recorder.error is not None:
                break
    except KeyboardInterrupt:
        report.interrupted = True
    finally:
        engine.stop()
        _finish(recorder, report, hurry=source.live or report.interrupted)
    if recorder.error is not None and not report.interrupted:
        raise recorder.error
    report.seconds = time.perf_counter() - start
    report.skipped = tuple(source.skipped)
    report.jitter = jitter.report() if jitter else None
    return report


def _finish(recorder: Recorder, report: Report, *, hurry: bool) -> None:
    """A reader who stopped may be waited for at the end of a file, until Ctrl-C."""
    try:
        report.written = recorder.close(hurry=hurry)
    except KeyboardInterrupt:
        report.interrupted = True
        report.written = recorder.close(hurry=True)
    report.complaints = recorder.complaints()


def _consume(result: Result, recorder: Recorder, report: Report, jitter: Jitter | None) -> None:
    recorder(result)
    report.frames += 1
    report.people += len(result.poses)
    report.timings.add(result.timings_ms)
    if jitter is not None and result.frame.motion is not None:
        height, width = result.frame.image.shape[:2]
        jitter.add(result.frame.motion, result.poses, (width, height))


def _status(report: Report, engine: Engine, result: Result | None) -> str:
    total = f" of {engine.source.count}" if engine.source and engine.source.count else ""
    people = f" · {count_of(len(result.poses), 'person', 'people')}" if result else ""
    return f"frame {report.frames}{total} · {engine.pose_rate.per_second():.1f} fps{people}"
