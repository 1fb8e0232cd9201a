"""All kernels on a GPU in one table, and the targets beside what was reached; --write: results/ops-gpu.{md,json}.

Bandwidth counts the bytes that must move, against a copy of as many measured in the same run. `--quick --device cpu`
shows on any machine that the script runs.
"""

from __future__ import annotations

import sys

import batch_norm_silu
import crop_normalize
import heatmap
import simcc_decode
import simcc_encode
import simcc_kl_div
import torch
from bandwidth import COPY
from common import SIZES, Row, options, report
from targets import Limit, Target, held_to, table

TARGETS: list[Target | Limit] = [
    *(Target(f"decode {size} N=2048", COPY, 0.75) for size in SIZES),
    *(Target(f"labels {size} N=1024", COPY, 0.75) for size in SIZES),
    *(Target(f"KL kernel {size} N=512", COPY, 0.75) for size in SIZES),
    *(Target(f"KL {size} N=512", "torch eager", 6) for size in SIZES),
    Limit("decode 256x192 N=1", "edgepose.ops", 12),
    Limit("decode 256x192 N=1", "graph replay", 5),
]
STEPS = {
    "simcc_decode": simcc_decode.on_gpu,
    "simcc_encode": simcc_encode.on_gpu,
    "simcc_kl_div": simcc_kl_div.all_rows,
    "crop_normalize": crop_normalize.all_rows,
    "heatmap": heatmap.all_rows,
    "batch_norm_silu": batch_norm_silu.all_rows,
}


def main() -> None:
    args = options(__doc__ or "", device="cuda")
    if args.device == "cpu" and not args.quick:
        raise SystemExit("on_gpu.py is for a GPU; on the CPU it only runs with --quick, and everything.py measures.")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("on_gpu.py: torch sees no CUDA device.")
    rows: list[Row] = []
    broken: list[str] = []
    for name, step in STEPS.items():
        torch.manual_seed(0)
        try:
            rows += step(args)
        except Exception as error:  # the minutes on this machine are lent: the others are measured all the same
            broken.append(f"{name}: {type(error).__name__}: {error}".partition("\n")[0])
    notes = ["", "Not measured, because it failed:", *(f"* {each}" for each in broken)] if broken else []
    if args.quick:
        report("ops", rows, args, (*notes, "", "A quick run shows that the benchmarks run; its numbers mean nothing."))
    else:
        held = held_to(TARGETS, rows)
        missing = [target for target in TARGETS if not held_to([target], rows)]
        notes += [*table(held), "", *(f"* {target.case}: a target, but not measured" for target in missing)]
        notes += [
            "",
            "decode N=1: a call, averaged over 1,000 in a row with out=; those of edgepose.torch have no target.",
        ]
        report("ops", rows, args, tuple(notes), targets=held, broken=broken)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
