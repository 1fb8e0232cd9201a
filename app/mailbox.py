"""One slot between two threads."""

from __future__ import annotations

import threading
import time
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Holds at most one item, so that nothing can queue up and grow old.

    `put` replaces what nobody has taken (live images: the newest wins), or waits for the slot to be empty
    (files: nothing may be lost).
    """

    def __init__(self) -> None:
        self._item: T | None = None
        self._closed = False
        self._changed = threading.Condition()
        self.replaced = 0  # items that were never taken

    def put(self, item: T, *, wait: bool = False) -> bool:
        """Leave `item`; False when the mailbox is closed."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._item is None or self._closed)
            if self._closed:
                return False
            self.replaced += self._item is not None
            self._item = item
            self._changed.notify_all()
            return True

    def get(self, timeout: float | None = None) -> T | None:
        """Take the item, waiting up to `timeout` seconds for one; None when there is none or all was taken
        before the close."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._item is None and not self._closed:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(left)
            item, self._item = self._item, None
            self._changed.notify_all()
            return item

    def clear(self) -> None:
        """Throw away what nobody has taken."""
        with self._changed:
            self._item = None
            self._changed.notify_all()

    def close(self) -> None:
        """Refuse further items and wake everybody; an item already inside can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Closed and empty: nothing will ever come out again."""
        with self._changed:
            return self._closed and self._item is None
