"""One training run: what is fixed (config, data, device), what moves (weights, averages, counters), and its files."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from edgepose import EdgeposeError
from edgepose.codecs import SimCC
from edgepose.skeletons import Skeleton
from edgepose_training import checkpoint, validate
from edgepose_training.augment import Strength
from edgepose_training.config import Config
from edgepose_training.data import Batch, Crops, DeviceCrops, EpochSampler, loader, strength_at
from edgepose_training.distiller import Distiller
from edgepose_training.journal import Journal
from edgepose_training.losses import decay
from edgepose_training.optim import Ema, build_optimizer, lr_factor
from edgepose_training.store import CropStore

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

    def __init__(
        self,
        config: Config,
        train: CropStore,
        valid: CropStore | None,
        out: Path,
        device: torch.device,
        teacher: Path | None = None,
        init: Path | None = None,
    ) -> None:
        self.config, self.train_store, self.valid_store, self.out, self.device = (
            config,
            train,
            valid,
            out,
            device,
        )
        torch.manual_seed(config.seed)
        if config.head.startswith("heatmap"):
            raise EdgeposeError(
                f"head {config.head}: this script has no loss for heat maps yet, only for SimCC vectors"
            )
        self.skeleton = Skeleton.load(config.skeleton)
        if train.num_keypoints != self.skeleton.num_keypoints:
            raise EdgeposeError(
                f"the shards hold {train.num_keypoints} keypoints, but skeleton {self.skeleton.name} "
                f"has {self.skeleton.num_keypoints}"
            )
        self.codec = SimCC(config.input_size, config.split_ratio, config.sigma, config.beta)
        self.amp = amp_dtype(config, device)
        labelled = torch.from_numpy((train.weights > 0).any(0))
        self.untrained = [int(i) for i in torch.nonzero(~labelled).flatten()]
        student = checkpoint.build_net(config, self.skeleton)
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
                for classifier in student.head.classifiers:
                    classifier.weight *= config.classifier_gain
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
        self.device_crops: DeviceCrops | None = None
        self.journal = Journal(out)

    def _load_teacher(self, path: Path):
        net, config, skeleton, _ = checkpoint.load_net(path)
        if skeleton.num_keypoints != self.skeleton.num_keypoints or self.config.input_size != config.input_size:
            raise EdgeposeError(
                f"{path}: the teacher has {skeleton.num_keypoints} keypoints at {config.input_size}, "
                f"the student {self.skeleton.num_keypoints} at {self.config.input_size}"
            )
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
        strength = strength_at(cfg, self.epoch / cfg.epochs)
        sampler = EpochSampler(len(self.train_store), cfg.seed, self.epoch, skip=self.step_in_epoch * cfg.batch)
        weight = decay(self.epoch, cfg.epochs) if cfg.decay else 1.0
        self.distiller.train()
        started, waited, seen, sums = time.perf_counter(), 0.0, 0, {}
        before = time.perf_counter()
        for batch in self.batches(size, strength, sampler):
            waited += time.perf_counter() - before
            terms = self.train_step(batch.to(self.device), weight)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value
            seen += 1
            self.step, self.step_in_epoch = self.step + 1, self.step_in_epoch + 1
            if self.step % cfg.log_every == 0:
                elapsed = time.perf_counter() - started
                self.journal.train(
                    self.epoch,
                    self.step,
                    {k: float(v) / seen for k, v in sums.items()},
                    lr=self.optimizer.param_groups[0]["lr"],
                    images_per_s=seen * cfg.batch / elapsed,
                    waiting=waited / elapsed,
                )
                started, waited, seen, sums = time.perf_counter(), 0.0, 0, {}
            if self.stop_at is not None and time.monotonic() > self.stop_at:
                self.save("last")
                raise Stopped
            before = time.perf_counter()

    def batches(self, size: tuple[int, int], strength: Strength, sampler: EpochSampler) -> Iterable[Batch]:
        """Batches of an epoch, painted by worker processes or on the device."""
        cfg = self.config
        if not cfg.on_device:
            return loader(Crops(self.train_store, self.skeleton, size, strength), cfg.batch, cfg.workers, sampler)
        if self.device_crops is None:
            self.device_crops = DeviceCrops(self.train_store, self.skeleton, self.device)
        oversample = max(cfg.input_size[0] // size[0], 1)
        return self.device_crops.batches(size, strength, cfg.batch, sampler, oversample)

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
        crops = Crops(self.valid_store, self.skeleton, size)
        if cfg.validate_people:
            subset = torch.utils.data.Subset(crops, range(min(cfg.validate_people, len(crops))))
        current = {name: value.clone() for name, value in student.state_dict().items()}
        if self.ema is not None:
            student.load_state_dict(self.ema.state)
        oks = validate.mean_oks(
            student,
            loader(subset if cfg.validate_people else crops, 64, cfg.workers),
            crops,
            self.codec,
            self.skeleton,
            self.device,
            self.amp,
        )
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
        checkpoint.save(
            self.out / f"{name}.pt",
            {
                "model": distiller.student.state_dict(),
                "ema": None if ema is None else ema.state,
                "config": self.config.to_dict(),
                "skeleton": self.skeleton.to_dict(),
                "untrained": self.untrained,
                "epoch": self.epoch,
                "step_in_epoch": self.step_in_epoch,
                "step": self.step,
                "best": self.best,
                "extras": extras,
                "ema_updates": 0 if ema is None else ema.updates,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "rng": torch.get_rng_state(),
            },
        )

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
