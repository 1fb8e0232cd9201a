"""How far a long loop has come: a bar on a terminal, elsewhere a line in the log now and then."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)  # heard in commands that log warnings only: who waits wants to know for what

INTERVAL = 30.0  # s between two lines
T = TypeVar("T")


def progress(items: Iterable[T], what: str, total: int, unit: str = "images") -> Iterator[T]:
    """The items; meanwhile standard error shows how many of `total` are done, and the time that the rest takes."""
    if sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            from tqdm import tqdm
            from tqdm.contrib.logging import logging_redirect_tqdm

            with logging_redirect_tqdm():  # lines of the log above the bar, not through it
                yield from tqdm(items, desc=what, total=total, unit=f" {unit}", leave=False, dynamic_ncols=True)
            return
    yield from _told(items, what, total, unit)


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
    """Some time in words: 40 s, 12 min, 3 h 5 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
