"""The interface of all outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgepose import EdgeposeError

from ..engine import Result
from ..overlay import OverlayOptions, SkeletonStyle


@dataclass(frozen=True, eq=False)
class RunInfo:
    """What an output is told about the run that it keeps."""

    style: SkeletonStyle
    overlay: OverlayOptions
    fps: float  # nominal, of the source
    live: bool  # results come in real time: the newest matters, and nobody waits for an output
    sound: str | None = None  # path of the file whose sound belongs to the images

    @property
    def thresholds(self) -> dict[str, float]:
        """From which score a point of each part counts as found: what is drawn."""
        return self.style.limits(OverlayOptions(threshold=self.overlay.threshold))


class Output(Protocol):
    """Takes every result in order; `close` finishes the file and says what was written.

    Both raise EdgeposeError when the file cannot be written; `close` may be called after that.
    """

    def write(self, result: Result) -> None: ...

    def close(self) -> str: ...


class SaveKind(Protocol):
    """What a class does to be found by `--save`: it says by which endings of a path, and how it is made."""

    ENDINGS: tuple[str, ...]

    @classmethod
    def open(cls, path: str, run: RunInfo) -> Output: ...


class SendKind(Protocol):
    """The same for `--send`, by the scheme of an address."""

    SCHEMES: tuple[str, ...]

    @classmethod
    def open(cls, address: str, run: RunInfo) -> Output: ...


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


def fresh(path: str | Path) -> Path:
    """The path for a new file, in a folder that is there: an old file is taken away instead of emptied.

    It may have another name, as a hard link, and that may be the source. What is no file (`/dev/null`) stays.
    """
    path = with_parent(path)
    if path.is_file() and not path.is_symlink():
        path.unlink()
    return path


def with_parent(path: str | Path) -> Path:
    """The path, after making the folder that it lies in. EdgeposeError where that cannot be made."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{path.parent}: this folder cannot be made ({error.strerror}); choose another place"
        raise EdgeposeError(reason) from error
    return path
