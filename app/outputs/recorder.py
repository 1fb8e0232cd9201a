"""All outputs of a run."""

from __future__ import annotations

from collections.abc import Sequence

from ..engine import Result
from .base import Output
from .feed import Feed


class Recorder:
    """Feeds outputs, each from a thread of its own: none delays the next pose, another output or the end.

    `lossless`: an output that cannot keep up slows the run. Otherwise its oldest results are left out and counted.
    """

    def __init__(self, outputs: Sequence[Output], *, lossless: bool = False) -> None:
        self._feeds = [Feed(output, lossless=lossless) for output in outputs]

    def __call__(self, result: Result) -> None:
        """Take one result; waits only where nothing may be lost."""
        for feed in self._feeds:
            feed.put(result)

    @property
    def dropped(self) -> int:
        """Results left out, by all outputs together."""
        return sum(feed.dropped for feed in self._feeds)

    @property
    def error(self) -> Exception | None:
        """Why an output cannot go on."""
        return next((feed.error for feed in self._feeds if feed.error is not None), None)

    def close(self, *, hurry: bool = True) -> list[str]:
        """Finish the files; what was written, one sentence each.

        A hurried end leaves an output behind that makes no progress; otherwise it is waited for.
        """
        for feed in self._feeds:  # all at once: their patience is not to add up
            feed.end()
        for feed in self._feeds:
            feed.finish(hurry=hurry)
        return [feed.said for feed in self._feeds if feed.said]

    def complaints(self) -> list[str]:
        """What is missing from the files and why, one sentence each."""
        return [sentence for feed in self._feeds for sentence in feed.complaints()]
