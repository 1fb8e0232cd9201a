"""What all commands share: output for any terminal encoding, logging, and one-sentence errors."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from edgepose import EdgeposeError
from edgepose.terminal import discard, safe_output

Main = Callable[[list[str] | None], int | None]

log = logging.getLogger(__name__)

FAILED = 2  # also argparse's, for wrong arguments
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
CLOSED = 141  # 128 + SIGPIPE


def command(level: int = logging.INFO, *, times: bool = False) -> Callable[[Main], Callable[..., int]]:
    """Decorates `main(argv) -> exit status` of a command; None is 0.

    The log goes to stderr from `level` on, with `times` each line with its time. EdgeposeError, and OSError that names
    a file, become one sentence and status 2, the latter with its traceback at DEBUG; Ctrl-C becomes status 130, and a
    reader of stdout that went away (`| head`) status 141, both without a traceback. Whatever else is raised is a bug
    and keeps its traceback, other pipes that broke too.
    """
    form = "%(asctime)s %(message)s" if times else "%(message)s"

    def decorated(main: Main) -> Callable[..., int]:
        @functools.wraps(main)
        def run(argv: list[str] | None = None) -> int:
            safe_output()
            logging.basicConfig(level=level, format=form, datefmt="%H:%M:%S")
            try:
                with contextlib.redirect_stdout(_Stdout(sys.stdout)):
                    status = main(argv) or 0
                    sys.stdout.flush()  # here, where a reader that went away can still be told from a bug
                return status
            except EdgeposeError as error:
                return _complain(error, FAILED)
            except KeyboardInterrupt:
                return _complain("interrupted", INTERRUPTED)
            except _ReaderGone:
                discard(sys.stdout)
                return _complain("whoever read the output went away", CLOSED)
            except OSError as error:
                if error.filename is None:
                    raise
                log.debug("raised here", exc_info=True)
                return _complain(f"{error.filename}: {error.strerror}", FAILED)

        return run

    return decorated


def output_file(text: str) -> Path:
    """The path of a file to write, as a type of argparse.

    Raises EdgeposeError, before anything has been computed, where it is a folder or its folder cannot be written.
    """
    path = Path(text)
    if path.is_dir():
        raise EdgeposeError(f"{path} is a folder: give the path of a file to write.")
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        what = "is not a folder" if not nearest.is_dir() else "is a folder without permission to write"
        raise EdgeposeError(f"{path} cannot be written: {nearest} {what}.")
    return path


class _ReaderGone(BrokenPipeError):
    """Nobody reads standard output any more."""


class _Stdout:
    """Standard output, which tells its own broken pipe from that of, say, a worker that died."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError as error:
            raise _ReaderGone from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError as error:
            raise _ReaderGone from error


def _complain(sentence: object, status: int) -> int:
    try:
        print(sentence, file=sys.stderr, flush=True)
    except BrokenPipeError:
        discard(sys.stderr)
    return status
