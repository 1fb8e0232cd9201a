"""Train and distil a pose net: `python training/distill.py [CONFIG.toml] --shards DIR [--teacher CHECKPOINT]`.

Reads top to bottom: data, student, teacher, loop, files. Without arguments it draws its own little data set and
trains, distils and exports a tiny net, to show the whole way.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgepose import EdgeposeError
from edgepose.codecs import SimCC
from edgepose.skeletons import Skeleton
from edgepose_training import checkpoint, validate
from edgepose_training.config import Config
from edgepose_training.data import Batch, Crops, EpochSampler, loader, strength_at
from edgepose_training.distiller import Distiller
from edgepose_training.journal import Journal
from edgepose_training.losses import decay
from edgepose_training.models import build_pose_net
from edgepose_training.optim import Ema, build_optimizer, lr_factor
from edgepose_training.shards import CropStore, find_shards

log = logging.getLogger("distill")


class Stopped(Exception):
    """The run was asked to stop; everything is saved."""


def amp_dtype(config: Config, device: torch.device) -> torch.dtype | None:
    """The autocast type: bf16 where the device computes in it, else none."""
    if config.amp == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else None
    types = {"bf16": torch.bfloat16, "fp16": torch.float16, "off": None}
    if config.amp not in types:
        raise EdgeposeError(f"amp expected auto, bf16, fp16 or off, got {config.amp!r}")
    return types[config.amp]


class Run:
    """One training: what is fixed (config, data, device) and what moves (weights, averages, counters)."""

    def __init__(self, config: Config, train: CropStore, valid: CropStore | None, out: Path, device: torch.device,
                 teacher: Path | None = None, init: Path | None = None) -> None:  # fmt: skip
        self.config, self.train_store, self.valid_store, self.out, self.device = config, train, valid, out, device
        torch.manual_seed(config.seed)
        self.skeleton = Skeleton.load(config.skeleton)
        if train.num_keypoints != self.skeleton.num_keypoints:
            raise EdgeposeError(f"the shards hold {train.num_keypoints} keypoints, but skeleton {self.skeleton.name} "
                                f"has {self.skeleton.num_keypoints}")  # fmt: skip
        self.codec = SimCC(config.input_size, config.split_ratio, config.sigma, config.beta)
        self.amp = amp_dtype(config, device)
        labelled = torch.from_numpy((train.weights > 0).any(0))
        self.untrained = [int(i) for i in torch.nonzero(~labelled).flatten()]
        student = build_pose_net(config.size, self.skeleton.num_keypoints, config.input_size, config.split_ratio)
        teacher_net = self._load_teacher(teacher) if teacher else None
        if config.stage == 2:
            if teacher_net is None:
                raise EdgeposeError("stage 2 distils a head from a checkpoint of the same net: give it as --teacher")
            student.backbone.load_state_dict(teacher_net.backbone.state_dict())
        elif init is not None:
            left = checkpoint.initialise(student, init)
            log.info("started from %s; left at random: %s", init, ", ".join(left) or "nothing")
        if config.classifier_gain != 1:
            with torch.no_grad():
                student.head.cls_x.weight *= config.classifier_gain
                student.head.cls_y.weight *= config.classifier_gain
        self.distiller = Distiller(config, self.skeleton, student, teacher_net, labelled.float()).to(device)
        if teacher_net is not None:
            teacher_net.to(device)
        if config.channels_last:
            self.distiller.to(memory_format=torch.channels_last)
        self.step_fn = torch.compile(self.distiller) if config.compile else self.distiller
        self.optimizer = build_optimizer(self.distiller, config)
        self.ema = Ema(student, config.ema) if config.ema > 0 else None
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp is torch.float16)
        self.epoch = self.step_in_epoch = self.step = 0
        self.best = -1.0
        self.steps_per_epoch = max(len(train) // config.batch, 1)
        self.stop_at: float | None = None
        self.journal = Journal(out)

    def _load_teacher(self, path: Path):
        net, config, skeleton, _ = checkpoint.load_net(path)
        if skeleton.num_keypoints != self.skeleton.num_keypoints or self.config.input_size != config.input_size:
            raise EdgeposeError(f"{path}: the teacher has {skeleton.num_keypoints} keypoints at {config.input_size}, "
                                f"the student {self.skeleton.num_keypoints} at {self.config.input_size}")  # fmt: skip
        return net

    # --- the loop

    def fit(self) -> None:
        """Train from where the run stands to its last epoch."""
        while self.epoch < self.config.epochs:
            self.fit_epoch()
            self.epoch, self.step_in_epoch = self.epoch + 1, 0
            last = self.epoch == self.config.epochs
            if self.valid_store is not None and (last or self.epoch % self.config.validate_every == 0):
                self.validate()
            self.save("last")
        self.journal.plot()

    def fit_epoch(self) -> None:
        cfg = self.config
        half = self.epoch < cfg.half_size_epochs
        size = tuple(side // 2 for side in cfg.input_size) if half else cfg.input_size
        crops = Crops(self.train_store, self.skeleton, size, strength_at(cfg, self.epoch / cfg.epochs))
        sampler = EpochSampler(len(crops), cfg.seed, self.epoch, skip=self.step_in_epoch * cfg.batch)
        weight = decay(self.epoch, cfg.epochs) if cfg.decay else 1.0
        self.distiller.train()
        started, waited, seen, sums = time.perf_counter(), 0.0, 0, {}
        before = time.perf_counter()
        for batch in loader(crops, cfg.batch, cfg.workers, sampler):
            waited += time.perf_counter() - before
            terms = self.train_step(batch.to(self.device), weight)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value
            seen += 1
            self.step, self.step_in_epoch = self.step + 1, self.step_in_epoch + 1
            if self.step % cfg.log_every == 0:
                elapsed = time.perf_counter() - started
                self.journal.train(self.epoch, self.step, {k: float(v) / seen for k, v in sums.items()},
                                   lr=self.optimizer.param_groups[0]["lr"], images_per_s=seen * cfg.batch / elapsed,
                                   waiting=waited / elapsed)  # fmt: skip
                started, waited, seen, sums = time.perf_counter(), 0.0, 0, {}
            if self.stop_at is not None and time.monotonic() > self.stop_at:
                self.save("last")
                raise Stopped
            before = time.perf_counter()

    def train_step(self, batch: Batch, decay_weight: float) -> dict[str, Tensor]:
        cfg = self.config
        lr = cfg.lr * lr_factor(self.step, cfg.epochs * self.steps_per_epoch, cfg)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        with torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
            terms = self.step_fn(batch, decay_weight)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(sum(terms.values())).backward()
        if cfg.clip > 0:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.distiller.parameters(), cfg.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.ema is not None:
            self.ema.update(self.distiller.student)
        return {name: value.detach() for name, value in terms.items()}

    def validate(self) -> dict[str, float]:
        """Mean OKS of the weights that would ship; keeps `best.pt`."""
        cfg, student = self.config, self.distiller.student
        half = self.epoch <= cfg.half_size_epochs and self.epoch < cfg.epochs
        size = tuple(side // 2 for side in cfg.input_size) if half else cfg.input_size
        crops = Crops(self.valid_store, self.skeleton, size, None)
        if cfg.validate_people:
            subset = torch.utils.data.Subset(crops, range(min(cfg.validate_people, len(crops))))
        current = {name: value.clone() for name, value in student.state_dict().items()}
        if self.ema is not None:
            student.load_state_dict(self.ema.state)
        oks = validate.mean_oks(student, loader(subset if cfg.validate_people else crops, 64, cfg.workers), crops,
                                self.codec, self.skeleton, self.device, self.amp)  # fmt: skip
        student.load_state_dict(current)
        self.journal.valid(self.epoch, self.step, oks)
        if oks["whole"] > self.best:
            self.best = oks["whole"]
            self.save("best")
        return oks

    # --- files

    def save(self, name: str) -> None:
        distiller, ema = self.distiller, self.ema
        extras = {k: m.state_dict() for k, m in (("aux", distiller.aux), ("align", distiller.align)) if m is not None}
        checkpoint.save(self.out / f"{name}.pt", {
            "model": distiller.student.state_dict(), "ema": None if ema is None else ema.state,
            "config": self.config.to_dict(), "skeleton": self.skeleton.to_dict(), "untrained": self.untrained,
            "epoch": self.epoch, "step_in_epoch": self.step_in_epoch, "step": self.step, "best": self.best,
            "extras": extras, "ema_updates": 0 if ema is None else ema.updates,
            "optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
        })  # fmt: skip

    def resume(self, path: Path) -> None:
        """Continue a run exactly where `path` left it."""
        state = checkpoint.load(path)
        self.distiller.student.load_state_dict(state["model"])
        for name, extra in state["extras"].items():
            module = getattr(self.distiller, name)
            if module is not None:
                module.load_state_dict(extra)
        if self.ema is not None and state["ema"] is not None:
            self.ema.load_state_dict({"updates": state["ema_updates"], **state["ema"]})
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"])
        self.epoch, self.step_in_epoch, self.step = state["epoch"], state["step_in_epoch"], state["step"]
        self.best = state["best"]
        log.info("resumed %s at epoch %d, step %d", path, self.epoch, self.step)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?", help="TOML file of differences from training/config.py")
    parser.add_argument("--shards", type=Path, help="folder of crop shards with train/ and, if there is one, val/")
    parser.add_argument("--teacher", type=Path, help="checkpoint to distil from")
    parser.add_argument("--init", type=Path, help="checkpoint to start the student from")
    parser.add_argument("--resume", action="store_true", help="continue the run in --output")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/distill"), help="folder of the run")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one config value")
    parser.add_argument("--stop-after", type=float, metavar="MINUTES", help="save and stop after so long")
    parser.add_argument("--threads", type=int, help="CPU threads of the network")
    return parser.parse_args(argv)


def pick_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise EdgeposeError("--device cuda: torch sees no GPU here; use --device cpu")
    return torch.device(name)


def run(args: argparse.Namespace) -> None:
    config = Config.load(args.config, args.set)
    valid_dir = args.shards / "val"
    train = CropStore(find_shards(args.shards / "train"))
    valid = CropStore(find_shards(valid_dir)) if valid_dir.is_dir() else None
    training = Run(config, train, valid, args.output, pick_device(args.device), args.teacher, args.init)
    last = args.output / "last.pt"
    if args.resume:
        training.resume(last)
    elif last.exists():
        raise EdgeposeError(f"{args.output} holds a run already; continue it with --resume or choose another --output")
    if args.stop_after:
        training.stop_at = time.monotonic() + args.stop_after * 60
    # A handler that only sets the deadline lets the step end, so that what is saved is whole.
    signal.signal(signal.SIGINT, lambda *_: setattr(training, "stop_at", 0.0))
    try:
        training.fit()
    except Stopped:
        again = " ".join(sys.argv) + ("" if args.resume else " --resume")
        log.info("stopped at epoch %d, step %d; continue with: python %s", training.epoch, training.step, again)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        run(args)
    except EdgeposeError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
