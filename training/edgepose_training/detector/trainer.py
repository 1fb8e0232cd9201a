"""One training of the detector: what is fixed (config, data, device), what moves (weights, averages), its files."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel

from edgepose.boxes import nms
from edgepose.detectors import decode_cells, letterbox
from edgepose_training.detector.batches import DetectorBatch, batches, normalized
from edgepose_training.detector.config import DetectorConfig
from edgepose_training.detector.loss import detector_loss
from edgepose_training.detector.net import DetectorNet
from edgepose_training.detector.person_lists import AnnotatedImage
from edgepose_training.detector.samples import SampleBuilder
from edgepose_training.engine import checkpoints
from edgepose_training.engine.optimizer import build_optimizer
from edgepose_training.engine.run_log import RunLog
from edgepose_training.engine.trainer import Stopped, amp_dtype
from edgepose_training.metrics.box_precision import BoxTruth, average_precision, match_boxes, recall

log = logging.getLogger("detector")

LARGE = 0.15  # of the image's height: people that the bar on AP50 counts
CANDIDATES = 100  # boxes an image


def build_net(config: DetectorConfig) -> DetectorNet:
    return DetectorNet(config.channels, config.blocks, config.neck)


def lr_factor(step: int, config: DetectorConfig) -> float:
    """Linear warm-up, flat, then a cosine to `lr_floor`. In units of `lr`."""
    warm = min(1.0, (step + 1) / max(config.warmup, 1))
    progress = max(step / config.steps - config.flat, 0) / max(1 - config.flat, 1e-6)
    return min(warm, config.lr_floor + (1 - config.lr_floor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


def load_net(path: str | Path) -> tuple[DetectorNet, DetectorConfig, dict]:
    """The net of a checkpoint with its averaged weights, in eval mode. Raises EdgeposeError for a foreign file."""
    state = checkpoints.load(path)
    config = DetectorConfig.from_dict(state["config"], origin=str(path))
    net = build_net(config)
    net.load_state_dict(state["ema"])
    return net.eval(), config, state


class DetectorRun:
    """A run in the folder `out`. `valid` are the validation images, none: no validation."""

    def __init__(
        self,
        config: DetectorConfig,
        builder: SampleBuilder,
        valid: Sequence[AnnotatedImage],
        out: Path,
        device: torch.device,
    ) -> None:
        self.config, self.builder, self.out, self.device = config, builder, out, device
        chosen = np.random.default_rng(config.seed).permutation(len(valid))[: config.validate_pictures or None]
        self.valid = [valid[i] for i in sorted(chosen)]
        torch.manual_seed(config.seed)
        self.amp = amp_dtype(config, device)
        self.net = build_net(config).to(device)
        if config.channels_last:
            self.net.to(memory_format=torch.channels_last)
        self.optimizer = build_optimizer(self.net, config)
        self.averaged = AveragedModel(self.net, multi_avg_fn=self._average, use_buffers=True)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp is torch.float16)
        self.step, self.best = 0, -1.0
        self.stop_at: float | None = None
        self.run_log = RunLog(out, "validation")

    def _average(self, averaged: list[torch.Tensor], current: list[torch.Tensor], updates: torch.Tensor | int) -> None:
        """The first steps average over what there is, so that the random start is soon forgotten."""
        if not averaged[0].is_floating_point():  # the norms' counters of batches
            torch._foreach_copy_(averaged, current)
            return
        torch._foreach_lerp_(averaged, current, max(self.config.ema, 1 / (float(updates) / 4 + 1)))

    @property
    def epoch(self) -> int:
        return self.step * self.config.batch // self.config.epoch

    def fit(self) -> None:
        """Train from where the run stands to its last step."""
        cfg = self.config
        self.net.train()
        started, waited, seen, sums = time.perf_counter(), 0.0, 0, {}
        before = started
        for step, batch in batches(self.builder, cfg, self.step, self.device):
            waited += time.perf_counter() - before
            for name, value in self.train_step(batch.to(self.device)).items():
                sums[name] = sums.get(name, 0.0) + value
            self.step, seen = step + 1, seen + 1
            if self.step % cfg.log_every == 0:
                elapsed = time.perf_counter() - started
                terms = {name: float(value) / seen for name, value in sums.items()}
                lr = self.optimizer.param_groups[0]["lr"]
                speed = seen * cfg.batch / elapsed
                self.run_log.train(self.epoch, self.step, terms, lr=lr, images_per_s=speed, waiting=waited / elapsed)
                started, waited, seen, sums = time.perf_counter(), 0.0, 0, {}
            if self.step % cfg.validate_every == 0 or self.step == cfg.steps:
                self.validate()
                self.save("last")
                started = time.perf_counter()
            if self.stop_at is not None and time.monotonic() > self.stop_at:
                self.save("last")
                raise Stopped
            before = time.perf_counter()
        self.run_log.plot()

    def train_step(self, batch: DetectorBatch) -> dict[str, torch.Tensor]:
        cfg = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = cfg.lr * lr_factor(self.step, cfg)
        with torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
            cells = self.net(normalized(batch.images))
        terms = detector_loss(cells, batch, cfg)  # in float32: overlaps to the sixth power
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(sum(terms.values())).backward()
        if cfg.clip > 0:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), cfg.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.averaged.update_parameters(self.net)
        return {name: value.detach() for name, value in terms.items()}

    def validate(self) -> dict[str, float]:
        """AP50 of large people and their recall, by the averaged weights; keeps `best.pt`."""
        if not self.valid:
            return {}
        self.averaged.eval()
        matches = [self._match(picture) for picture in self.valid]
        values = {"ap50": average_precision(matches), "recall@.3": recall(matches, 0.3)}
        self.run_log.valid(self.epoch, self.step, values)
        if values["ap50"] > self.best:
            self.best = values["ap50"]
            self.save("best")
        return values

    def _match(self, picture: AnnotatedImage):
        side = self.config.input_size
        image = cv2.imread(str(picture.path))
        longest = max(image.shape[:2])
        size = tuple(32 * max(round(length * side / longest / 32), 1) for length in image.shape[1::-1])
        canvas, zoom = letterbox(image, size)
        batch = torch.from_numpy(canvas)[None].to(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
            cells = self.averaged(normalized(batch))
        boxes, scores = decode_cells(cells.float().cpu().numpy(), canvas.shape[:2])
        likely = np.argsort(-scores[0])[:CANDIDATES]
        boxes, scores = boxes[0, likely] / zoom, scores[0, likely]
        kept = nms(boxes, scores, 0.5)
        return match_boxes(boxes[kept], scores[kept], large_people(picture))

    # --- files

    def save(self, name: str) -> None:
        checkpoints.save(
            self.out / f"{name}.pt",
            {
                "model": self.net.state_dict(),
                "ema": self.averaged.module.state_dict(),
                "config": self.config.to_dict(),
                "step": self.step,
                "epoch": self.epoch,
                "best": self.best,
                "ema_updates": self.averaged.n_averaged,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "rng": torch.get_rng_state(),
            },
        )

    def resume(self, path: Path) -> None:
        """Continue a run exactly where `path` left it."""
        state = checkpoints.load(path)
        self.net.load_state_dict(state["model"])
        self.averaged.module.load_state_dict(state["ema"])
        self.averaged.n_averaged.copy_(state["ema_updates"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"])
        self.step, self.best = state["step"], state["best"]
        log.info("resumed %s at step %d", path, self.step)


def large_people(picture: AnnotatedImage, share: float = LARGE) -> BoxTruth:
    """An image's people of at least that share of its height; the others are ignored."""
    smallest = share * picture.size[1]
    large = picture.people[:, 3] - picture.people[:, 1] >= smallest
    return BoxTruth(picture.people[large], np.concatenate([picture.people[~large], picture.ignored]), smallest)
