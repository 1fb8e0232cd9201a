"""The nets of a run: the student, from nothing or from a checkpoint, and the teacher that it learns from."""

from __future__ import annotations

import logging
from typing import cast

import torch
from torch import nn

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.config import Config
from edgepose_training.engine import checkpoints, starting
from edgepose_training.engine.heatmaps import CELLS
from edgepose_training.engine.label_scores import label_beta
from edgepose_training.models.vector_head import VectorHead

log = logging.getLogger("distill")


def student_and_teacher(
    config: Config, skeleton: Skeleton, teacher: checkpoints.Source | None, init: checkpoints.Source | None
) -> tuple[nn.Module, nn.Module | None]:
    """Both nets on the CPU. In stage 2 the student has the teacher's backbone. Raises EdgeposeError."""
    student = checkpoints.build_net(config, skeleton)
    teacher_net = load_teacher(teacher, config, skeleton) if teacher else None
    if config.stage == 2:
        if teacher_net is None:
            raise EdgeposeError("stage 2 distills a head from a checkpoint of the same net: give it as --teacher")
        if answer(config) == "heat maps":
            raise EdgeposeError(f"stage 2 distills a SimCC head, but head {config.head!r} answers with heat maps")
        checkpoints.share_backbone(student, teacher_net, teacher)
    elif init is not None:
        log.info("started from %s; %s", init, starting.initialize(student, init, skeleton.keypoints))
    if config.head_init_scale != 1:
        shrink_classifiers(student, config)
    return student, teacher_net


def load_teacher(path: checkpoints.Source, config: Config, skeleton: Skeleton) -> nn.Module:
    """A net that answers as the student of `config` does: the same points, input and bins, or heat maps as well."""
    net, theirs, their_skeleton, state = checkpoints.load_net(path)
    if skeleton.num_keypoints != their_skeleton.num_keypoints or config.input_size != theirs.input_size:
        raise EdgeposeError(
            f"{path}: the teacher has {their_skeleton.num_keypoints} keypoints at {theirs.input_size}, "
            f"the student {skeleton.num_keypoints} at {config.input_size}"
        )
    if skeleton.keypoints != their_skeleton.keypoints:
        raise EdgeposeError(
            f"{path}: the teacher has the points of {their_skeleton.name}, the student those of {skeleton.name}"
        )
    if answer(theirs) != answer(config):
        raise EdgeposeError(f"{path}: the teacher answers with {answer(theirs)}, the student with {answer(config)}")
    if theirs.head == "heatmap" and state["heatmap_cells"] != CELLS:
        raise EdgeposeError(f"{path}: its heat maps have the former convention of cells (0.1, before 2026-11-27)")
    if labels(theirs) != labels(config):
        raise EdgeposeError(f"{path}: the teacher learned {labels(theirs)}, the student learns {labels(config)}")
    if state.get("score_knots"):
        raise EdgeposeError(f"{path}: an exported file does not say of what kind its labels were; give its checkpoint")
    its, ours = label_beta(theirs), label_beta(config)
    if its != ours and isinstance(getattr(net, "head", None), VectorHead):
        log.info("%s answers for beta %g; its logits are scaled to the student's %g", path, its, ours)
        scale_logits(net, its / ours)
    return net


def labels(config: Config) -> str:
    """What a net's labels look like, in words; nets of different ones have nothing to teach each other."""
    if config.head == "heatmap":
        return f"heat maps of sigma {config.heatmap_sigma:g}"
    return {"onehot": "one-hot", "smooth": "smoothed one-hot"}.get(config.label_kind, config.label_kind) + " labels"


def scale_logits(net: nn.Module, factor: float) -> None:
    """Multiply what a SimCC net answers by `factor`: softmax(β·logits) stays what it is when β becomes β ÷ factor."""
    with torch.no_grad():
        for classifier in cast(VectorHead, net.head).classifiers:
            for parameter in classifier.parameters():
                parameter.mul_(factor)


def answer(config: Config) -> str:
    """What a net answers with, in words."""
    if config.head == "heatmap":
        return "heat maps"
    kind = "heat vectors" if config.head == "heatmap1d" else "SimCC vectors"
    return f"{kind} of {config.split_ratio:g} bins a pixel"


def shrink_classifiers(net: nn.Module, config: Config) -> None:
    """Scale the classifiers' first weights by `head_init_scale`."""
    classifiers = getattr(getattr(net, "head", None), "classifiers", None)
    if classifiers is None:
        raise EdgeposeError(f"head_init_scale is for SimCC heads: {config.head!r} has no classifiers")
    with torch.no_grad():
        for classifier in classifiers:
            classifier.weight *= config.head_init_scale
