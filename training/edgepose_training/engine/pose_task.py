"""The trainer's task for pose nets: learn from labels and, if there is one, from a teacher."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgepose import EdgeposeError
from edgepose.codecs import SimCC
from edgepose.skeletons import Skeleton
from edgepose_training.config import Config
from edgepose_training.data.crop_cache import CropCache
from edgepose_training.data.feed import Feed, size_at
from edgepose_training.data.loaders import Batch, Crops
from edgepose_training.data.pictures import drawn, enlarged, sheet
from edgepose_training.distributed import SINGLE_PROCESS, Processes
from edgepose_training.engine import losses, validation
from edgepose_training.engine.builders import student_and_teacher
from edgepose_training.engine.checkpoints import Source
from edgepose_training.engine.distiller import build_distiller
from edgepose_training.engine.heatmaps import CELLS
from edgepose_training.engine.resuming import check_teacher
from edgepose_training.engine.trainer import Trainer
from edgepose_training.engine.training_cost import TrainingCost, compare_costs, read_cost

log = logging.getLogger("distill")

PICTURED, COLUMNS = 24, 8  # crops of a picture of a run


def pose_trainer(
    config: Config,
    train: CropCache,
    valid: CropCache | None,
    out: Path,
    device: torch.device,
    teacher: Source | None = None,
    init: Source | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> Trainer:
    """The training of a pose net in the folder `out`. Raises EdgeposeError where the parts do not fit."""
    return Trainer(PoseTask(config, train, valid, device, teacher, init, processes), out)


def check_mirroring(config: Config, skeleton: Skeleton) -> None:
    """Raises EdgeposeError where mirrored people would be taught left for right."""
    if not skeleton.unpaired_sides or not (config.flip > 0 or config.teacher_flip):
        return
    names = ", ".join(f"{skeleton.keypoints[a]} and {skeleton.keypoints[b]}" for a, b in skeleton.unpaired_sides[:2])
    pairs = [list(pair) for pair in skeleton.unpaired_sides]
    raise EdgeposeError(
        f"skeleton {skeleton.name}: its swap does not pair {names}, so mirrored people would teach left for right: "
        f"add swap = {pairs} to it, or train with --set flip=0"
    )


class PoseTask:
    """Crops, student, teacher and their distiller; mean OKS. See `engine.task.Task`."""

    measure, best_by = "mean OKS", "whole"
    next_command = "python training/evaluate.py {best} --data DATA, then python training/export.py {best} -o mine.onnx"

    def __init__(
        self,
        config: Config,
        train: CropCache,
        valid: CropCache | None,
        device: torch.device,
        teacher: Source | None = None,
        init: Source | None = None,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        self.config, self.device, self.processes = config, device, processes
        torch.manual_seed(config.seed)
        if config.truncation_prob > 0 and not config.teach_absence:
            raise EdgeposeError(
                f"truncation_prob = {config.truncation_prob:g} cuts people to teach what is absent: "
                "set teach_absence=true too, or truncation_prob=0"
            )
        self.skeleton = Skeleton.load(config.skeleton)
        check_mirroring(config, self.skeleton)
        if train.num_keypoints != self.skeleton.num_keypoints:
            raise EdgeposeError(
                f"the shards hold {train.num_keypoints} keypoints, but skeleton {self.skeleton.name} "
                f"has {self.skeleton.num_keypoints}"
            )
        self.codec = SimCC(config.input_size, config.split_ratio, config.sigma, config.beta)
        self.feed = Feed(config, train, self.skeleton, device, processes)
        config = self.config = self._with_its_batch(config)
        self.valid_feed: Feed | None = None
        if valid is not None and processes.is_main:
            self.valid_feed = Feed(config, valid, self.skeleton, device, SINGLE_PROCESS)
        self.validates, self.starts_trained = self.valid_feed is not None, init is not None
        # A point that one process' shards lack may be labeled in another's.
        found = torch.from_numpy((train.weights > 0).any(0)).float().to(device)
        labeled = (processes.mean(found) > 0).float().cpu()
        self.unsupervised_keypoints = [int(i) for i in torch.nonzero(labeled == 0).flatten()]
        self.net, teacher_net = student_and_teacher(config, self.skeleton, teacher, init)
        if teacher_net is not None:
            teacher_net.to(device)
        self.module = build_distiller(config, self.skeleton, self.net, teacher_net, labeled)
        self._teacher_name = None if teacher is None else Path(str(teacher)).name
        self._stage1_cost = read_cost(teacher) if teacher and config.stage == 2 else None

    def _with_its_batch(self, config: Config) -> Config:
        """The config with the batch that there are people for."""
        batch = self.feed.batch * self.processes.world
        if batch == config.batch:
            return config
        log.warning(
            "there are fewer people than a batch of %d: a step takes %d of them, an epoch has %d steps; "
            "lr %g was meant for the larger batch",
            config.batch, batch, self.feed.steps_per_epoch, config.lr,
        )  # fmt: skip
        return replace(config, batch=batch)

    @property
    def steps_per_epoch(self) -> int:
        return self.feed.steps_per_epoch

    def batches(self, config: Config, epoch: int, step: int) -> Iterable[Batch]:
        return self.feed.epoch(config, epoch, step)

    def decay(self, config: Config, epoch: int) -> float:
        return losses.decay(epoch, config.epochs) if config.decay else 1.0

    def validate(self, config: Config, epoch: int, amp: torch.dtype | None) -> dict[str, float]:
        """Mean OKS per part, at the input size of the epoch before."""
        assert self.valid_feed is not None
        size = self._validation_size(config, epoch)
        people, store = self.valid_feed.plain(size, config.validate_people), self.valid_feed.store
        return validation.mean_oks(self.net, people, store, size, self.codec, self.skeleton, self.device, amp)

    def batch_picture(self, batch: Batch) -> np.ndarray:
        """Every point that has a label in the image; points that are absent are not drawn."""
        cells = []
        for image, points, weights, inside in zip(
            *(a[:PICTURED].cpu().numpy() for a in vars(batch).values()), strict=True
        ):
            shown = inside & (weights > 0)
            caption = f"{shown.sum()} of {(weights > 0).sum()} labels inside"
            cells.append((drawn(*enlarged(image, points), shown, self.skeleton), caption))
        return sheet(cells, COLUMNS)

    def validation_picture(self, config: Config, epoch: int, amp: torch.dtype | None) -> np.ndarray:
        """The first people in pairs: on the left where the net finds the labeled points, on the right the labels."""
        assert self.valid_feed is not None
        size = self._validation_size(config, epoch)
        store = self.valid_feed.store
        first = list(range(min(PICTURED // 2, len(store))))
        batch = Crops(store, self.skeleton, size).__getitems__(first).to(self.device)
        points = validation.found_points(self.net, batch, size, self.codec, self.device, amp)
        labeled = (batch.inside & (batch.weights > 0)).cpu().numpy()
        rows = zip(batch.images.cpu().numpy(), points, batch.keypoints.cpu().numpy(), labeled, strict=True)
        cells = []
        for image, found, truth, shown in rows:
            cells += [(drawn(*enlarged(image, found), shown, self.skeleton), "net"),
                      (drawn(*enlarged(image, truth), shown, self.skeleton), f"{shown.sum()} labels")]  # fmt: skip
        return sheet(cells, COLUMNS)

    def _validation_size(self, config: Config, epoch: int) -> tuple[int, int]:
        """W, H of the inputs of the epoch before, as the net knows them."""
        return config.input_size if epoch == config.epochs else size_at(config, epoch - 1)

    def state(self) -> dict[str, Any]:
        return {
            "skeleton": self.skeleton.to_dict(),
            "unsupervised_keypoints": self.unsupervised_keypoints,
            "heatmap_cells": CELLS,
            "teacher": self._teacher_name,
            "extras": {name: module.state_dict() for name, module in self._extras().items()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        if self.config.head == "heatmap" and state["heatmap_cells"] != CELLS:
            log.warning("the maps of this run had the former convention of cells: it has to learn its labels anew")
        check_teacher(state, self._teacher_name)
        for name, module in self._extras().items():
            if name in state["extras"]:
                module.load_state_dict(state["extras"][name])

    def _extras(self) -> dict[str, nn.Module]:
        """What learns beside the student and is dropped at export."""
        pairs = (("aux", self.module.aux), ("align", self.module.align))
        return {name: module for name, module in pairs if module is not None}

    def finish(self, cost: TrainingCost) -> None:
        if self.config.stage == 2:
            log.info("%s", compare_costs(cost, self._stage1_cost))
