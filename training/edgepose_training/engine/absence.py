"""Labeled points that are not in the input: left out, as published, or taught as absent."""

from __future__ import annotations

import torch
from torch import Tensor

from edgepose_training.config import Config
from edgepose_training.data.loaders import Batch


def shown_points(config: Config, batch: Batch) -> tuple[Tensor, Tensor]:
    """Which points get a label, as the encoders' `visible` [N, K], and what each counts [N, K].

    `teach_absence`: a labeled point outside of the image has no label but its weight: its target is flat.
    """
    weight = batch.weights if config.teacher_scores else (batch.weights > 0).float()
    return batch.inside.float() if config.teach_absence else (weight > 0).float(), weight


def kept_weight(config: Config, weight: Tensor, target_weight: Tensor) -> Tensor:
    """The weights [N, K] without the points that the encoder's `target_weight` [N, K] says are out of range."""
    return weight if config.teach_absence else weight * target_weight


def flat_where_empty(target: Tensor) -> Tensor:
    """Rows [N, K, B] of labels that SimCC's losses take as they are: where a row is zero, even over its bins.

    Under RTMPose's softmax a row of zeros is flat by itself, and so is a heat vector.
    """
    return torch.where((target > 0).any(-1, keepdim=True), target, 1 / target.shape[-1])
