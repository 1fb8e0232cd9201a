"""Addresses without what opens them: no message, file or log shows a password."""

from __future__ import annotations

import logging
import re

_HIDDEN = "***"
_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*:/{1,2})(\S+)")
_SECRET_VALUE = re.compile(
    r"(?i)([?&;#][^=&;#\s]*(?:pass|pwd|token|secret|key|auth|sig|credential|user|login)[^=&;#\s]*=)[^&;#\s'\"]+"
)


def without_secrets(text: str) -> str:
    """The text with `***` for users, passwords and tokens in its addresses: `rtsp://***@10.0.0.7/stream`."""
    return _ADDRESS.sub(lambda found: found[1] + _hidden(found[2]), text)


def _hidden(rest: str) -> str:
    """What follows `://`, without its user. Rather too much than too little: a password may itself hold @, / and ?."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in rest and ("@" in authority or ":" in authority):
        rest = _HIDDEN + rest[rest.rindex("@") :]
    return _SECRET_VALUE.sub(rf"\1{_HIDDEN}", rest)


class SafeFormatter(logging.Formatter):
    """Of lines of the log, their tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))
