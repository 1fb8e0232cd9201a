"""What the command says to people."""

from __future__ import annotations

import sys
from typing import TextIO

from edgepose.terminal import discard

from .redaction import without_secrets


def tell(sentence: object) -> None:
    """A sentence about the run, on stderr, without passwords."""
    print(f"edgepose-app: {without_secrets(str(sentence))}", file=sys.stderr, flush=True)


def say(text: str, where: TextIO) -> None:
    """Print for people, who may have gone: a closed terminal, or no reader. The files are wanted all the same."""
    try:
        print(text, file=where, flush=True)
    except OSError:
        discard(where)
