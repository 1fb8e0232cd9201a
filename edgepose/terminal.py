"""Text that comes out on every terminal. The standard library alone: any command can start with it."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TextIO

_HANDLER = "edgepose_spell"
# What our sentences use beyond ASCII → how it is typed without.
_SPELLED = {"→": "->", "×": "x", "·": "-", "…": "...", "–": "-", "−": "-", "±": "+/-", "≥": ">=", "≤": "<="}


def safe_output() -> None:
    """Let standard output and standard error spell what their encoding does not have, for the rest of the process.

    Call it first in a command's `main`. Otherwise one arrow in a table is a UnicodeEncodeError where the terminal or
    the pipe is ASCII or cp1252, as in containers and on Windows, and the run's result is lost with it. Characters
    without a spelling come out as ``\\u2026``; what the encoding has is not touched.
    """
    codecs.register_error(_HANDLER, _spell)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not where there is no console, or a test has put its own
            stream.reconfigure(errors=_HANDLER)


def discard(stream: TextIO) -> None:
    """Send what is left in the buffer of a stream whose reader went away to nowhere, and all that follows.

    Without this Python complains about it at its end.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _spell(error: UnicodeError) -> tuple[str, int]:
    """An error handler for `codecs`: the replacement, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_SPELLED.get(c) or c.encode("ascii", "backslashreplace").decode() for c in text), error.end
