"""One training step of a net of heat maps: labels, and a teacher's maps where there is one (FPD)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgepose.skeletons import Skeleton
from edgepose_training.config import Config
from edgepose_training.data.loaders import Batch, normalize
from edgepose_training.engine import kernels, losses
from edgepose_training.engine.absence import kept_weight, shown_points
from edgepose_training.models.hourglass import HourglassNet


class HeatmapDistiller(nn.Module):
    """Student and teacher of `losses.fpd_loss`; the same face as `distiller.Distiller`.

    All stacks of an hourglass learn from the last of the teacher's, which is in eval mode and without gradient.
    """

    aux: None = None
    align: None = None
    trained: Tensor

    def __init__(
        self, config: Config, _: Skeleton, student: nn.Module, teacher: nn.Module | None, trained: Tensor
    ) -> None:
        super().__init__()
        self.config, self.student = config, student
        self.ops = kernels.choose(config.kernels)
        self._teacher = (teacher,) if teacher is None else (teacher.eval().requires_grad_(False),)
        self.register_buffer("trained", trained, persistent=False)

    def forward(self, batch: Batch, _: float) -> dict[str, Tensor]:
        images = normalize(batch.images)
        stacks = self.student.stacks(images) if isinstance(self.student, HourglassNet) else [self.student(images)]
        (rows, columns), (height, width) = stacks[-1].shape[-2:], images.shape[-2:]
        shown, weight = shown_points(self.config, batch)
        label, target_weight = self.ops.heatmap_encode(
            batch.keypoints, shown, input_size=(width, height), heatmap_size=(columns, rows),
            sigma=self.config.heatmap_sigma, center=self.config.label_center,
        )  # fmt: skip
        weight = kept_weight(self.config, weight, target_weight)
        answer = None
        if self._teacher[0] is not None:
            with torch.no_grad():
                answer = self._teacher[0](images).float()
        return losses.fpd_loss(self.ops, stacks, label, answer, weight, self.config.fpd_alpha, self.trained)
