"""Opening a source in a thread of its own: a device or an address that hangs holds nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .sources import Frame, Source, SourceOptions, Spec, files_of, name_of, open_source


class Opening:
    """A source on its way. Whoever made it takes it, or abandons it; what comes later is then closed at once."""

    def __init__(self, opener: Callable[[], Source]) -> None:
        self._opener = opener
        self._source: Source | None = None
        self._error: BaseException | None = None
        self._abandoned = False
        self._done = threading.Event()
        self._lock = threading.Lock()  # of the three in the middle
        # A daemon, as a driver or a name server that never answers must not hold the process.
        threading.Thread(target=self._run, name="edgepose-open", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Whether the opening is over by then; Ctrl-C is heard meanwhile."""
        return self._done.wait(seconds)

    def take(self) -> Source:
        """The source, after waiting for it. Raises what the opening raised."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        assert self._source is not None
        return self._source

    def abandon(self) -> None:
        """Nobody wants the source any more."""
        with self._lock:
            self._abandoned = True
            source, self._source = self._source, None
        if source is not None:
            source.close()

    def _run(self) -> None:
        try:
            source = self._opener()
        except BaseException as error:  # for `take`: a thread has nobody to raise to
            self._error = error
        else:
            with self._lock:
                late = self._abandoned
                self._source = None if late else source
            if late:
                source.close()
        self._done.set()


class Pending(Source):
    """Stands for a camera or an address that is still being opened, in what the window is started with."""

    live = True

    def __init__(self, name: str, opening: Opening) -> None:
        super().__init__()
        self.name, self.opening = name, opening

    def read(self) -> Frame | None:
        return None  # the engine takes the source itself, from `opening`

    def close(self) -> None:
        self.opening.abandon()


def open_patiently(
    spec: Spec, options: SourceOptions, tell: Callable[[str], None], patience: float | None = None
) -> Source:
    """The source, or what stands for it where it takes longer than `patience` s (None: for ever).

    Files are waited for in any case. Ctrl-C is heard meanwhile, and `tell` hears what takes long.
    """
    opening = Opening(lambda: open_source(spec, options=options))
    patient = patience is None or bool(files_of(spec))
    if not opening.wait(1.0 if patience is None else patience):
        if not patient:
            return Pending(name_of(spec), opening)
        tell(f"opening {name_of(spec)}…")
        while not opening.wait(0.2):  # in pieces: some systems hear Ctrl-C in between only
            pass
    return opening.take()
