"""One training run: the loop, the schedule, averaged weights, checkpoints, the log. What is trained is a `Task`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgepose_training.config import TrainerConfig
from edgepose_training.distributed import synchronize_norms
from edgepose_training.engine import checkpoints, resuming
from edgepose_training.engine.losses import total
from edgepose_training.engine.optimizer import Ema, amp_dtype, averaged_weights, build_optimizer, lr_factor
from edgepose_training.engine.run_log import LogWindow, RunLog
from edgepose_training.engine.task import Task
from edgepose_training.engine.time_budget import TimeBudget
from edgepose_training.engine.training_cost import TrainingCost
from edgepose_training.models.fused import fuse
from edgepose_training.progress import bar

log = logging.getLogger("distill")


class Stopped(Exception):
    """The run was asked to stop; everything is saved."""


class Trainer:
    """One training in the folder `out`. What may be set before `fit`:

    stop_at: save and raise Stopped at the first step after this time of `time.monotonic`.
    time_budget: chooses the number of epochs, once the first steps were timed.
    after_save: called with the path of each `last.pt`.
    """

    def __init__(self, task: Task, out: Path) -> None:
        self.task, self.out = task, out
        self.config: TrainerConfig = task.config
        self.device, self.processes = task.device, task.processes
        self.amp = amp_dtype(self.config, self.device)
        self.step_fn = self._prepare(task.module)
        self.optimizer = build_optimizer(task.module, self.config)
        self.ema = Ema(task.net, self.config.ema) if self.config.ema > 0 else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp is torch.float16)
        self.epoch = self.step_in_epoch = self.step = 0
        self.fresh_optimizer = 0  # the step at which it last started from nothing
        self.best = -1.0
        self.stop_at: float | None = None
        self.time_budget: TimeBudget | None = None
        self.chosen_epochs = False
        self.after_save: Callable[[Path], None] | None = None
        self._pictured = False
        self._began: float | None = None
        self._first_step = 0  # of this piece of the run
        self._seconds_before = 0.0
        self._saved_at = time.monotonic()
        self.run_log = RunLog(out, task.measure) if self.processes.is_main else None

    def _prepare(self, module: nn.Module) -> Callable[..., dict[str, Tensor]]:
        """The module on its device, as fast as the config lets it be, its gradients averaged over the processes."""
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # inputs keep their size
            torch.set_float32_matmul_precision("high")
        module.to(self.device)
        if self.processes.world > 1 and self.config.sync_norms:
            synchronize_norms(module, self.device)
        if self.config.kernels:
            fuse(module)
        if self.config.channels_last:
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # an overload torch leaves out
        wrapped = self.processes.wrap(module)
        return torch.compile(wrapped) if self.config.compile else wrapped

    # --- the loop

    def fit(self) -> None:
        """Train from where the run stands to its last epoch. However it ends, the run's log is closed."""
        self._began, self._first_step = time.monotonic(), self.step
        try:
            self._fit_epochs()
        finally:
            self.close()
        self.task.finish(TrainingCost(self.seconds, self.step))
        if self.run_log is not None:
            log.info("%s", self.run_log.summary(self.config.epochs, self.step, self.seconds, self.task.best_by))
            log.info("next: %s", self.task.next_command.format(best=self.out / "best.pt"))

    def close(self) -> None:
        """End what the run's log keeps open. `fit` does so itself; a later row opens it again."""
        if self.run_log is not None:
            self.run_log.close()

    def _fit_epochs(self) -> None:
        if self.step == 0 and self.task.starts_trained:
            self.validate()  # else nobody would see whether training has helped
        while self.epoch < self.config.epochs:
            self.fit_epoch()
            self.epoch, self.step_in_epoch = self.epoch + 1, 0
            last = self.epoch == self.config.epochs
            if last or self.epoch % self.config.validate_every == 0:
                self.validate()
            if last or self.config.save_minutes == 0:
                self.save()
        if not self.task.validates and self.processes.is_main:
            checkpoints.save(self.out / "best.pt", self.state())  # nothing to choose by: the last is the best

    def fit_epoch(self) -> None:
        """The rest of the epoch in which the run stands."""
        decay = self.task.decay(self.config, self.epoch)
        self.task.module.train()
        window = LogWindow()
        steps = bar(self._place, self.task.steps_per_epoch, "steps", done=self.step_in_epoch) if self.run_log else None
        for batch in window.timed(self.task.batches(self.config, self.epoch, self.step_in_epoch)):
            self._picture_once(batch)
            window.add(self.train_step(batch.to(self.device), decay))
            self.step, self.step_in_epoch = self.step + 1, self.step_in_epoch + 1
            if steps is not None:
                steps.update()
            if self.step % self.config.log_every == 0:
                self._log(window)
                window.clear()
            self._housekeeping()
        if window.steps and not window.written:  # a short epoch leaves a row, too
            self._log(window)
        if steps is not None:
            steps.close()

    @property
    def _place(self) -> str:
        return f"epoch {min(self.epoch + 1, self.config.epochs)} of {self.config.epochs}"

    def _picture_once(self, batch: Any) -> None:
        """The first batch of this piece of the run, as the net sees it, with its labels."""
        if not self._pictured and self.run_log is not None:
            self.run_log.picture("train_batch", self.task.batch_picture(batch), self.step)
        self._pictured = True

    def train_step(self, batch: Any, decay: float) -> dict[str, Tensor]:
        """One step on a batch that is on the device. Returns the loss terms, detached."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * self._lr_factor()
        with torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
            terms = self.step_fn(batch, decay)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(total(terms.values())).backward()
        if self.config.clip > 0:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.task.module.parameters(), self.config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.ema is not None:
            self.ema.update()
        return {name: value.detach() for name, value in terms.items()}

    def _lr_factor(self) -> float:
        # Where the run stands is counted in epochs, whose length changes when data is added to it.
        per_epoch = self.task.steps_per_epoch
        position = self.epoch * per_epoch + self.step_in_epoch
        return lr_factor(position, self.config.epochs * per_epoch, self.config, self.step - self.fresh_optimizer)

    def _log(self, window: LogWindow) -> None:
        means = self.processes.mean(torch.stack(list(window.sums.values()))) / window.steps
        if self.run_log is not None:
            elapsed = time.perf_counter() - window.started
            self.run_log.train(
                self.epoch,
                self.step,
                dict(zip(window.sums, means.tolist(), strict=True)),
                lr=self.optimizer.param_groups[0]["lr"],
                images_per_s=window.steps * self.config.batch / elapsed,
                waiting=window.waited / elapsed,
                place=self._place,
                left=self._seconds_left(),
            )
        window.written = True

    def _seconds_left(self) -> float | None:
        """How long the rest of the run takes at the pace of this piece of it, validation included."""
        if self._began is None or self.step <= self._first_step:
            return None
        per_epoch = self.task.steps_per_epoch
        rest = self.config.epochs * per_epoch - self.epoch * per_epoch - self.step_in_epoch
        return rest * (time.monotonic() - self._began) / (self.step - self._first_step)

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
        epochs = self.time_budget.epochs(self.step, self.task.steps_per_epoch, self.device)
        if epochs is None:
            return
        epochs = self.processes.most(max(epochs, self.epoch + 1), self.device)
        log.info("%d epochs fit into the time that is left", epochs)
        self.config, self.time_budget, self.chosen_epochs = replace(self.config, epochs=epochs), None, True

    def validate(self) -> dict[str, float] | None:
        """Measure the weights that would ship, by the process that writes; keeps `best.pt`."""
        if not self.task.validates or self.run_log is None:
            self.processes.wait()
            return None
        with averaged_weights(self.task.net, self.ema):
            values = self.task.validate(self.config, self.epoch, self.amp)
            picture = self.task.validation_picture(self.config, self.epoch, self.amp)
        self.run_log.picture("valid_predictions", picture, self.step)
        self.run_log.valid(self.epoch, self.step, values)
        self.run_log.plot()
        if values[self.task.best_by] > self.best:
            self.best = values[self.task.best_by]
            checkpoints.save(self.out / "best.pt", self.state())
        self.processes.wait()
        return values

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
        return self.task.state() | {
            "model": self.task.net.state_dict(),
            "ema": None if self.ema is None else self.ema.state,
            "ema_updates": 0 if self.ema is None else self.ema.updates,
            "config": self.config.to_dict(),
            "epoch": self.epoch,
            "step_in_epoch": self.step_in_epoch,
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "fresh_optimizer": self.fresh_optimizer,
            "chosen_epochs": self.chosen_epochs,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
        }

    def resume(self, path: Path) -> None:
        """Continue a run exactly where `path` left it; from a slim checkpoint with a fresh optimizer.

        Other values of the config than the run began with count from now on, with a warning. Raises EdgeposeError for
        those that make it another net or another optimizer.
        """
        state = checkpoints.widen(checkpoints.load(path))
        changed = resuming.changed_values(self.config, state, path)
        with resuming.same_run(path, changed):
            self.task.net.load_state_dict(state["model"])
            self.task.load_state(state)
        if self.ema is not None and state["ema"] is not None:
            self.ema.load(state["ema"], int(state["ema_updates"]))
        self.step, self.best, self._seconds_before = state["step"], state["best"], state.get("seconds", 0.0)
        if "step_in_epoch" in state:
            self.epoch, self.step_in_epoch = state["epoch"], state["step_in_epoch"]
        else:  # a detector's, written when its runs were counted in steps
            self.epoch, self.step_in_epoch = divmod(self.step, self.task.steps_per_epoch)
        if state.get("chosen_epochs"):
            self.config = replace(self.config, epochs=state["config"]["epochs"])
            self.time_budget, self.chosen_epochs = None, True
        if "optimizer" in state:
            with resuming.same_run(path, changed):
                resuming.load_optimizer(self.optimizer, state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            torch.set_rng_state(state["rng"])
            self.fresh_optimizer = state.get("fresh_optimizer", 0)
        else:
            self.fresh_optimizer = self.step
        if self.run_log is not None:
            self.run_log.rewind(self.step)
        if changed:
            log.warning("%s goes on with other values: %s", path, resuming.words(changed))
        log.info("resumed %s in %s, step %d", path, self._place, self.step)
