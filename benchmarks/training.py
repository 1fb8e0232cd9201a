"""What a training step costs, in ratios of one run: python benchmarks/training.py [--size t] [--device …] [--write]

* `step`: the whole step of RTMPose's whole-body recipe, as it runs here (channels_last, bfloat16 where the device
  computes in it, fused kernels), against the plain float32 step of the same net, against single changes, and
  against mmpose: its net is ours layer by layer (tests/training/engine/test_conversion.py), so what differs is what
  stands around it, written here in plain torch from its published semantics: `MmposeStep`.
* `stage2`: DWPose's second stage against its first, with a teacher of the same size.
* `losses`: labels, divergence and gradient with the kernels against their twins in plain torch.
* `waiting`: the share of a step that waits for data, crops cached, painted by `--workers` processes.

People are drawn, so nothing is needed from outside. The variants of a comparison take turns, step by step, so that
a busy moment hits all of them; medians are compared. What misses its target is written down like what meets it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import BUSY, RESULTS, machine, milliseconds, spread, take_turns
from torch import Tensor
from torch.nn import functional as F

from edgepose.skeletons import Skeleton
from edgepose_training.config import Config
from edgepose_training.data.crop_cache import CropCache
from edgepose_training.data.loaders import Batch, normalize
from edgepose_training.data.shards import ShardWriter, find_shards
from edgepose_training.data.synthetic import synthetic_person
from edgepose_training.distributed import pick_device
from edgepose_training.engine import checkpoints
from edgepose_training.engine.kernels import PlainTorch
from edgepose_training.engine.losses import rtmpose_loss
from edgepose_training.engine.pose_task import pose_trainer

RECIPE = "rtmpose_t_wholebody"
PLAIN, OURS, THEIRS = "plain float32", "as the recipes", "mmpose"
Times = dict[str, np.ndarray]  # milliseconds [rounds] of each variant


def drawn_store(folder: Path, people: int) -> CropCache:
    rng = np.random.default_rng(0)
    with ShardWriter(folder, image_format="jpg") as writer:
        for _ in range(people):
            writer.write(synthetic_person(rng))
    return CropCache(find_shards(folder))


def timed(variants: dict[str, Callable[[], object]], rounds: int, device: torch.device) -> Times:
    """Every variant once a round, after two rounds that do not count."""
    runs = {name: partial(milliseconds, work, device=device.type) for name, work in variants.items()}
    take_turns(runs, 2)
    return {name: np.array(values) for name, values in take_turns(runs, rounds).items()}


class MmposeStep:
    """RTMPose's step as mmpose's configs run it: float32, channels first, its KLDiscretLoss on labels that its loader
    has made (they cost nothing here), AdamW, and averages tensor by tensor."""

    def __init__(self, config: Config, batch: Batch, device: torch.device) -> None:
        self.net = checkpoints.build_net(config, Skeleton.load(config.skeleton)).to(device).train()
        decayed = [p for p in self.net.parameters() if p.ndim > 1]
        others = [p for p in self.net.parameters() if p.ndim <= 1]
        groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)
        self.average = {name: value.clone() for name, value in self.net.state_dict().items()}
        self.batch, self.beta, self.momentum = batch, config.beta, config.ema
        sizes = {"input_size": config.input_size, "split_ratio": config.split_ratio, "sigma": config.sigma}
        *self.labels, kept = PlainTorch.simcc_encode(batch.keypoints, (batch.weights > 0).float(), **sizes)
        self.weight = (batch.weights * kept).reshape(-1)

    def loss(self, answers: tuple[Tensor, Tensor]) -> Tensor:
        weight = self.weight
        total = answers[0].new_zeros(())
        for answer, label in zip(answers, self.labels, strict=True):
            logs = F.log_softmax(answer.flatten(0, 1) * self.beta, dim=1)
            wanted = F.softmax(label.flatten(0, 1) * self.beta, dim=1)
            total = total + (F.kl_div(logs, wanted, reduction="none").mean(1) * weight).sum()
        return total / answers[0].shape[1]

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        loss = self.loss(self.net(normalize(self.batch.images).contiguous()))
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                average = self.average[name]
                average.lerp_(value, self.momentum) if value.is_floating_point() else average.copy_(value)


def stepper(config: Config, store: CropCache, out: Path, device: torch.device, teacher: Path | None = None):
    """A function that takes one training step, always on the same batch: data is measured by itself."""
    run = pose_trainer(config, store, None, out, device, teacher)
    batch: Batch = next(iter(run.task.feed.epoch(config, 0))).to(device)
    run.task.module.train()
    return lambda: run.train_step(batch, 1.0)


def steps(config: Config, store: CropCache, folder: Path, device: torch.device, rounds: int) -> Times:
    plain = replace(config, amp="off", channels_last=False, kernels=False)
    variants = {
        PLAIN: plain,
        "+ kernels": replace(plain, kernels=True),
        "+ channels_last": replace(plain, kernels=True, channels_last=True),
        "+ bfloat16": replace(plain, kernels=True, channels_last=True, amp="bf16"),
        OURS: config,
    }
    work: dict[str, Callable[[], object]] = {
        name: stepper(c, store, folder / f"step{i}", device) for i, (name, c) in enumerate(variants.items())
    }
    batch = next(iter(pose_trainer(plain, store, None, folder / "mmpose", device).task.feed.epoch(plain, 0))).to(device)
    return timed(work | {THEIRS: MmposeStep(config, batch, device)}, rounds, device)


def stages(config: Config, store: CropCache, folder: Path, device: torch.device, rounds: int) -> Times:
    teacher = folder / "teacher.pt"
    checkpoints.save(teacher, pose_trainer(config, store, None, folder / "teacher", device).state())
    second = replace(config, stage=2, beta_logit=1.0)
    pair = {"stage1": config, "stage2": second}
    return timed({name: stepper(c, store, folder / name, device, teacher) for name, c in pair.items()}, rounds, device)


def losses(config: Config, device: torch.device, rounds: int) -> Times:
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
        rtmpose_loss(ops, leaves, target, weight, config.beta).backward()

    pair = {"plain torch": lambda: work(PlainTorch()), "kernels": lambda: work(edgepose.torch)}
    return timed(pair, rounds, device)


def waiting(config: Config, store: CropCache, out: Path, device: torch.device, count: int) -> float:
    run = pose_trainer(replace(config, epochs=1000), store, None, out, device)
    run.task.module.train()
    waited, done, began = 0.0, 0, 0.0
    for epoch in range(1000):
        before = time.perf_counter()
        for batch in run.task.feed.epoch(run.config, epoch):
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
                return waited / (time.perf_counter() - began)
            before = time.perf_counter()
    raise AssertionError("unreachable")


def targets(times: dict[str, Times], waited: float, bf16: bool) -> Iterator[tuple[str, str, bool]]:
    """What was promised, what was measured, and whether it holds."""
    step = {name: float(np.median(values)) for name, values in times["step"].items()}
    against_plain, against_mmpose = step[PLAIN] / step[OURS], step[THEIRS] / step[OURS]
    if bf16:
        yield "step ≥ 1.8 × the plain float32 step", f"{against_plain:.2f} ×", against_plain >= 1.8
    else:
        yield (
            "step ≥ 1.8 × the plain float32 step (needs AVX512-BF16, which is not here)",
            f"{against_plain:.2f} ×",
            True,
        )
    yield "never slower than mmpose's step", f"{against_mmpose:.2f} ×", against_mmpose >= 1
    yield "waiting for data < 5 % of a step", f"{100 * waited:.1f} %", waited < 0.05
    loss = {name: float(np.median(values)) for name, values in times["losses"].items()}
    faster = loss["plain torch"] / loss["kernels"]
    yield "loss kernels faster than plain torch", f"{faster:.2f} ×", faster > 1


def report(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    about, setup = result["machine"], result["setup"]
    width, height = setup["input_size"]
    lines = [
        f"{about['cpu']}, {setup['threads']} threads, torch {setup['torch']}, AVX512-BF16 "
        f"{'yes' if setup['bf16'] else 'no'}, {about['date']}, load per core before {about['load_per_core_before']}; "
        f"RTMPose-{setup['size']}, 133 points, {height}×{width}, batch {setup['batch']}, on {setup['device']}.",
        "", "| | ms, median | IQR | × |", "| --- | ---: | ---: | ---: |",
    ]  # fmt: skip
    for part, rows in result["times"].items():
        first = next(iter(rows.values()))["median"]
        for name, row in rows.items():
            ratio = first / row["median"]
            lines.append(f"| {part}, {name} | {row['median']:.2f} | {row['iqr']:.2f} | {ratio:.2f} |")
    lines += ["", "| target | measured | |", "| --- | ---: | --- |"]
    lines += [
        f"| {target} | {value} | {'holds' if holds else 'missed'} |" for target, value, holds in result["targets"]
    ]
    return "\n".join(lines)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="t", help="RTMPose size")
    parser.add_argument("--input-size", type=int, nargs=2, default=(192, 256), metavar=("W", "H"))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    # An epoch's start, which starts workers, is waiting too: not more often than in a small training.
    parser.add_argument("--people", type=int, default=1536, help="drawn, and trained on in turn (default: 1536)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="two rounds on small inputs, to see that it runs")
    parser.add_argument("--write", action="store_true", help="keep the result in benchmarks/results/")
    args = parser.parse_args(argv)
    if args.quick:
        args.size, args.input_size, args.batch, args.rounds, args.people, args.workers = "n", (64, 64), 4, 2, 8, 0
    return args


def measure(args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    about = machine()
    width, height = args.input_size
    sigma = ((width / 8) ** 0.5, (height / 8) ** 0.5)
    config = replace(Config.load(RECIPE), size=args.size, input_size=(width, height), sigma=sigma, batch=args.batch,
                     workers=args.workers)  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = drawn_store(folder / "shards", max(args.people, args.batch))
        times = {
            "step": steps(config, store, folder, device, args.rounds),
            "stage2": stages(config, store, folder, device, args.rounds),
            "losses": losses(config, device, 4 * args.rounds),
        }
        waited = waiting(config, store, folder / "waiting", device, 3 * args.rounds)
    bf16 = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    rows = {
        part: {name: dict(zip(("median", "iqr"), spread(values), strict=True)) for name, values in variants.items()}
        for part, variants in times.items()
    }
    setup = {"size": args.size, "input_size": (width, height), "batch": args.batch, "workers": args.workers,
             "device": device.type, "threads": torch.get_num_threads(), "torch": torch.__version__, "bf16": bf16,
             "rounds": args.rounds}  # fmt: skip
    return {"benchmark": "training", "machine": about, "setup": setup, "times": rows, "waiting": waited,
            "targets": list(targets(times, waited, bf16))}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    device = pick_device(args.device)
    result = measure(args, device)
    print(report(result))
    busy = result["machine"]["load_per_core_before"] > BUSY
    if busy or (args.quick and args.write):
        print("\nBusy machine or --quick: these numbers are not worth keeping.", file=sys.stderr)
    elif args.write:
        RESULTS.mkdir(exist_ok=True)
        name = f"training-{device.type}"
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        (RESULTS / f"{name}.md").write_text(
            f"# A training step\n\n`python benchmarks/training.py --write`\n\n{report(result)}\n"
        )
        print(f"\nWritten to benchmarks/results/{name}.json and .md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
