"""Frame rates for the status line, percentiles for the table."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping

import numpy as np


class Rate:
    """Events per second over the last `window` seconds."""

    def __init__(self, window: float = 2.0) -> None:
        self._window = window
        self._times: deque[float] = deque()
        self._lock = threading.Lock()

    def tick(self, now: float | None = None) -> None:
        """Count one event."""
        now = time.perf_counter() if now is None else now
        with self._lock:
            self._times.append(now)
            self._forget(now)

    def per_second(self, now: float | None = None) -> float:
        """The rate, or 0 when fewer than two events are recent."""
        now = time.perf_counter() if now is None else now
        with self._lock:
            self._forget(now)
            span = self._times[-1] - self._times[0] if len(self._times) > 1 else 0.0
            return (len(self._times) - 1) / span if span > 0 else 0.0

    def _forget(self, now: float) -> None:
        while self._times and now - self._times[0] > self._window:
            self._times.popleft()


class TimingTable:
    """Milliseconds by stage, as p50, p95 and p99 over the whole run."""

    PERCENTILES = (50, 95, 99)

    def __init__(self, warmup: int = 0) -> None:
        self._warmup = warmup  # frames left out: the first ones pay for allocations and lazy loading
        self._seen = 0
        self._values: dict[str, list[float]] = {}

    def add(self, timings_ms: Mapping[str, float]) -> None:
        """The stages of one frame; a stage may be missing from some frames."""
        self._seen += 1
        if self._seen > self._warmup:
            for stage, value in timings_ms.items():
                self._values.setdefault(stage, []).append(value)

    def rows(self) -> dict[str, tuple[float, ...]]:
        """Stage → p50, p95, p99 in ms."""
        table = {stage: np.percentile(values, self.PERCENTILES) for stage, values in self._values.items()}
        return {stage: tuple(row.tolist()) for stage, row in table.items()}

    def text(self) -> str:
        """The table for people."""
        head = f"{'stage':<10}" + "".join(f"{f'p{p}':>9}" for p in self.PERCENTILES) + "   (ms)"
        lines = [f"{stage:<10}" + "".join(f"{ms:9.2f}" for ms in row) for stage, row in self.rows().items()]
        return "\n".join([head, *lines])
