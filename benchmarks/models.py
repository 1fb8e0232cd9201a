"""Every net in one table: python benchmarks/models.py [--latency [--write]] [--only cspnext] [--threads 1] [--quick]

Without options it prints parameters and multiply-adds, as docs/models.md has them. With --latency each net, with
random weights, is exported and timed in onnxruntime on the CPU, one image at a time. RTMPose's protocol (paper
§4.3) is 50 runs to warm up and 200 to time; here a net has `--seconds` for both, and at least ten timed runs, so
that all of them take some five minutes. The nets of a backbone take turns, so that a slow moment is everybody's.
--write puts the table into docs/models.md and benchmarks/results/.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import measure
import numpy as np
import torch
from measure import BUSY, RESULTS, machine, milliseconds, spread
from numpy.typing import NDArray

from edgepose_training.models import build_pose_net
from edgepose_training.models.macs import count_macs, count_parameters

ROUNDS = 5  # turns that each net has
WARM = 0.2  # share of a net's time that warms it up
LEAST, MOST = 10, 200  # timed runs
DOCS = Path(__file__).parents[1] / "docs" / "models.md"
MARKS = "<!-- latency, written by benchmarks/models.py -->", "<!-- end of latency -->"


@dataclass(frozen=True)
class Net:
    """One row: what a config names, for how many points and which input."""

    backbone: str
    size: str
    head: str
    num_keypoints: int = 17
    input_size: tuple[int, int] = (192, 256)
    split_ratio: float = 2.0

    def build(self) -> torch.nn.Module:
        shape = (self.size, self.num_keypoints, self.input_size, self.split_ratio)
        return build_pose_net(*shape, backbone=self.backbone, head=self.head)


NETS = (
    *(Net("cspnext", size, "rtmcc", k, wh)
      for k, wh in ((17, (192, 256)), (133, (192, 256)), (133, (288, 384))) for size in "ntsmlx"),
    *(Net("resnet", size, head)
      for size in ("50", "101") for head in ("heatmap", "heatmap1d", "simcc_deconv", "simcc", "rtmcc")),
    *(Net("hrnet", size, head) for size in ("w32", "w48") for head in ("heatmap", "simcc")),
    *(Net("stem", "", "tokenpose", 17, wh, k)
      for wh, k in (((64, 64), 3.0), ((128, 128), 2.0), ((192, 256), 2.0))),
    *(Net("hourglass", f"{stacks}x{width}", "heatmap", 16, (256, 256))
      for width in (256, 128, 64) for stacks in (8, 4, 2, 1)),
)  # fmt: skip


@functools.cache
def sizes(net: Net) -> tuple[float, float]:
    """Parameters in millions, multiply-adds in thousands of millions."""
    with torch.device("meta"):  # counting needs no weights
        built = net.build()
    return count_parameters(built) / 1e6, count_macs(built, net.input_size) / 1e9


def session(net: Net, threads: int) -> Any:
    """An onnxruntime session of the net with random weights, on the CPU."""
    import onnxruntime

    width, height = net.input_size
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of its own deprecation and of checks that always hold
        torch.onnx.export(
            net.build().eval(), (torch.zeros(1, 3, height, width),), buffer, opset_version=17, dynamo=False
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])


def latency(nets: tuple[Net, ...], threads: int, seconds: float) -> list[NDArray[np.float64]]:
    """Milliseconds of each timed run, for each net; the nets of a backbone share the memory and take turns."""
    times: list[NDArray[np.float64]] = []
    for _, group in groupby(nets, key=lambda net: net.backbone):
        times += take_turns([runner(net, threads) for net in group], seconds)
    return times


def runner(net: Net, threads: int) -> Callable[[], float]:
    """A function that runs the net once and returns the milliseconds that it took."""
    running = session(net, threads)
    image = np.random.default_rng(0).standard_normal((1, 3, *net.input_size[::-1]), np.float32)
    feed = {running.get_inputs()[0].name: image}

    return lambda: milliseconds(lambda: running.run(None, feed))


def take_turns(runners: list[Callable[[], float]], seconds: float) -> list[NDArray[np.float64]]:
    """Times [runs] of each runner; how many runs fit into its seconds is told by its warm-up."""
    turns = []
    for run in runners:
        first, warm, end = run(), 1, time.perf_counter() + WARM * seconds
        while time.perf_counter() < end and warm < 50:
            first, warm = min(first, run()), warm + 1
        runs = int(np.clip((1 - WARM) * seconds * 1e3 / first, LEAST, MOST))
        turns.append(-(-runs // ROUNDS))
    turn = {str(i): partial(several, run, count) for i, (run, count) in enumerate(zip(runners, turns, strict=True))}
    return [np.concatenate(rows) for rows in measure.take_turns(turn, ROUNDS).values()]


def several(run: Callable[[], float], count: int) -> list[float]:
    return [run() for _ in range(count)]


def table(nets: tuple[Net, ...]) -> str:
    """Sizes of the nets as Markdown."""
    lines = [row(["backbone", "size", "head", "K", "input", "params, M", "GMACs"]), NAME_RULE + " ---: | ---: |"]
    lines += [row([*name(net), *(f"{number:.3f}" for number in sizes(net))]) for net in nets]
    return "\n".join(lines)


NAME_RULE = "| --- | --- | --- | ---: | ---: |"


def name(net: Net) -> list[str]:
    width, height = net.input_size
    return [net.backbone, net.size, net.head, str(net.num_keypoints), f"{height}×{width}"]


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def latency_table(nets: tuple[Net, ...], times: list[NDArray[np.float64]], about: dict[str, Any], threads: int) -> str:
    """What was measured as Markdown: where and when, then a row a net."""
    used = "one thread" if threads == 1 else f"{threads} threads"
    versions = about["versions"]
    runtime = next((f"{k} {versions[k]}" for k in ("onnxruntime", "onnxruntime-gpu") if k in versions), "onnxruntime")
    lines = [
        f"{about['cpu']}, {used}, {runtime}, {about['date']}; random weights, one image at a time, float32.",
        "",
        row(["backbone", "size", "head", "K", "input", "ms, median", "IQR", "runs"]),
        NAME_RULE + " ---: | ---: | ---: |",
    ]
    for net, measured in zip(nets, times, strict=True):
        lines.append(row([*name(net), *(f"{number:.1f}" for number in spread(measured)), str(len(measured))]))
    return "\n".join(lines)


def put_between_marks(text: str, measured: str) -> str:
    """The page with its table of latencies replaced."""
    before, first, rest = text.partition(MARKS[0])
    _, last, after = rest.partition(MARKS[1])
    if not (first and last):
        raise ValueError(f"docs/models.md expected to have {MARKS[0]} and {MARKS[1]}")
    return f"{before}{first}\n{measured}\n{last}{after}"


def write(nets: tuple[Net, ...], times: list[NDArray[np.float64]], about: dict[str, Any], threads: int) -> None:
    measured = latency_table(nets, times, about, threads)
    DOCS.write_text(put_between_marks(DOCS.read_text(encoding="utf-8"), measured), encoding="utf-8")
    rows = [
        asdict(net) | dict(zip(("ms", "iqr"), spread(ms), strict=True)) | {"runs": len(ms)}
        for net, ms in zip(nets, times, strict=True)
    ]
    RESULTS.mkdir(exist_ok=True)
    result = {"benchmark": "models", "machine": about, "threads": threads, "nets": rows}
    (RESULTS / "models-cpu.json").write_text(json.dumps(result, indent=1) + "\n")
    print("\nWritten to docs/models.md and benchmarks/results/models-cpu.json")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", action="store_true", help="time the nets instead of counting them")
    parser.add_argument("--only", default="", help="backbones whose name begins so")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.5, help="of each net (default: 2.5)")
    parser.add_argument("--quick", action="store_true", help="a tenth of a second each, to see that it runs")
    parser.add_argument("--write", action="store_true", help="into docs/models.md and benchmarks/results/")
    args = parser.parse_args()
    nets = tuple(net for net in NETS if net.backbone.startswith(args.only))
    if not nets:
        print(f"--only {args.only}: there is no such backbone", file=sys.stderr)
        return 2
    if args.write and (args.quick or args.only or not args.latency):
        print("--write keeps measured times of all nets: it goes with --latency alone", file=sys.stderr)
        return 2
    if not args.latency:
        print(table(nets))
        return 0
    about = machine()
    if args.write and about["load_per_core_before"] > BUSY:
        print("The machine is busy: what would be measured now is not worth keeping.", file=sys.stderr)
        return 2
    times = latency(nets, args.threads, 0.1 if args.quick else args.seconds)
    print(latency_table(nets, times, about, args.threads))
    if args.write:
        write(nets, times, about, args.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
