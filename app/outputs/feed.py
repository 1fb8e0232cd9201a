"""One output, fed from a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import deque

from edgepose import EdgeposeError

from ..engine import Result
from ..status import count_of
from .base import Output, ReaderOutput

BACKLOG = 16  # results that may wait for a file: half a second of a disk that is busy elsewhere
READER_PATIENCE = 1.0  # s that a hurried end waits for a reader who takes nothing
FILE_PATIENCE = 20.0  # s, the same for a disk: a long video is finished in one go


class Feed:
    """Hands results to an output, so that it delays neither the next pose nor another output.

    `lossless` (files, whose images wait for us): `put` waits for room. Otherwise the oldest waiting result makes room
    and is counted in `dropped`. A reader gets the newest result: of live images only one waits for it.
    """

    def __init__(self, output: Output, *, lossless: bool) -> None:
        self.dropped = 0
        self.error: Exception | None = None
        self.said = ""  # by the output at its end
        self._output = output
        self._lossless = lossless
        self._room = 1 if isinstance(output, ReaderOutput) else BACKLOG
        self._waiting: deque[Result] = deque()
        self._taken = 0  # results that the output is done with
        self._ending = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="edgepose-output", daemon=True)
        self._thread.start()

    def put(self, result: Result) -> None:
        """Leave one result; nothing happens after an error or the end."""
        with self._changed:
            while self._lossless and len(self._waiting) >= self._room and self.error is None and not self._ending:
                self._changed.wait(0.2)  # in pieces: Windows hears Ctrl-C between two of them only
            if self.error is not None or self._ending:
                return
            if len(self._waiting) >= self._room:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(result)
            self._changed.notify_all()

    def end(self) -> None:
        """Take no more; what waits is still written."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def finish(self, *, hurry: bool) -> None:
        """Wait until everything is written; in a hurry only as long as there is progress."""
        self.end()
        patience = READER_PATIENCE if isinstance(self._output, ReaderOutput) else FILE_PATIENCE
        taken, since = self._taken, time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.05)
            if taken != self._taken:
                taken, since = self._taken, time.monotonic()
            elif hurry and time.monotonic() - since > patience:
                self._abandon()
                return

    def complaints(self) -> list[str]:
        """What is not in the file, or did not reach the reader, one sentence each."""
        of_reader = isinstance(self._output, ReaderOutput)
        who = f"{self._output.name}: " if isinstance(self._output, ReaderOutput) else ""
        why = "its reader is too slow" if of_reader else "the disk is too slow"
        said = [f"{who}{count_of(self.dropped, 'frame was', 'frames were')} left out: {why}"] if self.dropped else []
        return [*said, *([f"recording: {self.error}"] if self.error else [])]

    def _abandon(self) -> None:
        with self._changed:
            self.dropped += len(self._waiting) + 1  # the one that it holds has not arrived either
            self._waiting.clear()
        if isinstance(self._output, ReaderOutput):
            self._output.stop()
        self._thread.join(READER_PATIENCE)
        if self._thread.is_alive():
            self.error = self.error or EdgeposeError("a file could not be finished: its disk does not answer")

    def _next(self) -> Result | None:
        with self._changed:
            while not self._waiting:
                if self._ending:
                    return None
                self._changed.wait()
            result = self._waiting.popleft()
            self._changed.notify_all()
            return result

    def _run(self) -> None:
        try:
            while (result := self._next()) is not None:
                self._output.write(result)
                self._taken += 1
        except Exception as error:  # a full disk must not end the show; whoever fed it tells it
            self.error = error
        try:
            self.said = self._output.close()
        except Exception as error:  # as above
            self.error = self.error or error
        with self._changed:
            self._changed.notify_all()
