"""One training run: what is fixed (config, data, device), what moves (weights, averages, counters), and its files."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgepose import EdgeposeError
from edgepose.codecs import SimCC
from edgepose.skeletons import Skeleton
from edgepose_training.config import Config
from edgepose_training.data.crop_cache import CropCache
from edgepose_training.data.feed import Feed, size_at
from edgepose_training.data.loaders import Batch
from edgepose_training.distributed import SINGLE_PROCESS, Processes, synchronize_norms
from edgepose_training.engine import checkpoints, validation
from edgepose_training.engine.builders import student_and_teacher
from edgepose_training.engine.distiller import build_distiller
from edgepose_training.engine.losses import decay
from edgepose_training.engine.optimizer import Ema, amp_dtype, build_optimizer, lr_factor
from edgepose_training.engine.run_log import RunLog
from edgepose_training.engine.time_budget import TimeBudget
from edgepose_training.engine.training_cost import TrainingCost, compare_costs, read_cost
from edgepose_training.models.fused import fuse

log = logging.getLogger("distill")


class Stopped(Exception):
    """The run was asked to stop; everything is saved."""


class Run:
    """One training. What may be set before `fit`:

    stop_at: save and raise Stopped at the first step after this time of `time.monotonic`.
    pace: chooses the number of epochs, once the first steps were timed.
    after_save: called with the path of each `last.pt`.
    """

    def __init__(
        self,
        config: Config,
        train: CropCache,
        valid: CropCache | None,
        out: Path,
        device: torch.device,
        teacher: Path | None = None,
        init: Path | None = None,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        self.config, self.out, self.device, self.processes = config, out, device, processes
        torch.manual_seed(config.seed)
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # inputs keep their size
            torch.set_float32_matmul_precision("high")
        self.skeleton = Skeleton.load(config.skeleton)
        if train.num_keypoints != self.skeleton.num_keypoints:
            raise EdgeposeError(
                f"the shards hold {train.num_keypoints} keypoints, but skeleton {self.skeleton.name} "
                f"has {self.skeleton.num_keypoints}"
            )
        self.codec = SimCC(config.input_size, config.split_ratio, config.sigma, config.beta)
        self.amp = amp_dtype(config, device)
        self.feed = Feed(config, train, self.skeleton, device, processes)
        validates = valid is not None and processes.is_main
        self.valid_feed = Feed(config, valid, self.skeleton, device, SINGLE_PROCESS) if validates else None
        # A point that one process' shards lack may be labeled in another's.
        found = torch.from_numpy((train.weights > 0).any(0)).float().to(device)
        labeled = (processes.mean(found) > 0).float().cpu()
        self.unsupervised_keypoints = [int(i) for i in torch.nonzero(labeled == 0).flatten()]
        student, teacher_net = student_and_teacher(config, self.skeleton, teacher, init)
        self.distiller = build_distiller(config, self.skeleton, student, teacher_net, labeled).to(device)
        if processes.world > 1 and config.sync_norms:
            synchronize_norms(self.distiller, device)
        if teacher_net is not None:
            teacher_net.to(device)
        if config.kernels:
            fuse(self.distiller)
        if config.channels_last:
            self.distiller.to(memory_format=torch.channels_last)
        wrapped = processes.wrap(self.distiller)
        self.step_fn = torch.compile(wrapped) if config.compile else wrapped
        self.optimizer = build_optimizer(self.distiller, config)
        self.ema = Ema(self.distiller.student, config.ema) if config.ema > 0 else None
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp is torch.float16)
        self.epoch = self.step_in_epoch = self.step = 0
        self.fresh_optimizer = 0  # the step at which it last started from nothing
        self.best = -1.0
        self.stop_at: float | None = None
        self.time_budget: TimeBudget | None = None
        self.chosen_epochs = False
        self.after_save: Callable[[Path], None] | None = None
        self.before_stage2 = read_cost(teacher) if teacher and config.stage == 2 else None
        self._began: float | None = None
        self._seconds_before = 0.0
        self._saved_at = time.monotonic()
        self.run_log = RunLog(out) if processes.is_main else None

    @property
    def steps_per_epoch(self) -> int:
        return self.feed.steps_per_epoch

    # --- the loop

    def fit(self) -> None:
        """Train from where the run stands to its last epoch."""
        self._began = time.monotonic()
        while self.epoch < self.config.epochs:
            self.fit_epoch()
            self.epoch, self.step_in_epoch = self.epoch + 1, 0
            last = self.epoch == self.config.epochs
            if last or self.epoch % self.config.validate_every == 0:
                self.validate()
            if last or self.config.save_minutes == 0:
                self.save()
        if self.valid_feed is None and self.processes.is_main:
            checkpoints.save(self.out / "best.pt", self.state())  # nothing to choose by: the last is the best
        if self.config.stage == 2:
            log.info("%s", compare_costs(TrainingCost(self.seconds, self.step), self.before_stage2))

    def fit_epoch(self) -> None:
        cfg = self.config
        weight = decay(self.epoch, cfg.epochs) if cfg.decay else 1.0
        self.distiller.train()
        started, waited, seen, sums = time.perf_counter(), 0.0, 0, {}
        before = time.perf_counter()
        bar = self.run_log.bar(self.epoch, self.steps_per_epoch, self.step_in_epoch) if self.run_log else None
        for batch in self.feed.epoch(cfg, self.epoch, self.step_in_epoch):
            waited += time.perf_counter() - before
            terms = self.train_step(batch.to(self.device), weight)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value
            seen += 1
            self.step, self.step_in_epoch = self.step + 1, self.step_in_epoch + 1
            if bar is not None:
                bar.update()
            if self.step % cfg.log_every == 0:
                self._log(sums, seen, time.perf_counter() - started, waited)
                started, waited, seen, sums = time.perf_counter(), 0.0, 0, {}
            self._housekeeping()
            before = time.perf_counter()
        if bar is not None:
            bar.close()

    def train_step(self, batch: Batch, decay_weight: float) -> dict[str, Tensor]:
        cfg = self.config
        # Where the run stands is counted in epochs, whose length changes when data is added to it.
        position, steps = self.epoch * self.steps_per_epoch + self.step_in_epoch, cfg.epochs * self.steps_per_epoch
        lr = cfg.lr * lr_factor(position, steps, cfg, self.step - self.fresh_optimizer)
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
            self.ema.update()
        return {name: value.detach() for name, value in terms.items()}

    def _log(self, sums: dict[str, Tensor], seen: int, elapsed: float, waited: float) -> None:
        means = self.processes.mean(torch.stack(list(sums.values()))) / seen
        if self.run_log is not None:
            self.run_log.train(
                self.epoch,
                self.step,
                dict(zip(sums, means.tolist(), strict=True)),
                lr=self.optimizer.param_groups[0]["lr"],
                images_per_s=seen * self.config.batch / elapsed,
                waiting=waited / elapsed,
            )

    def _housekeeping(self) -> None:
        """Between two steps: choose the number of epochs, save, stop. Processes agree at the steps that are logged."""
        now = time.monotonic()
        if self.time_budget is not None:
            self._choose_epochs()
        often = self.config.save_minutes * 60
        if often and now - self._saved_at > often:
            self.save()
        if self.processes.world > 1 and self.step % self.config.log_every:
            return
        if self.processes.most(int(self.stop_at is not None and now > self.stop_at), self.device):
            self.save()
            raise Stopped

    def _choose_epochs(self) -> None:
        assert self.time_budget is not None
        epochs = self.time_budget.epochs(self.step, self.steps_per_epoch, self.device)
        if epochs is None:
            return
        epochs = self.processes.most(max(epochs, self.epoch + 1), self.device)
        log.info("%d epochs fit into the time that is left", epochs)
        self.config, self.time_budget, self.chosen_epochs = replace(self.config, epochs=epochs), None, True

    def validate(self) -> dict[str, float] | None:
        """Mean OKS of the weights that would ship, by the process that leads; keeps `best.pt`."""
        if self.valid_feed is None or self.run_log is None:
            self.processes.wait()
            return None
        cfg, student = self.config, self.distiller.student
        size = cfg.input_size if self.epoch == cfg.epochs else size_at(cfg, self.epoch - 1)
        current = {name: value.clone() for name, value in student.state_dict().items()}
        if self.ema is not None:
            student.load_state_dict(self.ema.state)
        people = self.valid_feed.plain(size, cfg.validate_people)
        oks = validation.mean_oks(
            student, people, self.valid_feed.store, size, self.codec, self.skeleton, self.device, self.amp
        )
        student.load_state_dict(current)
        self.run_log.valid(self.epoch, self.step, oks)
        self.run_log.plot()
        if oks["whole"] > self.best:
            self.best = oks["whole"]
            checkpoints.save(self.out / "best.pt", self.state())
        self.processes.wait()
        return oks

    @property
    def seconds(self) -> float:
        """Time spent in `fit`, over all pieces of the run."""
        return self._seconds_before + (0.0 if self._began is None else time.monotonic() - self._began)

    # --- files

    def save(self) -> None:
        """Write `last.pt`, from which `resume` goes on."""
        self._saved_at = time.monotonic()
        if self.processes.is_main:
            checkpoints.save(self.out / "last.pt", self.state())
            if self.after_save is not None:
                self.after_save(self.out / "last.pt")

    def state(self) -> dict[str, Any]:
        """Everything that a checkpoint holds."""
        distiller, ema = self.distiller, self.ema
        return {
            "model": distiller.student.state_dict(),
            "ema": None if ema is None else ema.state,
            "config": self.config.to_dict(),
            "skeleton": self.skeleton.to_dict(),
            "unsupervised_keypoints": self.unsupervised_keypoints,
            "epoch": self.epoch,
            "step_in_epoch": self.step_in_epoch,
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "extras": {k: m.state_dict() for k, m in self._extras().items()},
            "ema_updates": 0 if ema is None else ema.updates,
            "fresh_optimizer": self.fresh_optimizer,
            "chosen_epochs": self.chosen_epochs,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
        }

    def _extras(self) -> dict[str, nn.Module]:
        """What learns beside the student and is dropped at export."""
        pairs = (("aux", self.distiller.aux), ("align", self.distiller.align))
        return {name: module for name, module in pairs if module is not None}

    def resume(self, path: Path) -> None:
        """Continue a run exactly where `path` left it; from a slim checkpoint with a fresh optimizer."""
        state = checkpoints.widen(checkpoints.load(path))
        self.distiller.student.load_state_dict(state["model"])
        for name, module in self._extras().items():
            if name in state["extras"]:
                module.load_state_dict(state["extras"][name])
        if self.ema is not None and state["ema"] is not None:
            self.ema.load(state["ema"], state["ema_updates"])
        self.epoch, self.step_in_epoch, self.step = state["epoch"], state["step_in_epoch"], state["step"]
        self.best, self._seconds_before = state["best"], state.get("seconds", 0.0)
        if state.get("chosen_epochs"):
            self.config = replace(self.config, epochs=state["config"]["epochs"])
            self.time_budget, self.chosen_epochs = None, True
        if "optimizer" in state:
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            torch.set_rng_state(state["rng"])
            self.fresh_optimizer = state.get("fresh_optimizer", 0)
        else:
            self.fresh_optimizer = self.step
        if self.run_log is not None:
            self.run_log.rewind(self.step)
        log.info("resumed %s at epoch %d of %d, step %d", path, self.epoch, self.config.epochs, self.step)
