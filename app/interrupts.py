"""Ctrl-C, `kill` and a closed terminal: the first ends the run in order, a second one ends the process."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType

# A closed terminal or a lost ssh is SIGHUP, where the system has it.
ENDINGS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_ONE_PRESS = 0.3  # s: a terminal and a wrapper script may both pass the same Ctrl-C on
_EXIT_CODE = 130  # of a shell's command that Ctrl-C ended


def _raise() -> None:
    raise KeyboardInterrupt


class Interrupts:
    """While this is entered, the first of `ENDINGS` calls `on_first` in the main thread (None: KeyboardInterrupt).

    A second Ctrl-C or `kill` ends the process at once, files unfinished, whatever the main thread is doing: a device
    or a reader that never answers may hold it in C code, where Python's own handlers are not called. Signals that
    are ignored, as under nohup, stay ignored. Outside of the main thread, where Python has no signals, it does nothing.
    """

    def __init__(self, on_first: Callable[[], object] | None = None) -> None:
        self._on_first = on_first or _raise
        self._first: float | None = None  # s, monotonic
        self._told = False

    def __enter__(self) -> Interrupts:
        self._handlers: dict[signal.Signals, object] = {}
        if threading.current_thread() is not threading.main_thread():
            return self
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in ENDINGS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._handle)
        threading.Thread(target=self._watch, name="edgepose-interrupts", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number, before in self._handlers.items():
            signal.signal(number, before)  # type: ignore[arg-type]  # what signal.signal itself has answered
        signal.set_wakeup_fd(self._wakeup)
        self._writer.close()  # ends the watching thread

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if not self._told:
            self._told = True
            self._on_first()

    def _watch(self) -> None:
        """In a thread of its own: the C handler writes every signal's number, whatever Python is doing."""
        with self._reader:
            while numbers := self._reader.recv(1):
                if numbers[0] in ENDINGS:
                    self._count(numbers[0])

    def _count(self, number: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now
        elif number in (signal.SIGINT, signal.SIGTERM) and now - self._first > _ONE_PRESS:
            os._exit(_EXIT_CODE)
