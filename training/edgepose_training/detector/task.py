"""The trainer's task for the person detector: learn from lists of boxes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgepose_training.detector import validation
from edgepose_training.detector.batches import DetectorBatch, batches, normalized
from edgepose_training.detector.checkpoints import build_net
from edgepose_training.detector.config import DetectorConfig
from edgepose_training.detector.loss import detector_loss
from edgepose_training.detector.person_lists import AnnotatedImage
from edgepose_training.detector.samples import SampleBuilder
from edgepose_training.distributed import SINGLE_PROCESS, Processes
from edgepose_training.engine import checkpoints
from edgepose_training.engine.training_cost import TrainingCost

log = logging.getLogger("detector")


class DetectorTask:
    """Samples, net, loss and AP50. See `engine.task.Task`. `valid`: images to validate by; none: no validation."""

    measure, best_by = "validation", "ap50"
    next_command = "python training/export_detector.py {best} -o detector.onnx"

    def __init__(
        self,
        config: DetectorConfig,
        builder: SampleBuilder,
        valid: Sequence[AnnotatedImage],
        device: torch.device,
        init: Path | None = None,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        self.config, self.builder, self.device, self.processes = config, builder, device, processes
        chosen = np.random.default_rng(config.seed).permutation(len(valid))[: config.validate_images or None]
        self.valid = [valid[i] for i in sorted(chosen)]
        self.validates = bool(self.valid) and processes.is_main
        processes.share(config.batch)  # refuses a batch that cannot be shared before anything is drawn
        torch.manual_seed(config.seed)
        self.net = build_net(config)
        if init is not None:
            left = checkpoints.initialize(self.net, init)
            log.info("started from %s; left at random: %s", init, ", ".join(left) or "nothing")
        self.module = DetectorStep(self.net, config, processes)

    @property
    def steps_per_epoch(self) -> int:
        return self.config.epoch_steps

    def batches(self, config: DetectorConfig, epoch: int, step: int) -> Iterable[DetectorBatch]:
        first, end = epoch * config.epoch_steps + step, (epoch + 1) * config.epoch_steps
        return batches(self.builder, config, range(first, end), self.device, self.processes)

    def decay(self, _: DetectorConfig, __: int) -> float:
        return 1.0  # there is no teacher

    def validate(self, config: DetectorConfig, _: int, amp: torch.dtype | None) -> dict[str, float]:
        return validation.box_precision(self.net, self.valid, config.input_size, self.device, amp)

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        pass

    def finish(self, cost: TrainingCost) -> None:
        log.info("%d steps took %.0f s", cost.steps, cost.seconds)


class DetectorStep(nn.Module):
    """`forward(batch, decay)` → named loss terms, already weighted."""

    def __init__(self, net: nn.Module, config: DetectorConfig, processes: Processes) -> None:
        super().__init__()
        self.net, self.config, self.processes = net, config, processes

    def forward(self, batch: DetectorBatch, _: float) -> dict[str, Tensor]:
        cells = self.net(normalized(batch.images))
        with torch.autocast(cells.device.type, enabled=False):  # overlaps to the sixth power want float32
            return detector_loss(cells, batch, self.config, self.processes.mean)
