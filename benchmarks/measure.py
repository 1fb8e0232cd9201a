"""What all benchmarks share: whether the machine is idle, which machine it is, and variants timed in turns."""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "opencv-python", "onnxruntime", "onnxruntime-gpu", "edgepose")
BUSY = 0.5  # share of a core, per core, from which numbers mean nothing
T = TypeVar("T")


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


def machine() -> dict[str, Any]:
    """What the numbers belong to, without names of hosts or paths. Call it before measuring, which is load itself."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "cpu": cpu,
        "cores": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
        "load_per_core_before": round(load_per_core(), 2),
        "date": datetime.date.today().isoformat(),
    }


def milliseconds(work: Callable[[], object], calls: int = 1, device: str = "cpu") -> float:
    """Per call, of `calls` calls in a row; on a GPU until the last one is done."""
    wait = _no_wait
    if device == "cuda":
        import torch

        wait = torch.cuda.synchronize
    wait()
    start = time.perf_counter()
    for _ in range(calls):
        work()
    wait()
    return (time.perf_counter() - start) * 1e3 / calls


def _no_wait() -> None:
    """A call on the CPU has ended when it returns."""


def take_turns(runs: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each run returned, once a round: a busy moment of the machine hits all of them."""
    results: dict[str, list[T]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            results[name].append(run())
    return results


def spread(times: Any) -> tuple[float, float]:
    """Median and interquartile range."""
    low, median, high = np.percentile(times, (25, 50, 75))
    return float(median), float(high - low)
