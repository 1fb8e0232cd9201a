"""Results as JSON lines."""

from __future__ import annotations

import json
import sys
from typing import TextIO

from edgepose import EdgeposeError
from edgepose.formats import frame_record

from ..engine import Result
from ..status import count_of
from .base import with_parent


class JsonlOutput:
    """One JSON object a frame; `-` is standard output. Flushed by the line, so that others can follow."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._count = 0
        self._file: TextIO = sys.stdout
        if path != "-":
            try:
                self._file = with_parent(path).open("w", encoding="utf-8", buffering=1)
            except OSError as error:
                reason = f"{path}: cannot be written ({error.strerror}); choose another place for --json"
                raise EdgeposeError(reason) from error

    def write(self, result: Result) -> None:
        frame = result.frame
        record = frame_record(
            frame.index,
            result.poses,
            time=frame.time,
            file=frame.file,
            size=(frame.image.shape[1], frame.image.shape[0]),
            timings_ms=result.timings_ms,
        )
        try:
            self._file.write(json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n")
        except BrokenPipeError:  # the reader has had enough: no mistake
            raise
        except OSError as error:
            raise EdgeposeError(self._cut_short(error)) from error
        self._count += 1

    def close(self) -> str:
        if self._path == "-":
            self._file.flush()
            return ""
        try:
            self._file.close()
        except OSError as error:
            raise EdgeposeError(self._cut_short(error)) from error
        return f"{self._path}: {count_of(self._count, 'line', 'lines')}"

    def _cut_short(self, error: OSError) -> str:
        lines = count_of(self._count, "line", "lines")
        return f"{self._path}: cut short after {lines} ({error.strerror}); choose another place for --json"
