"""What a trainer needs from the task that it trains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from edgepose_training.distributed import Processes
from edgepose_training.engine.training_cost import TrainingCost


class Task(Protocol):
    """What is trained: pose nets (engine/pose_task.py) or the detector (detector/task.py).

    Its constructor seeds torch with `config.seed` before it draws the first weights. Methods get the trainer's config,
    whose number of epochs may have been chosen since.
    """

    config: Any  # a TrainerConfig
    device: torch.device
    processes: Processes
    measure: str  # what `validate` measures, in words, for the log
    best_by: str  # the value of `validate` that chooses `best.pt`
    next_command: str  # what to do with `{best}`, the path of `best.pt`, once the run is done
    validates: bool  # whether this process has something to validate by
    starts_trained: bool  # whether the net has trained weights before the first step

    @property
    def net(self) -> nn.Module:
        """What ships: averaged, validated, exported."""

    @property
    def module(self) -> nn.Module:
        """The net and what learns beside it; `module(batch, decay)` → named loss terms, weighted."""

    @property
    def steps_per_epoch(self) -> int: ...

    def batches(self, config: Any, epoch: int, step: int) -> Iterable[Any]:
        """This process' batches of an epoch, from its `step` on; each has a method `to(device)`."""

    def decay(self, config: Any, epoch: int) -> float:
        """Factor on the loss terms of a teacher."""

    def validate(self, config: Any, epoch: int, amp: torch.dtype | None) -> dict[str, float]:
        """Measure `net` as it is, after so many epochs."""

    def batch_picture(self, batch: Any) -> np.ndarray:
        """Some samples of a batch with their labels, [H, W, 3] uint8 BGR."""

    def validation_picture(self, config: Any, epoch: int, amp: torch.dtype | None) -> np.ndarray:
        """What `net` answers on some samples of the validation, beside their labels, [H, W, 3] uint8 BGR."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of the task alone."""

    def load_state(self, state: dict[str, Any]) -> None:
        """The reverse, of a whole checkpoint."""

    def finish(self, cost: TrainingCost) -> None:
        """The last epoch has ended."""
