"""What a training step costs, in ratios of one run: python benchmarks/training.py [--size t] [--device …] [--write]

* `step`: the whole step of the RTMPose student, as the recipes run it (channels_last, bfloat16 where the device
  computes in it, fused loss kernels), against the plain float32 step of the same net and against single changes.
* `stage2`: DWPose's second stage against its first, with a teacher of the same size.
* `losses`: labels, divergence and gradient with the kernels against their twins in plain torch.
* `waiting`: the share of a step that waits for data, crops cached, painted by `--workers` processes.

People are drawn, so nothing is needed from outside. The variants of a comparison take turns, step by step, so that
a busy moment hits all of them; medians are compared. Losses of a comparison are written down like wins.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from edgepose_training import checkpoint
from edgepose_training.config import Config
from edgepose_training.data import Batch
from edgepose_training.distill import pick_device
from edgepose_training.drawn import draw_person
from edgepose_training.losses import PlainTorch, wholebody_loss
from edgepose_training.run import Run
from edgepose_training.shards import ShardWriter, find_shards
from edgepose_training.store import CropStore

RESULTS = Path(__file__).parent / "results"


def drawn_store(folder: Path, people: int) -> CropStore:
    rng = np.random.default_rng(0)
    with ShardWriter(folder, image_format="jpg") as writer:
        for _ in range(people):
            writer.write(draw_person(rng))
    return CropStore(find_shards(folder))


def medians(variants: dict[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, float]:
    """Milliseconds of each variant; they take turns, after two rounds that do not count."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for index in range(rounds + 2):
        for name, work in variants.items():
            start = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if index >= 2:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def stepper(config: Config, store: CropStore, out: Path, device: torch.device, teacher: Path | None = None):
    """A function that takes one training step, always on the same batch: data is measured by itself."""
    run = Run(config, store, None, out, device, teacher)
    batch: Batch = next(iter(run.feed.epoch(config, 0))).to(device)
    run.distiller.train()
    return lambda: run.train_step(batch, 1.0)


def steps(config: Config, store: CropStore, folder: Path, device: torch.device, rounds: int) -> dict[str, float]:
    plain = replace(config, amp="off", channels_last=False, kernels=False)
    variants = {
        "plain float32": plain,
        "+ kernels": replace(plain, kernels=True),
        "+ channels_last": replace(plain, kernels=True, channels_last=True),
        "+ bfloat16": replace(plain, kernels=True, channels_last=True, amp="bf16"),
        "as the recipes": config,
    }
    return medians(
        {name: stepper(c, store, folder / f"step{i}", device) for i, (name, c) in enumerate(variants.items())},
        rounds, device,
    )  # fmt: skip


def stages(config: Config, store: CropStore, folder: Path, device: torch.device, rounds: int) -> dict[str, float]:
    teacher = folder / "teacher.pt"
    checkpoint.save(teacher, Run(config, store, None, folder / "teacher", device).state())
    second = replace(config, stage=2, beta_logit=1.0)
    pair = {"stage1": config, "stage2": second}
    return medians(
        {name: stepper(c, store, folder / name, device, teacher) for name, c in pair.items()}, rounds, device
    )


def losses(config: Config, device: torch.device, rounds: int) -> dict[str, float]:
    """Labels, divergence and its gradient, for a batch of the config."""
    import edgepose.torch

    k = 133
    width, height = config.input_size
    bins = [int(side * config.split_ratio) for side in config.input_size]
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(config.batch, k, n, generator=generator).mul(0.3).to(device) for n in bins]
    points = (torch.rand(config.batch, k, 2, generator=generator) * torch.tensor([width, height])).to(device)
    weight = torch.ones(config.batch, k, device=device)

    def work(ops) -> None:
        leaves = tuple(x.detach().requires_grad_() for x in logits)
        *target, _ = ops.simcc_encode(
            points, weight, input_size=config.input_size, split_ratio=config.split_ratio, sigma=config.sigma
        )
        wholebody_loss(ops, leaves, target, weight, config.beta).backward()

    return medians({"kernels": lambda: work(edgepose.torch), "plain torch": lambda: work(PlainTorch())}, rounds, device)


def waiting(config: Config, store: CropStore, out: Path, device: torch.device, count: int) -> dict[str, float]:
    run = Run(replace(config, epochs=1000), store, None, out, device)
    run.distiller.train()
    waited, done, began = 0.0, 0, 0.0
    for epoch in range(1000):
        before = time.perf_counter()
        for batch in run.feed.epoch(run.config, epoch):
            # The first steps fill the pipeline; an epoch's start, which starts workers, counts.
            if done == 3:
                waited, began = 0.0, time.perf_counter()
            elif done > 3:
                waited += time.perf_counter() - before
            run.train_step(batch.to(device), 1.0)
            if device.type == "cuda":
                torch.cuda.synchronize()
            done += 1
            if done == count + 4:
                return {"share": waited / (time.perf_counter() - began)}
            before = time.perf_counter()
    raise AssertionError("unreachable")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="t", help="RTMPose size")
    parser.add_argument("--input-size", type=int, nargs=2, default=(192, 256), metavar=("W", "H"))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--people", type=int, default=512)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--write", action="store_true", help="keep the result in benchmarks/results/training.json")
    args = parser.parse_args(argv)
    device = pick_device(args.device)
    width, height = args.input_size
    config = Config(
        size=args.size, input_size=(width, height), sigma=((width / 8) ** 0.5, (height / 8) ** 0.5), batch=args.batch,
        workers=args.workers, aux_heatmap=0.05, clip=5.0,
    )  # fmt: skip
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = drawn_store(folder / "shards", max(args.people, args.batch))
        result = {
            "step": steps(config, store, folder, device, args.rounds),
            "stage2": stages(replace(config, aux_heatmap=0.0), store, folder, device, args.rounds),
            "losses": losses(config, device, args.rounds),
            "waiting": waiting(config, store, folder / "waiting", device, args.rounds),
        }
    for part, values in result.items():
        base = next(iter(values.values()))
        for label, value in values.items():
            text = f"{100 * value:8.1f} %" if part == "waiting" else f"{value:8.2f} ms   × {base / value:.2f}"
            print(f"{part:8} {label:16} {text}")
    about = {
        "date": datetime.date.today().isoformat(), "torch": torch.__version__, "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine(),
        "bf16": bool(torch.cpu._is_avx512_bf16_supported()), "load_before": load,
        "config": {key: getattr(config, key) for key in ("size", "input_size", "batch", "workers")},
    }  # fmt: skip
    print(json.dumps(about))
    if args.write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "training.json").write_text(json.dumps({"about": about, "result": result}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
