"""Outputs fed from a thread of their own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence

from edgepose import EdgeposeError

from ..engine import Result
from ..status import count_of
from .base import Output
from .open import close_all


class Recorder:
    """Feeds outputs from a thread of its own, so that the encoder never delays the next pose.

    A short queue: when the disk cannot keep up, frames are left out of the recording and counted.
    """

    def __init__(self, outputs: Sequence[Output]) -> None:
        self.dropped = 0
        self.error: Exception | None = None
        self._outputs = outputs
        self._queue: queue.Queue[Result | None] = queue.Queue(maxsize=16)
        self._thread = threading.Thread(target=self._run, name="edgepose-record", daemon=True)
        self._thread.start()

    def __call__(self, result: Result) -> None:
        """Take one result; never waits."""
        try:
            self._queue.put_nowait(result)
        except queue.Full:
            self.dropped += 1

    def close(self) -> list[str]:
        """Finish the files; what was written, what was not, one sentence each."""
        self._queue.put(None)
        self._thread.join()
        try:
            said = close_all(self._outputs)
        except (EdgeposeError, OSError) as error:
            said, self.error = [], self.error or error
        if self.dropped:
            said.append(f"{count_of(self.dropped, 'frame was', 'frames were')} left out: the disk is too slow")
        return [*said, *([f"recording: {self.error}"] if self.error else [])]

    def _run(self) -> None:
        while (result := self._queue.get()) is not None:
            try:
                for output in self._outputs if self.error is None else ():
                    output.write(result)
            except Exception as error:  # a full disk must not end the show; the window tells it
                self.error = error
