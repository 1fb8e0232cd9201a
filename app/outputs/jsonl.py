"""Results as JSON lines."""

from __future__ import annotations

import io
import json
import os
import select
import stat
import sys
import threading
from pathlib import Path

from edgepose import EdgeposeError
from edgepose.formats import frame_record

from ..engine import Result
from ..status import count_of
from .base import Output, ReaderOutput, RunInfo, fresh

_PAGE = 4096  # bytes, the smallest buffer that Linux gives a pipe


def record_line(result: Result) -> str:
    """A result as one line of JSON, without the end of the line."""
    frame = result.frame
    record = frame_record(
        frame.index,
        result.poses,
        time=frame.time,
        file=frame.file,
        size=(frame.image.shape[1], frame.image.shape[0]),
        timings_ms=result.timings_ms,
    )
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def open_jsonl(path: str, *, live: bool) -> Output:
    """`-` is standard output, whose reader is waited for, as is that of a named pipe; else a file.

    `live`: keep as little as possible on its way to a reader.
    """
    if path == "-":
        return JsonlStream("--json -", _standard_output(), live=live)
    if Path(path).is_fifo():
        return JsonlStream(f"--json {path}", os.open(path, os.O_WRONLY), live=live)
    return JsonlOutput(path)


def _standard_output() -> int | None:
    sys.stdout.flush()
    try:
        return os.dup(sys.stdout.fileno())
    except (AttributeError, io.UnsupportedOperation):  # a notebook's, which is no file
        return None


class JsonlOutput:
    """One JSON object a frame into a file. Flushed by the line, so that others can follow."""

    ENDINGS = (".jsonl", ".ndjson")

    @classmethod
    def open(cls, path: str, run: RunInfo) -> Output:
        return open_jsonl(path, live=run.live)

    def __init__(self, path: str) -> None:
        self._path = path
        self._count = 0
        try:
            self._file = fresh(path).open("w", encoding="utf-8", buffering=1)
        except OSError as error:
            reason = f"{path}: cannot be written ({error.strerror}); choose another place for --json"
            raise EdgeposeError(reason) from error

    def write(self, result: Result) -> None:
        try:
            self._file.write(record_line(result) + "\n")
        except OSError as error:
            raise EdgeposeError(self._cut_short(error)) from error
        self._count += 1

    def close(self) -> str:
        try:
            self._file.close()
        except OSError as error:
            raise EdgeposeError(self._cut_short(error)) from error
        return f"{self._path}: {count_of(self._count, 'line', 'lines')}"

    def _cut_short(self, error: OSError) -> str:
        lines = count_of(self._count, "line", "lines")
        return f"{self._path}: cut short after {lines} ({error.strerror}); choose another place for --json"


class JsonlStream(ReaderOutput):
    """One JSON object a frame to whoever reads the other end of a pipe.

    Written past Python's buffers: a buffer is locked while it waits for a reader who has stopped, and Python cannot
    end before it has the lock.
    """

    def __init__(self, name: str, descriptor: int | None, *, live: bool) -> None:
        self.name = name
        self._descriptor = descriptor  # None: sys.stdout is no file
        self._stopped = threading.Event()
        # select() on Windows knows sockets only: there a write waits, and the thread is left behind at the end.
        self._can_ask = descriptor is not None and os.name == "posix"
        if live and descriptor is not None and stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            _shrink(descriptor)

    def write(self, result: Result) -> None:
        line = record_line(result) + "\n"
        if self._descriptor is None:
            sys.stdout.write(line)
            return
        data = memoryview(line.encode())
        while data and not self._stopped.is_set():
            if not self._can_ask or select.select([], [self._descriptor], [], 0.1)[1]:
                data = data[self._write(data) :]

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> str:
        if self._descriptor is not None:
            os.close(self._descriptor)
        return ""

    def _write(self, data: memoryview) -> int:
        assert self._descriptor is not None
        try:
            return os.write(self._descriptor, data[: select.PIPE_BUF] if self._can_ask else data)
        except BlockingIOError:  # somebody who shares it made it so
            return 0
        except BrokenPipeError:  # the reader has had enough: no mistake
            raise
        except OSError as error:
            raise EdgeposeError(f"{self.name}: cannot be written ({error.strerror})") from error


def _shrink(descriptor: int) -> None:
    """What waits in a pipe grows old there: 64 KiB are ten results, two seconds of a reader of five a second."""
    if sys.platform != "linux":
        return
    import fcntl

    try:
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PAGE)
    except OSError:  # something is in it already
        return
