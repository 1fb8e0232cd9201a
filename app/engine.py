"""The running machine without a face: a capture thread, a pose thread, one slot after each."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose import EdgeposeError, Poses

from .mailbox import Mailbox
from .opening import Opening
from .sources.base import Frame, Source
from .timing import Rate

log = logging.getLogger(__name__)

RELEASE_WITHIN = 0.5  # s that the old source has to let go of its device; one that hangs is not waited for
POLL = 0.05  # s between two looks whether a source that is being opened is still wanted


class EngineState(Enum):
    """What the engine is doing; `Engine.message` says it to people."""

    IDLE = auto()  # no source was ever opened
    OPENING = auto()  # a camera or an address may take seconds
    RUNNING = auto()
    PAUSED = auto()
    ENDED = auto()  # the source has no more frames
    FAILED = auto()  # the source could not be opened or read, or the estimator failed (then `error` is set)
    STOPPED = auto()  # by `stop`, for good


class Estimator(Protocol):
    """What the engine needs of `edgepose.TopdownEstimator`."""

    sequence: bool  # whether frames follow each other: tracked and smoothed
    last_timings_ms: dict[str, float]

    def __call__(self, frame: NDArray[np.uint8], *, timestamp: float | None = None) -> Poses: ...

    def reset(self) -> None: ...


@dataclass(frozen=True, eq=False)
class Result:
    """A frame and the people in it."""

    frame: Frame
    poses: Poses
    timings_ms: dict[str, float]  # detect, crop, network, decode, track, and pose: all of them together


class Engine:
    """Runs one source after another through one estimator.

    `realtime` (the window): files play at their own pace, and whoever is slow gets the newest image.
    Otherwise (headless): files run as fast as they can and no frame is lost. Live sources are always newest
    first. `on_result` is called by the pose thread, without payload: fetch with `take`.
    """

    def __init__(self, estimator: Estimator, *, realtime: bool, on_result: Callable[[], None] = lambda: None) -> None:
        self.estimator = estimator
        self.realtime = realtime
        self.source: Source | None = None
        self.message = ""  # for people: why there is no image; empty while there are some, and at the end
        self.error: BaseException | None = None  # what ended the run for good; no other source can mend it
        self.listeners: list[Callable[[Result], None]] = []  # called by the pose thread for every result
        self.captured_rate, self.pose_rate = Rate(), Rate()
        self._on_result = on_result
        # One slot each, not a queue: what waits grows old, and a slow net would show the past.
        # A frame, and whether it belongs to a sequence; or the number of a source that has ended.
        self._frames: Mailbox[tuple[Frame, bool] | int] = Mailbox()
        self._results: Mailbox[Result] = Mailbox()
        self._stream = 0  # number of the source that counts; a thread of another one has nothing to say
        self._state = EngineState.IDLE
        self._lock = threading.Lock()  # of the two above and `message`: three threads write them
        self._running = threading.Event()  # cleared: paused
        self._running.set()
        self._capture: threading.Thread | None = None
        # Two threads, so that a camera is read at its own rate while the net is busy: a driver's buffer that nobody
        # empties hands out frames that are seconds old. Daemons: a device that blocks must not hold the process.
        self._pose = threading.Thread(target=self._pose_loop, name="edgepose-pose", daemon=True)

    def open(self, opener: Callable[[], Source] | Opening, name: str = "") -> None:
        """Switch to the source that `opener` makes, in a thread, as that may take long; `name`: for people, until then.

        What was opened or is being opened before is given up at once, even where it hangs.
        """
        if self.error is not None:
            return  # nobody is left to look at its frames; the message of the failure stays
        if self._pose.ident is None:
            self._pose.start()  # first: a source that fails at once must find somebody to hear of it
        with self._lock:
            self._stream += 1
            self._state, self.message = EngineState.OPENING, f"opening {name}…" if name else "opening…"
            old, self.source = self.source, None  # what is said of a source from now on is not about the old one
        if old is not None:
            old.stop()
        self._running.set()
        before = self._capture
        job = partial(self._capture_loop, opener, self._stream, before)
        self._capture = threading.Thread(target=job, name="edgepose-capture", daemon=True)
        self._capture.start()

    def take(self, timeout: float | None = 0.0) -> Result | None:
        """The newest result of the present source that nobody has taken, or None."""
        result = self._results.get(timeout)
        return result if result is not None and result.frame.stream == self._stream else None

    def results(self, poll: float = 0.2) -> Iterator[Result | None]:
        """Results until the source ends, None every `poll` seconds without. Raises what a thread died of."""
        while not self._results.closed:
            yield self._results.get(poll)
        if self.error is not None:
            raise self.error

    @property
    def state(self) -> EngineState:
        if self.error is not None:
            return EngineState.FAILED
        return EngineState.PAUSED if self._state is EngineState.RUNNING and self.paused else self._state

    @property
    def paused(self) -> bool:
        return not self._running.is_set()

    @paused.setter
    def paused(self, paused: bool) -> None:
        if paused:
            self._running.clear()
        else:
            self._running.set()

    def stop(self, timeout: float = 3.0) -> None:
        """End both threads: the net has `timeout` s to finish its frame; a device that hangs is left to its thread."""
        with self._lock:
            self._stream += 1  # whatever a thread still says is out of date
            self._state = EngineState.STOPPED
        if self.source is not None:
            self.source.stop()
        self._running.set()
        self._frames.close()
        self._results.close()
        for thread, patience in ((self._capture, min(RELEASE_WITHIN, timeout)), (self._pose, timeout)):
            if thread is not None and thread.is_alive():
                thread.join(patience)

    # The capture thread -----------------------------------------------------------------------------------

    def _capture_loop(
        self, opener: Callable[[], Source] | Opening, stream: int, before: threading.Thread | None
    ) -> None:
        if before is not None:
            before.join(RELEASE_WITHIN)  # a camera must be released before it is opened again
        try:
            source = self._opened(opener, stream)
        except Exception as error:  # whatever the opening of a device throws belongs on screen
            self._fail(error, stream)
            return
        if source is None:
            return
        try:
            if self._enter(EngineState.RUNNING, stream, source=source):
                self._pump(source, stream)
        except Exception as error:  # as above, for reading
            self._fail(error, stream)
        finally:
            source.close()

    def _opened(self, opener: Callable[[], Source] | Opening, stream: int) -> Source | None:
        """What `opener` makes, or None as soon as another source is wanted."""
        opening = opener if isinstance(opener, Opening) else Opening(opener)
        while stream == self._stream:
            if opening.wait(POLL):
                return opening.take()
        opening.abandon()
        return None

    def _pump(self, source: Source, stream: int) -> None:
        # A live source has its own pace; a file gets the clock's where people watch. Unrelated images are all looked
        # at, even in a window: each is a result of its own.
        pace = Pace() if self.realtime and not source.live else None
        lossless = not source.live and not (self.realtime and source.is_sequence)
        end = 0.0  # s, of the last frame: it is shown as long as the others
        while stream == self._stream:
            if not source.live and self.paused:
                self._running.wait()
                pace = Pace() if pace else None  # else the pause would be made up for by a rush
            frame = source.read()
            if frame is None:
                break
            if pace is not None:
                pace.wait(frame.time, source.stopped)
                end = frame.time + (frame.duration or 1 / source.fps)
            self.captured_rate.tick()
            if source.live and self.paused:
                continue  # keep the camera's buffer fresh
            # Stamped after the wait: the age on screen is that of the way through net and window.
            frame = replace(frame, captured=time.perf_counter(), stream=stream)
            if stream != self._stream or not self._frames.put((frame, source.is_sequence), wait=lossless):
                return
        if pace is not None:
            pace.wait(end, source.stopped)
        self._frames.put(stream, wait=True)  # after the last frame: the end is when that was looked at

    def _fail(self, error: Exception, stream: int) -> None:
        if not self._enter(EngineState.FAILED, stream, str(error)):
            return
        if not isinstance(error, EdgeposeError):
            log.exception("capture failed")
        if not self.realtime:
            self.error = error
            self._frames.close()
        self._on_result()

    def _enter(self, state: EngineState, stream: int, message: str = "", source: Source | None = None) -> bool:
        """Change the state, and the source at the start, unless another source has been opened meanwhile."""
        with self._lock:
            if stream != self._stream:
                return False
            self._state, self.message = state, message
            self.source = source or self.source
            return True

    # The pose thread --------------------------------------------------------------------------------------

    def _pose_loop(self) -> None:
        stream = -1
        try:
            while (item := self._frames.get()) is not None:
                if isinstance(item, int):
                    if self._end(item):
                        return
                    continue
                frame, is_sequence = item
                if frame.stream != stream:  # nobody in the new source is known from the old one
                    self.estimator.reset()
                    self.estimator.sequence = is_sequence
                stream = frame.stream
                if stream == self._stream:  # else the user has switched while it waited
                    self._estimate(frame)
        except Exception as error:  # for results() or the window: a thread has nobody to raise to
            with self._lock:
                self.error, self.message = error, f"the pose estimator failed: {error}"
        finally:
            self._frames.close()
            self._results.close()
            self._on_result()

    def _end(self, ended: int) -> bool:
        """A source has ended. Whether that is all: in the window another one may follow."""
        if not self._enter(EngineState.ENDED, ended):
            return False
        self._on_result()
        return not self.realtime

    def _estimate(self, frame: Frame) -> None:
        start = time.perf_counter()
        poses = self.estimator(frame.image, timestamp=frame.time)
        total = 1000 * (time.perf_counter() - start)
        result = Result(frame, poses, {**self.estimator.last_timings_ms, "pose": total})
        self.pose_rate.tick()
        for listener in tuple(self.listeners):  # the window adds and removes them meanwhile
            listener(result)
        # Headless every result is written, so this thread waits for the writer; a window takes the newest.
        lossless = not self.realtime and self.source is not None and not self.source.live
        self._results.put(result, wait=lossless)
        self._on_result()


class Pace:
    """Makes a file play in its own time."""

    def __init__(self) -> None:
        self._offset: float | None = None  # perf_counter − time of the file

    def wait(self, time_of_frame: float, stopped: threading.Event) -> None:
        """Sleep until the frame is due; far behind, the clock gives way instead of rushing."""
        now = time.perf_counter()
        if self._offset is None or now - self._offset - time_of_frame > 0.5:
            self._offset = now - time_of_frame
        ahead = time_of_frame + self._offset - now
        if ahead > 0:
            stopped.wait(ahead)
