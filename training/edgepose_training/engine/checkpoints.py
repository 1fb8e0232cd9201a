"""Checkpoints: one dictionary of tensors and plain values, written atomically and read without running pickle code.

Keys: `model` (student), `ema` (its averaged weights or None), `config`, `skeleton`, `unsupervised_keypoints`,
`heatmap_cells`, `teacher` (the name of its file, or None), `epoch`, `step`, `seconds`, and for resuming `extras`
(auxiliary head, alignment), `ema_updates`, `optimizer`, `scaler`, `rng`, `best`, `fresh_optimizer`. Slim ones have
`model` and `ema` in one, as float16, and no `optimizer`, `scaler`, `rng`. A detector's has neither `skeleton`,
`unsupervised_keypoints` nor `extras`. One made of an exported file has its card's `score_knots`, if there are any: its
config does not know the labels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.config import RENAMED, Config
from edgepose_training.engine.heatmaps import FORMER_CELLS
from edgepose_training.engine.mmpose_checkpoints import read
from edgepose_training.models import build_pose_net


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that is no file, made from an exported model or one of mmpose, and what messages call it."""

    name: str
    state: dict[str, Any]

    def __str__(self) -> str:
        return self.name


Source = str | Path | Loaded


def content(source: Source) -> dict[str, Any]:
    """Everything in a file that torch wrote, this project's or not. Raises EdgeposeError."""
    return source.state if isinstance(source, Loaded) else read(source)


def is_ours(content: dict[str, Any]) -> bool:
    """Whether this is a checkpoint of this project."""
    return {"model", "config"} <= set(content)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write beside, flush, then rename: a crash leaves the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def slim(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint without the optimizer, in half precision and with the averaged weights only: a tenth of it.

    Enough to evaluate, to export, to distill from, and to go on (`Trainer.resume` warms a fresh optimizer up).
    """
    kept = {key: value for key, value in state.items() if key not in ("model", "ema", "optimizer", "scaler", "rng")}
    best = _half(state["ema"] or state["model"])
    # One copy under both names: torch stores a tensor once.
    return kept | {"model": best, "ema": best, "extras": {k: _half(v) for k, v in state.get("extras", {}).items()}}


def _half(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        k: half if v.dtype == torch.float32 and (half := v.half()).isfinite().all() else v for k, v in tensors.items()
    }


def widen(state: dict[str, Any]) -> dict[str, Any]:
    """Weights of a slim checkpoint in float32 again; others stay as they are."""
    for key in ("model", "ema"):
        if state[key] is not None:
            state[key] = {k: v.float() if v.dtype == torch.float16 else v for k, v in state[key].items()}
    return state


def share_backbone(student: nn.Module, teacher: nn.Module, path: Source | None) -> None:
    """Give the student the teacher's backbone, as stage 2 wants it."""
    try:
        student.get_submodule("backbone").load_state_dict(teacher.get_submodule("backbone").state_dict())
    except (RuntimeError, AttributeError) as error:
        raise EdgeposeError(f"{path}: stage 2 wants a checkpoint of the same net; its backbone is another") from error


def load(path: Source) -> dict[str, Any]:
    """Read a checkpoint, running no code in it. Raises EdgeposeError for a missing or foreign file."""
    state = content(path)
    if not is_ours(state):
        theirs = "convert a file of mmpose with training/convert.py" if "state_dict" in state else "it has no config"
        raise EdgeposeError(f"{path}: not a checkpoint of this project ({theirs})")
    # Nets of heat maps trained before have no such entry.
    return {"heatmap_cells": FORMER_CELLS} | {RENAMED.get(key, key): value for key, value in state.items()}


def build_net(config: Config, skeleton: Skeleton) -> nn.Module:
    """The net that a config names. Raises EdgeposeError where there is none such."""
    shape = (config.size, skeleton.num_keypoints, config.input_size, config.split_ratio)
    try:
        return build_pose_net(*shape, backbone=config.backbone, head=config.head)
    except ValueError as error:
        raise EdgeposeError(str(error)) from error


def load_net(path: Source) -> tuple[nn.Module, Config, Skeleton, dict[str, Any]]:
    """The net of a checkpoint with its best weights (averaged ones where there are any), in eval mode."""
    state = widen(load(path))
    if "skeleton" not in state:
        raise EdgeposeError(f"{path}: a detector's checkpoint; a pose net's is needed here")
    config = Config.from_dict(state["config"], origin=str(path))
    skeleton = Skeleton.from_dict(state["skeleton"])
    net = build_net(config, skeleton)
    net.load_state_dict(state["ema"] or state["model"])
    return net.eval(), config, skeleton, state
