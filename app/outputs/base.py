"""The interface of all outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

from edgepose import EdgeposeError

from ..engine import Result


class Output(Protocol):
    """Takes every result in order; `close` finishes the file and says what was written.

    Both raise EdgeposeError when the file cannot be written; `close` may be called after that.
    """

    def write(self, result: Result) -> None: ...

    def close(self) -> str: ...


class ReaderOutput(ABC):
    """An output with somebody at the other end, who wants the newest result and may stop reading."""

    name: str  # for people: "--json -"

    @abstractmethod
    def write(self, result: Result) -> None:
        """Hand one result over; may wait for the reader, until `stop`."""

    @abstractmethod
    def stop(self) -> None:
        """Make a waiting `write` return soon. Called by another thread."""

    @abstractmethod
    def close(self) -> str:
        """End the connection; what to tell about it, or nothing."""


def with_parent(path: str | Path) -> Path:
    """The path, after making the folder that it lies in. EdgeposeError where that cannot be made."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{path.parent}: this folder cannot be made ({error.strerror}); choose another place"
        raise EdgeposeError(reason) from error
    return path
