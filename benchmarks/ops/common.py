"""How kernels are timed: baseline and ours in turns, medians and quartiles, in one process on one thread.

The rules stand in README.md beside this file. Every script here is `python benchmarks/ops/<op>.py [--device cuda]
[--rounds N] [--quick] [--write]` and prints one table; `--write` keeps it under benchmarks/results/, losses included.
`everything.py` runs all of them into one table and holds it to the targets.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgepose import _C

sys.path.append(str(Path(__file__).parents[1]))
from measure import BUSY, RESULTS, machine, milliseconds, take_turns

SIZES = {"256x192": (384, 512), "384x288": (576, 768)}  # bins of the two usual whole-body inputs
K = 133
SECONDS = 6.0  # that one case may take
Work = Callable[[], Any]
MACHINE = machine()


@dataclass(frozen=True)
class Row:
    """One variant of one comparison; milliseconds per call."""

    case: str
    variant: str
    median: float
    quartiles: tuple[float, float]
    against: dict[str, float]  # baseline → how many times as fast as it this variant is
    moved: int = 0  # bytes that must be read and written, where that is what a case is about


def options(description: str, device: str = "cpu") -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default=device, choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--level", choices=_C.simd_levels(), help="SIMD level instead of the best")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="few and short rounds of one size: does it run?")
    parser.add_argument("--write", action="store_true", help="keep the table under benchmarks/results/")
    args = parser.parse_args()
    if args.quick and args.write:
        parser.error("--quick measures nothing worth keeping: leave out --write")
    _C.set_num_threads(args.threads)
    if args.level:
        _C.set_simd_level(args.level)
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    # Until one was given back, glibc asks the system for every large array anew, page by page. Baselines that allocate
    # as they go took twice as long then; a process that has handled a few frames is past that.
    np.ones(7 << 20, np.float32)
    try:
        import torch
    except ImportError:
        return args
    torch.set_num_threads(args.threads)
    return args


def sizes(args: argparse.Namespace, known: dict[str, Any] = SIZES) -> dict[str, Any]:
    """Those that a run goes through: with --quick the first alone."""
    return dict(list(known.items())[:1]) if args.quick else known


def compare(
    case: str,
    variants: dict[str, Work],
    args: argparse.Namespace,
    *,
    ours: int = 1,
    calls: int | None = None,
    moved: int = 0,
) -> list[Row]:
    """Times the variants in turns. The last `ours` of them are ours; the others are baselines.

    calls: so many in a row, instead of five milliseconds' worth; moved: see `Row`.
    """
    for work in variants.values():
        work()  # first calls make threads, tables and compiled code
    single = {name: milliseconds(work, 1, args.device) for name, work in variants.items()}
    count = {name: calls or max(1, int(5 / max(cost, 1e-4))) for name, cost in single.items()}  # 5 ms
    count = dict.fromkeys(count, 1) if args.quick else count
    turn = sum(cost * count[name] for name, cost in single.items()) / 1e3
    rounds = 2 if args.quick else max(7, min(args.rounds, int(SECONDS / turn)))
    runs = {name: partial(milliseconds, work, count[name], args.device) for name, work in variants.items()}
    times = take_turns(runs, rounds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    names = list(variants)
    baselines, own = names[:-ours], names[-ours:]
    rows = []
    for name, values in times.items():
        low, _, high = statistics.quantiles(values, n=4)
        against = {baseline: medians[baseline] / medians[name] for baseline in baselines} if name in own else {}
        rows.append(Row(case, name, medians[name], (low, high), against, moved))
    return rows


def report(name: str, rows: list[Row], args: argparse.Namespace, notes: tuple[str, ...] = (), **more: Any) -> None:
    """Prints the table, and keeps it with --write. `notes` end the page, `more` goes into the data."""
    machine = describe(args)
    lines = [f"# {name}", "", *(f"* {key}: {value}" for key, value in machine.items()), ""]
    lines += ["| case | variant | median ms | quartiles ms | ours is faster by |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        ratios = ", ".join(f"{ratio:.2f}× {baseline}" for baseline, ratio in row.against.items())
        low, high = row.quartiles
        case = row.case + (f", {row.moved / 1e6:.4g} MB" if row.moved else "")
        median = f"{row.median:.4g}" + (f" ({row.moved / row.median / 1e6:.0f} GB/s)" if row.moved else "")
        lines.append(f"| {case} | {row.variant} | {median} | {low:.4g} – {high:.4g} | {ratios} |")
    slower = [
        f"{row.case}: {baseline} takes {ratio:.2f} of the time of {row.variant}"
        for row in rows
        for baseline, ratio in row.against.items()
        if ratio < 1
    ]
    lines += ["", "Where ours is slower:" if slower else "Ours is slower nowhere.", *(f"* {each}" for each in slower)]
    text = "\n".join([*lines, *notes]) + "\n"
    print(text)
    if not args.write:
        return
    if machine["load per core"] > BUSY:
        sys.exit(f"not written: the machine is busy (load per core {machine['load per core']}).")
    place = "gpu" if args.device == "cuda" else "cpu"
    stem = f"ops-{place}" if name == "ops" else f"ops_{name}_{place}"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{stem}.md").write_text(text, "utf-8")
    data = {"machine": machine, "rows": [vars(row) for row in rows], "slower": slower, **more}
    (RESULTS / f"{stem}.json").write_text(json.dumps(data, indent=1) + "\n", "utf-8")


def describe(args: argparse.Namespace) -> dict[str, Any]:
    machine: dict[str, Any] = {
        "date": MACHINE["date"],
        "command": f"python {Path(sys.argv[0]).resolve().relative_to(Path(__file__).parents[2])} "
        + " ".join(sys.argv[1:]),
        "system": MACHINE["system"],
        "cpu": f"{MACHINE['cpu']}, {MACHINE['cores']} cores",
        "threads": args.threads,
        "simd": _C.simd_level(),
        "load per core": MACHINE["load_per_core_before"],
        "python": MACHINE["python"],
        "numpy": np.__version__,
    }
    if "torch" in sys.modules:
        import torch

        machine["torch"] = torch.__version__
        if args.device == "cuda":
            machine["gpu"] = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return machine


def logits(n: int, size: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise of the scale of a trained net's logits, float32 [n, K, Wx], [n, K, Wy]."""
    rng = np.random.default_rng(seed)
    x, y = (rng.normal(size=(n, K, bins)).astype(np.float32) for bins in SIZES[size])
    return x, y
