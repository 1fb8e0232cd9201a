"""Results as CSV: a row a point, or a row a person."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from edgepose.formats import CSV_HEADER, csv_rows, wide_csv_header, wide_csv_rows

from ..engine import Result
from ..status import count_of
from .base import RunInfo
from .textfile import TextFile


class CsvOutput:
    """The long form, one row a point; `.wide.csv`: one row a person. A frame without people has no row."""

    ENDINGS = (".csv", ".wide.csv")

    def __init__(self, path: str, run: RunInfo) -> None:
        self._skeleton, self._thresholds = run.style.skeleton, run.thresholds
        self._wide = path.lower().endswith(".wide.csv")
        self._file = TextFile(path)
        self._rows = 0
        self._write([wide_csv_header(self._skeleton) if self._wide else CSV_HEADER])

    @classmethod
    def open(cls, path: str, run: RunInfo) -> CsvOutput:
        return cls(path, run)

    def write(self, result: Result) -> None:
        rows, frame = wide_csv_rows if self._wide else csv_rows, result.frame
        made = rows(
            frame.index,
            result.poses,
            self._skeleton,
            time=frame.time,
            file=frame.file,
            thresholds=self._thresholds,
        )
        self._rows += self._write(made)

    def close(self) -> str:
        self._file.close()
        return f"{self._file.path}: {count_of(self._rows, 'row', 'rows')}"

    def _write(self, rows: Iterable[tuple[Any, ...]]) -> int:
        text = io.StringIO()
        lines = [*rows]
        csv.writer(text, lineterminator="\n").writerows(lines)
        self._file.write(text.getvalue())
        return len(lines)
