"""Every net in one table: python benchmarks/models.py [--latency] [--only rtmpose] [--threads 1] [--write]

Without options it prints parameters and multiply-adds, as docs/models.md has them. With --latency each net, with
random weights, is exported and timed in onnxruntime on the CPU: one picture at a time, RTMPose's protocol of 50
runs to warm up and 200 to time (paper §4.3). The nets take turns, so that a slow minute is everybody's.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pipeline import BUSY, RESULTS, machine

from edgepose_training.models import build_pose_net
from edgepose_training.models.macs import count_macs, count_parameters

TURN = 10  # runs of a net before the next one has its turn


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


def latency(nets: tuple[Net, ...], threads: int, warmup: int, runs: int) -> list[NDArray[np.float64]]:
    """Milliseconds of each timed run, for each net."""
    sessions = [session(net, threads) for net in nets]
    pictures = [np.random.default_rng(0).standard_normal((1, 3, *net.input_size[::-1]), np.float32) for net in nets]
    times: list[list[float]] = [[] for _ in nets]
    for start in range(-warmup, runs, TURN):
        for running, picture, row in zip(sessions, pictures, times, strict=True):
            feed = {running.get_inputs()[0].name: picture}
            for _ in range(TURN):
                before = time.perf_counter()
                running.run(None, feed)
                if start >= 0:
                    row.append((time.perf_counter() - before) * 1e3)
    return [np.array(row) for row in times]


def spread(times: NDArray[np.float64]) -> tuple[float, float]:
    """Median and interquartile range."""
    low, median, high = np.percentile(times, (25, 50, 75))
    return float(median), float(high - low)


def table(nets: tuple[Net, ...], times: list[NDArray[np.float64]] | None = None) -> str:
    """The nets as Markdown, with their times [runs] in milliseconds where there are some."""
    head = ["backbone", "size", "head", "K", "input", "params, M", "GMACs"] + (["ms, median", "IQR"] if times else [])
    lines = ["| " + " | ".join(head) + " |", "| --- | --- | --- |" + " ---: |" * (len(head) - 3)]
    for i, net in enumerate(nets):
        width, height = net.input_size
        cells = [net.backbone, net.size, net.head, str(net.num_keypoints), f"{height}×{width}"]
        cells += [f"{number:.3f}" for number in sizes(net)]
        cells += [f"{number:.2f}" for number in spread(times[i])] if times else []
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", action="store_true", help="time the nets, too")
    parser.add_argument("--only", default="", help="backbones whose name begins so")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=50)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--write", action="store_true", help="into benchmarks/results/models.json")
    args = parser.parse_args()
    nets = tuple(net for net in NETS if net.backbone.startswith(args.only))
    if not nets:
        print(f"--only {args.only}: there is no such backbone", file=sys.stderr)
        return 2
    about = machine()
    times = latency(nets, args.threads, args.warmup, args.runs) if args.latency else None
    print(table(nets, times))
    if times and about["load_per_core_before"] > BUSY:
        print("\nThe machine was busy before the first run: these numbers are not worth keeping.", file=sys.stderr)
    if times and args.write:
        rows = [
            asdict(net) | dict(zip(("ms", "iqr"), spread(ms), strict=True)) for net, ms in zip(nets, times, strict=True)
        ]
        result = {"benchmark": "models", "machine": about, "threads": args.threads, "runs": args.runs, "nets": rows}
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "models.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
