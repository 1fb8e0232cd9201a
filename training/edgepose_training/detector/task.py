"""The trainer's task for the person detector: learn from lists of boxes, and from a teacher's answer to each canvas."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgepose.detectors import letterbox
from edgepose.images import read_image
from edgepose_training.data.pictures import sheet, with_boxes
from edgepose_training.detector import validation
from edgepose_training.detector.batches import DetectorBatch, batches, normalized
from edgepose_training.detector.checkpoints import build_net
from edgepose_training.detector.config import DetectorConfig
from edgepose_training.detector.loss import detector_loss
from edgepose_training.detector.person_lists import AnnotatedImage
from edgepose_training.detector.samples import SampleBuilder
from edgepose_training.detector.teacher import RtmdetTeacher
from edgepose_training.distributed import SINGLE_PROCESS, Processes
from edgepose_training.engine import checkpoints, starting
from edgepose_training.engine.resuming import check_teacher
from edgepose_training.engine.training_cost import TrainingCost

log = logging.getLogger("detector")

PICTURED, COLUMNS = 12, 4  # images of a picture of a run
SHOWN = 0.3  # score of a box from which it is drawn
GREEN, RED, GRAY = (80, 220, 80), (60, 60, 240), (150, 150, 150)  # BGR


class DetectorTask:
    """Samples, net, loss and AP50. See `engine.task.Task`.

    `valid`: images to validate by; none: no validation. `teacher`: see `teacher.py`; it is no part of the checkpoint.
    """

    measure, best_by = "validation", "ap50"
    next_command = "python training/export_detector.py {best} -o detector.onnx"

    def __init__(
        self,
        config: DetectorConfig,
        builder: SampleBuilder,
        valid: Sequence[AnnotatedImage],
        device: torch.device,
        init: checkpoints.Source | None = None,
        processes: Processes = SINGLE_PROCESS,
        teacher: RtmdetTeacher | None = None,
    ) -> None:
        self.config, self.builder, self.device, self.processes = config, builder, device, processes
        chosen = np.random.default_rng(config.seed).permutation(len(valid))[: config.validate_images or None]
        self.valid = [valid[i] for i in sorted(chosen)]
        self.validates, self.starts_trained = bool(self.valid) and processes.is_main, init is not None
        processes.share(config.batch)  # refuses a batch that cannot be shared before anything is drawn
        torch.manual_seed(config.seed)
        self.net = build_net(config)
        if init is not None:
            log.info("started from %s; %s", init, starting.initialize(self.net, init))
        self._teacher_name = None if teacher is None else teacher.name
        self.module = DetectorStep(self.net, config, processes, teacher.to(device) if teacher else None)

    @property
    def steps_per_epoch(self) -> int:
        return self.config.epoch_steps

    def batches(self, config: DetectorConfig, epoch: int, step: int) -> Iterable[DetectorBatch]:
        first, end = epoch * config.epoch_steps + step, (epoch + 1) * config.epoch_steps
        return batches(self.builder, config, range(first, end), self.device, self.processes)

    def decay(self, _: DetectorConfig, __: int) -> float:
        return 1.0  # the teacher counts the same to the end

    def validate(self, config: DetectorConfig, _: int, amp: torch.dtype | None) -> dict[str, float]:
        return validation.box_precision(self.net, self.valid, config.input_size, self.device, amp)

    def batch_picture(self, batch: DetectorBatch) -> np.ndarray:
        images, people, real, ignored = (array[:PICTURED].cpu().numpy() for array in vars(batch).values())
        cells = []
        for image, boxes, mask, beside in zip(images, people, real, ignored, strict=True):
            view = with_boxes(with_boxes(image, beside, GRAY), boxes[mask], GREEN)
            cells.append((view, f"{mask.sum()} people"))
        return sheet(cells, COLUMNS)

    def validation_picture(self, config: DetectorConfig, _: int, amp: torch.dtype | None) -> np.ndarray:
        """The first images: people of the labels green, those found with a score of 0.3 red."""
        cells = []
        for image in self.valid[:PICTURED]:
            boxes, scores = validation.detect(self.net, image, config.input_size, self.device, amp)
            canvas, zoom = letterbox(read_image(image.path), (config.input_size, config.input_size))
            view = with_boxes(with_boxes(canvas, zoom * image.people, GREEN), zoom * boxes[scores >= SHOWN], RED)
            cells.append((view, f"{(scores >= SHOWN).sum()} found, {len(image.people)} labeled"))
        return sheet(cells, COLUMNS)

    def state(self) -> dict[str, Any]:
        return {"teacher": self._teacher_name}

    def load_state(self, state: dict[str, Any]) -> None:
        check_teacher(state, self._teacher_name)

    def finish(self, cost: TrainingCost) -> None:
        log.info("%d steps took %.0f s", cost.steps, cost.seconds)


class DetectorStep(nn.Module):
    """`forward(batch, decay)` → named loss terms, already weighted."""

    def __init__(
        self, net: nn.Module, config: DetectorConfig, processes: Processes, teacher: RtmdetTeacher | None = None
    ) -> None:
        super().__init__()
        self.net, self.config, self.processes = net, config, processes
        self._teacher = (teacher,)  # no submodule: nothing of it is trained, saved, or sent between processes

    def forward(self, batch: DetectorBatch, _: float) -> dict[str, Tensor]:
        cells = self.net(normalized(batch.images))
        teacher = self._teacher[0]
        answer = teacher(batch.images) if teacher is not None else None
        with torch.autocast(cells.device.type, enabled=False):  # overlaps to the sixth power want float32
            return detector_loss(cells, batch, self.config, self.processes.mean, answer)
