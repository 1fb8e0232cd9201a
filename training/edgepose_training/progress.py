"""How far a long loop has come: a bar on a terminal, elsewhere a line in the log now and then."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)  # heard in commands that log warnings only: who waits wants to know for what

INTERVAL = 30.0  # s between two lines
T = TypeVar("T")


def progress(items: Iterable[T], what: str, total: int, unit: str = "images") -> Iterator[T]:
    """The items; meanwhile standard error shows how many of `total` are done, and the time that the rest takes."""
    if sys.stderr.isatty() and (progress_bar := bar(what, total, unit, items=items)) is not None:
        with quiet_bar():
            yield from progress_bar
        return
    yield from _told(items, what, total, unit)


def bar(what: str, total: int, unit: str, *, done: int = 0, items: Iterable[T] | None = None) -> Any:
    """tqdm's bar around `items`, or to be updated by hand; it shows on a terminal only. None where tqdm is missing."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(
        items, desc=what, total=total, initial=done, unit=f" {unit}", leave=False, disable=None, dynamic_ncols=True
    )


def quiet_bar() -> contextlib.AbstractContextManager[None]:
    """Log lines above a bar, not through it."""
    try:
        from tqdm.contrib.logging import logging_redirect_tqdm
    except ImportError:
        return contextlib.nullcontext()
    redirected: contextlib.AbstractContextManager[None] = logging_redirect_tqdm()
    return redirected


def _told(items: Iterable[T], what: str, total: int, unit: str) -> Iterator[T]:
    began = told = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - told >= INTERVAL:
            told = now
            left = (now - began) / done * (total - done)
            log.info("%s: %d of %d %s, %s left", what, done, total, unit, duration(left))
        yield item


def duration(seconds: float) -> str:
    """Some time in words: 40 s, 12 min, 3 h 05 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
