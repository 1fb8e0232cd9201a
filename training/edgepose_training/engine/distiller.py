"""What one training step computes: the student's loss from labels, teacher and auxiliary head."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.config import Config
from edgepose_training.data.loaders import Batch, normalize
from edgepose_training.engine import kernels, losses
from edgepose_training.engine.absence import flat_where_empty, kept_weight, shown_points
from edgepose_training.engine.heatmap_distiller import HeatmapDistiller
from edgepose_training.engine.label_scores import label_beta
from edgepose_training.models import HeatmapAux, PoseNet
from edgepose_training.models.cspnext import CSPNeXt


def build_distiller(
    config: Config, skeleton: Skeleton, student: nn.Module, teacher: nn.Module | None, trained: Tensor
) -> Distiller | HeatmapDistiller:
    """The distiller for what the net answers with, SimCC vectors or heat maps."""
    if config.head != "heatmap":  # all nets but the hourglass, whose head is "heatmap", are PoseNets
        return Distiller(config, skeleton, cast(PoseNet, student), cast("PoseNet | None", teacher), trained)
    if config.frozen_stages >= 0:
        raise EdgeposeError("frozen_stages is for nets that answer with SimCC vectors, not with heat maps")
    return HeatmapDistiller(config, skeleton, student, teacher, trained)


def frozen_modules(config: Config, student: PoseNet) -> tuple[nn.Module, ...]:
    """What of the student does not learn: in stage 2 the backbone, else its first stages if the config says so."""
    if config.stage == 2:
        return (student.backbone,)
    if config.frozen_stages < 0:
        return ()
    if not isinstance(student.backbone, CSPNeXt):
        raise EdgeposeError(f"frozen_stages is for the backbone cspnext, got {config.backbone!r}")
    if config.frozen_stages > 4:
        raise EdgeposeError(f"frozen_stages expected -1 to 4, got {config.frozen_stages}")
    return tuple(student.backbone.first_stages(config.frozen_stages))


class Distiller(nn.Module):
    """Student with everything that helps it to learn. `forward(batch, decay)` → named loss terms, already weighted.

    Stage 1 (DWPose §3.2): labels + r(t)·α·features + r(t)·β·logits; without a teacher the first term alone.
    Stage 2 (§3.3): the student is the teacher's frozen backbone and a fresh head; logits only; the backbone runs
    once a step. The teacher is always in eval mode and without gradient.
    """

    swap: Tensor
    part_weight: Tensor
    trained: Tensor

    def __init__(
        self, config: Config, skeleton: Skeleton, student: PoseNet, teacher: PoseNet | None, trained: Tensor
    ) -> None:
        super().__init__()
        self.config, self.student = config, student
        self.ops = kernels.choose(config.kernels)
        channels = student.backbone.channels
        # Stage 2 leaves the backbone as it is, so nothing could learn from it there.
        wants_aux = config.aux_heatmap > 0 and config.stage == 1
        self.aux = HeatmapAux(channels, skeleton.num_keypoints) if wants_aux else None
        self.align: nn.Module | None = None
        # Kept out of the module tree: no parameters to optimize, no state to save, never in train mode.
        self._teacher = (teacher,) if teacher is None else (teacher.eval().requires_grad_(False),)
        if teacher is not None and config.stage == 1:
            wanted = teacher.backbone.channels[-1]
            self.align = nn.Identity() if wanted == channels[-1] else nn.Conv2d(channels[-1], wanted, 1)
        self._frozen = frozen_modules(config, student)
        for module in self._frozen:
            module.requires_grad_(False)
        part_weight = torch.ones(skeleton.num_keypoints)
        for part, factor in config.part_weights.items():
            if part not in skeleton.parts:
                raise EdgeposeError(f"part_weights expected parts of {skeleton.name}, got {part!r}")
            start, stop = skeleton.parts[part]
            part_weight[start:stop] = factor
        if config.teacher_flip and config.split_ratio % 1:
            raise EdgeposeError(f"teacher_flip wants a whole number of bins a pixel, got {config.split_ratio:g}")
        self.register_buffer("swap", torch.tensor(skeleton.swap.tolist()), persistent=False)
        self.register_buffer("part_weight", part_weight * trained, persistent=False)
        self.register_buffer("trained", trained, persistent=False)

    def train(self, mode: bool = True) -> Distiller:
        super().train(mode)
        for module in self._frozen:  # frozen means its batch statistics, too
            module.eval()
        return self

    def forward(self, batch: Batch, decay: float) -> dict[str, Tensor]:
        images = normalize(batch.images)
        if self.config.stage == 2:
            return self._head_only(images)
        maps = self.student.backbone(images)
        logits = self.student.head(maps[-1])
        terms = {"label": self._label_term(logits, batch)}
        if self.aux is not None:
            weight = batch.weights * batch.inside * self.part_weight
            terms["aux"] = self.config.aux_heatmap * losses.heatmap_loss(
                self.ops, self.aux(maps), batch.keypoints, weight, (images.shape[3], images.shape[2])
            )
        if self._teacher[0] is not None and decay > 0:
            terms |= self._teacher_terms(images, maps[-1], logits, decay)
        return terms

    def _label_term(self, logits: tuple[Tensor, Tensor], batch: Batch) -> Tensor:
        # On inputs of half the size the bins stay those of the full one: p_full = 2 p_half.
        scale = self.config.input_size[0] / batch.images.shape[2]
        cfg, ops = self.config, self.ops
        shown, weight = shown_points(cfg, batch)
        target_x, target_y, target_weight = ops.simcc_encode(
            batch.keypoints * scale, shown, input_size=cfg.input_size, split_ratio=cfg.split_ratio,
            sigma=cfg.sigma, kind=cfg.label_kind, center=cfg.label_center, normalize=cfg.label_normalize,
            smoothing=cfg.label_smoothing,
        )  # fmt: skip
        target = target_x, target_y
        if cfg.teach_absence and cfg.label_loss in ("simcc", "simcc_norm"):
            target = flat_where_empty(target_x), flat_where_empty(target_y)
        weight = kept_weight(cfg, weight, target_weight) * self.part_weight
        match cfg.label_loss:
            case "wholebody":
                return losses.wholebody_loss(ops, logits, target, weight, cfg.beta)
            case "rtmpose":
                # A sum over the people here, who are one process' share of the batch: see config.loss_batch.
                people = (cfg.loss_batch or cfg.batch) / len(weight)
                return people * losses.rtmpose_loss(ops, logits, target, weight, cfg.beta)
            case "simcc":
                return losses.simcc_loss(ops, logits, target, weight)
            case "simcc_norm":
                return losses.simcc_norm_loss(ops, logits, target, weight)
            case "heatmap1d":
                return losses.heatmap1d_loss(logits, target, weight)
        raise EdgeposeError(
            f"label_loss expected wholebody, rtmpose, simcc, simcc_norm or heatmap1d, got {cfg.label_loss!r}"
        )

    def _teacher_terms(
        self, images: Tensor, features: Tensor, logits: tuple[Tensor, Tensor], decay: float
    ) -> dict[str, Tensor]:
        teacher = self._teacher[0]
        assert teacher is not None
        assert self.align is not None
        with torch.no_grad():
            target = teacher.backbone(images)[-1]
            answer = self._answer(teacher, images, target)
        cfg = self.config
        return {
            "feature": decay * cfg.alpha * losses.dwpose_feature_loss(self.align(features), target),
            "logit": decay
            * cfg.beta_logit
            * losses.dwpose_logit_loss(self.ops, logits, answer, label_beta(cfg), self.trained),
        }

    def _head_only(self, images: Tensor) -> dict[str, Tensor]:
        teacher = self._teacher[0]
        assert teacher is not None
        with torch.no_grad():
            features = self.student.backbone(images)[-1]
            answer = self._answer(teacher, images, features)
        logits = self.student.head(features)
        loss = losses.dwpose_logit_loss(self.ops, logits, answer, label_beta(self.config), self.trained)
        return {"logit": self.config.beta_logit * loss}

    def _answer(self, teacher: PoseNet, images: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's logits from its features of the images; with `teacher_flip` the mean with the mirrored pass."""
        answer: tuple[Tensor, Tensor] = teacher.head(features)
        if not self.config.teacher_flip:
            return answer
        mirrored = teacher.head(teacher.backbone(images.flip(3))[-1])
        return losses.mirrored_mean(answer, mirrored, self.swap, round(self.config.split_ratio))
