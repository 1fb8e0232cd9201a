"""Time and steps of a stage, so that stage 2 can report its cost relative to stage 1 (DWPose: a fifth of the time)."""

from __future__ import annotations

from typing import NamedTuple

from edgepose_training.engine import checkpoints


class TrainingCost(NamedTuple):
    seconds: float  # training and validating
    steps: int


def read_cost(path: checkpoints.Source) -> TrainingCost | None:
    """What the training of a checkpoint took; None for weights that came from elsewhere."""
    state = checkpoints.load(path)
    seconds, steps = float(state.get("seconds", 0.0)), int(state.get("step", 0))
    return TrainingCost(seconds, steps) if seconds > 0 and steps > 0 else None


def compare_costs(second: TrainingCost, first: TrainingCost | None) -> str:
    """A sentence on the time of stage 2 relative to stage 1."""
    took = f"stage 2 took {second.seconds:.0f} s for {second.steps} steps"
    if first is None or second.seconds <= 0:
        return f"{took}; what the training of its teacher took is not known"
    faster = (second.steps / second.seconds) / (first.steps / first.seconds)
    return f"{took}, {100 * second.seconds / first.seconds:.0f} % of stage 1's time at {faster:.1f} times its pace"
