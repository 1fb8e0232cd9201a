"""All kernels in one table, and the targets beside what was reached; --write: benchmarks/results/ops-cpu.{md,json}."""

from __future__ import annotations

import argparse

import batch_norm_silu
import crop_normalize
import heatmap
import numpy as np
import simcc_decode
import simcc_encode
import simcc_kl_div
from common import SIZES, K, Row, compare, logits, options, report, sizes
from targets import Target, held_to, table

from edgepose import _C, ops

# At the best level of a processor with AVX-512, for both sizes; where AVX2 has a target of its own it follows.
TARGETS = [
    *(
        Target(case.format(size), baseline, times)
        for case, baseline, times in (
            ("decode {} N=1", "numpy per person", 7),
            ("decode {} N=32", "numpy per person", 6),
            ("decode {}", "plain SIMD maximum", 0.6),
            ("calibrated scores {} N=1", "mmpose's visibility", 80),
            ("calibrated scores {} N=32", "mmpose's visibility", 80),
            ("float16 {}", "numpy", 60),
            ("DARK {} N=1", "mmpose's way", 50),
            ("labels {} N=64", "numpy per keypoint", 90),
            ("labels {} N=64", "numpy vectorized", 4),
            ("KL {} N=64", "torch eager", 12),
            ("KL {} N=64", "torch.compile", 2.7),
            ("KL {} N=64", "torch joint by joint", 40),
            ("Gaussian KL kernel {} N=64", "simcc_kl_div", 1.3),
        )
        for size in SIZES
    ),
    *(
        Target(f"192x256 at {degrees}°", baseline, times)
        for degrees in (0, 20)
        for baseline, times in (("warpAffine, normalize, transpose", 4), ("warpAffine, blobFromImage", 2))
    ),
    Target("batch norm and SiLU 24 of 128x96 bfloat16", "torch", 2),
    Target("threads:", "one thread", 0.97),  # two never hurt, but for what a clock cannot tell apart
]
TARGETS_AVX2 = [
    Target("avx2: decode 256x192 N=1", "numpy per person", 4),
    Target("avx2: decode 256x192 N=32", "numpy per person", 4),
    Target("avx2: decode 256x192", "plain SIMD maximum", 0.6),
    Target("avx2: KL 256x192 N=64", "torch eager", 8),
]


def at_avx2(args: argparse.Namespace) -> list[Row]:
    """What has a target of its own at AVX2, on a machine that has more."""
    first = dict(list(sizes(args).items())[:1])
    _C.set_simd_level("avx2")
    try:
        rows = [row for n in (1, 32) for row in simcc_decode.on_cpu(next(iter(first)), n, args)]
        rows += [row for name, bins in first.items() for row in simcc_kl_div.one(f"{name} N=64", 64, bins, args)]
    finally:
        _C.set_simd_level("avx512")
    return [Row(f"avx2: {r.case}", r.variant, r.median, r.quartiles, r.against) for r in rows]


def with_two_threads(args: argparse.Namespace) -> list[Row]:
    """Two threads against one, from a single person to a training batch."""
    rows: list[Row] = []
    size = next(iter(sizes(args)))
    for n in (1, 8, 32, 64):
        x, y = logits(n, size)
        loss, grad = np.empty((n, K), np.float32), np.empty_like(x)
        points, shown = 190 * np.random.default_rng(0).random((n, K, 2)), np.ones((n, K), np.float32)
        labels = np.empty_like(x), np.empty_like(y), np.empty_like(shown)
        box = {"input_size": (x.shape[2] / 2, y.shape[2] / 2), "sigma": (4.9, 5.66)}
        works = {
            "decode": lambda x=x, y=y: ops.simcc_decode(x, y),
            "labels": lambda p=points, s=shown, box=box, out=labels: ops.simcc_encode(p, s, **box, out=out),
            "KL": lambda x=x, loss=loss, grad=grad: ops.simcc_kl_div(x, x, target_beta=1, loss=loss, grad=grad),
        }
        for name, work in works.items():

            def threaded(count: int, work=work) -> None:
                _C.set_num_threads(count)
                work()

            variants = {"one thread": lambda go=threaded: go(1), "two threads": lambda go=threaded: go(2)}
            rows += compare(f"threads: {name} N={n}", variants, args)
    _C.set_num_threads(args.threads)
    return rows


def main() -> None:
    args = options(__doc__ or "")
    if args.device != "cpu":
        raise SystemExit("everything.py is for the CPU; on_gpu.py is the same for a GPU.")
    rows = simcc_decode.all_rows(args) + simcc_encode.all_rows(args) + simcc_kl_div.all_rows(args)
    rows += crop_normalize.all_rows(args) + heatmap.all_rows(args) + batch_norm_silu.all_rows(args)
    rows += with_two_threads(args)
    targets = [*TARGETS]
    if _C.simd_level() == "avx512":
        rows += at_avx2(args)
        targets += TARGETS_AVX2
    else:  # its own targets stand before those of a larger machine
        own = {(target.case.removeprefix("avx2: "), target.baseline): target.times for target in TARGETS_AVX2}
        targets = [
            Target(target.case, target.baseline, own.get((target.case, target.baseline), target.times))
            for target in targets
        ]
    if args.quick:
        report("ops", rows, args, ("", "A quick run shows that the benchmarks run; its numbers mean nothing."))
        return
    held = held_to(targets, rows)
    report("ops", rows, args, tuple(table(held)), targets=held)


if __name__ == "__main__":
    main()
