"""Whether the machine has nothing else to do: the one condition of every benchmark here."""

from __future__ import annotations

import os
import time
from pathlib import Path

BUSY = 0.5  # share of a core, per core, from which numbers mean nothing


def load_per_core(seconds: float = 1.0) -> float:
    """How much of the cores others use in the next `seconds`, 0 … 1.

    The load average would remember the benchmark before this one for minutes; it serves where there is no /proc.
    """
    stat = Path("/proc/stat")
    if not stat.exists():
        return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0
    before = _ticks(stat)
    time.sleep(seconds)
    idle, total = (now - then for now, then in zip(_ticks(stat), before, strict=True))
    return 1 - idle / max(total, 1)


def _ticks(stat: Path) -> tuple[int, int]:
    """Idle ones (waiting for disks included), and all."""
    ticks = [int(word) for word in stat.read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)
