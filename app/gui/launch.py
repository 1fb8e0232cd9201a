"""The window as a program: Qt's loop, Ctrl-C, and exceptions that nobody caught."""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from PyQt6.QtWidgets import QApplication

from ..context import AppContext
from ..interrupts import Interrupts
from ..outputs import Output
from .window import Window

log = logging.getLogger(__name__)


def show(context: AppContext, outputs: list[Output]) -> int:
    """Run the window until it is closed; the exit status. BrokenPipeError: the reader of --json has had enough."""
    existing = QApplication.instance()
    app = existing if isinstance(existing, QApplication) else QApplication(["edgepose-app"])
    app.setApplicationName("edgepose")
    window = Window(context, outputs)
    told: set[str] = set()

    def on_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        # Without a hook of our own PyQt6 aborts the process when an exception escapes a slot.
        if str(error) not in told:  # what fails in a paint event fails thirty times a second
            told.add(str(error))
            log.error("%s: %s", kind.__name__, error, exc_info=(kind, error, trace))
        window.fail(error)

    before, sys.excepthook = sys.excepthook, on_exception
    try:
        with Interrupts(window.close):  # heard at the next tick of the window's timer
            if context.options.fullscreen:
                window.toggle_fullscreen()
            else:
                window.resize(window.first_size())
                window.show()
            app.exec()
    finally:
        sys.excepthook = before
    if window.pipe_closed:
        raise BrokenPipeError
    return window.exit_code
