"""A text file that is written piece by piece, and says so when it cannot be."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from edgepose import EdgeposeError

from .base import fresh


class TextFile:
    """UTF-8, flushed after every piece. EdgeposeError in one sentence where the disk refuses."""

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self._error: EdgeposeError | None = None
        try:
            self._file = fresh(path).open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise self._sentence("cannot be written", error) from error

    def write(self, text: str) -> None:
        if self._error is not None:
            raise self._error
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            self._error = self._sentence("cut short", error)
            with suppress(OSError):  # the same again
                self._file.close()
            raise self._error from error

    def close(self) -> None:
        """EdgeposeError also for what has failed before: an end is not to sound like a success."""
        if self._error is not None:
            raise self._error
        try:
            self._file.close()
        except OSError as error:
            raise self._sentence("cut short", error) from error

    def _sentence(self, what: str, error: OSError) -> EdgeposeError:
        return EdgeposeError(f"{self.path}: {what} ({error.strerror or error}); choose another place for --save")
