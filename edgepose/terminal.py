"""Text that comes out on every terminal, whatever its encoding. Standard library only."""

from __future__ import annotations

import io
import sys


def safe_output() -> None:
    """From now on stdout and stderr write what their encoding lacks as an escape (``\\u2192``) instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
