"""RTMPose and DWPose `.pth` checkpoints of mmpose, read without running code in them.

A `.pth` file is a pickle, which can run code. torch's `weights_only` reader runs none, but rejects the objects of
mmengine that these files hold. Here `Inert`, a class that ignores its arguments and does nothing, replaces them; every
other class is rejected.
"""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgepose import EdgeposeError

Weights = dict[str, Tensor]


class Inert:
    """What a file's objects become: nothing. No code of numpy, mmengine or the file is called."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        return super().__new__(cls)

    def __setstate__(self, _: Any) -> None:
        pass


# Everything beside tensors that mmengine's runner, its hooks and mmpose's data sets leave in a checkpoint.
# `getattr` is how a HistoryBuffer pickles its bound methods; numpy's are how arrays and scalars are rebuilt.
STAND_INS = (
    "builtins.getattr",
    "mmengine.config.config.Config",
    "mmengine.config.config.ConfigDict",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
)


def read(path: str | Path) -> dict[str, Any]:
    """The dictionary in a torch file, objects of other libraries as `Inert`. Raises EdgeposeError."""
    if Path(path).suffix == ".onnx":
        raise EdgeposeError(f"{path}: an exported model; training/convert.py makes it a checkpoint again")
    try:
        with torch.serialization.safe_globals([(Inert, name) for name in STAND_INS]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise EdgeposeError(f"{path}: cannot read the checkpoint ({error.strerror or error})") from error
    except pickle.UnpicklingError as error:
        if asked := re.search(r"GLOBAL (\S+)|whose module (\S+) is blocked", str(error)):
            name = asked[1] or asked[2]
            raise EdgeposeError(f"{path}: refused, it asks to run {name}, which no weights need") from error
        raise EdgeposeError(f"{path}: not a checkpoint (torch did not write it, or it is damaged)") from error
    except Exception as error:  # torch names neither the file nor what it expected, in many types and many words
        raise EdgeposeError(f"{path}: not a checkpoint (torch did not write it, or it is damaged)") from error
    if not isinstance(content, dict):
        raise EdgeposeError(f"{path}: not a checkpoint (it holds no dictionary)")
    return content


@dataclass(frozen=True)
class MMPoseCheckpoint:
    """A checkpoint of mmpose in its own key names, `backbone.…` and `head.…`."""

    weights: Weights  # the ones to use: averaged where the training averaged
    plain: Weights | None  # beside averaged ones, those of the last step
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def dataset(self) -> dict[str, Any]:
        """mmpose's description of the data set: `dataset_name`, `keypoint_id2name`, …; empty where there is none."""
        found = self.meta.get("dataset_meta")
        return found if isinstance(found, dict) else {}


def read_mmpose(path: str | Path, stage: int | None = None) -> MMPoseCheckpoint:
    """Weights of an mmpose checkpoint, DWPose's distillation stages included. Raises EdgeposeError.

    `stage`: of a DWPose checkpoint, where its shapes do not tell (see `pick_student`).
    """
    return checkpoint_of(read(path), str(path), stage)


def checkpoint_of(content: dict[str, Any], path: str, stage: int | None = None) -> MMPoseCheckpoint:
    """`read_mmpose` of what was read from a file, which may also be a bare state dict or one under `model`."""
    weights = _tensors(content.get("state_dict", content)) or _tensors(content.get("model"))
    if all(name.startswith("module.") for name in weights):  # a net saved inside its wrapper for several GPUs
        weights = _under("module.", weights)
    if not weights:
        raise EdgeposeError(f"{path}: no weights inside")
    # mmengine's EMA hook swaps the two on saving: `state_dict` holds the averages, `ema_state_dict` the rest.
    swapped = {
        name.removeprefix("module."): value
        for name, value in _tensors(content.get("ema_state_dict")).items()
        if name.startswith("module.")
    }
    meta = content.get("meta")
    return MMPoseCheckpoint(
        pick_student(weights, stage),
        pick_student(swapped, stage) if swapped else None,
        meta if isinstance(meta, dict) else {},
    )


def pick_student(weights: Weights, stage: int | None = None) -> Weights:
    """The student of a DWPose distillation; other weights as they are.

    After stage 1 it is `student.*`. In stage 2 the student's own backbone never runs: its net is the teacher's
    backbone under the student's head. The stages differ in that stage 2 distills a net from itself, so teacher and
    student have equal shapes there, as no published pair of stage 1 has.
    """
    student, teacher = _under("student.", weights), _under("teacher.", weights)
    if not student:
        return weights
    if stage is None:
        stage = 2 if _shapes(student) == _shapes(teacher) else 1
    if stage == 1:
        return student
    return _keep("backbone.", teacher) | _keep("head.", student)


def _tensors(value: Any) -> Weights:
    items = value.items() if isinstance(value, dict) else ()
    return {name: tensor for name, tensor in items if isinstance(tensor, Tensor)}


def _under(prefix: str, weights: Weights) -> Weights:
    return {name.removeprefix(prefix): value for name, value in _keep(prefix, weights).items()}


def _keep(prefix: str, weights: Weights) -> Weights:
    return {name: value for name, value in weights.items() if name.startswith(prefix)}


def _shapes(weights: Weights) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}
