"""The ways in which a process is asked to end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

# Ctrl-C, a service manager, a closed terminal or a lost connection (unknown to Windows).
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def on_end(handler: Callable[[int, FrameType | None], Any]) -> dict[int, Any]:
    """Have `handler` called by all of them; what was there before, for `restore`.

    What whoever started us has chosen to ignore stays ignored: `nohup` does that.
    """
    before = {number: signal.getsignal(number) for number in ENDING}
    heard = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    for number in heard:
        signal.signal(number, handler)
    return heard


def restore(before: dict[int, Any]) -> None:
    """Undo `on_end`."""
    for number, handler in before.items():
        signal.signal(number, handler)
