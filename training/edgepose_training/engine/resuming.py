"""Whether a run can go on with the config at hand, and what has changed since it began."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from edgepose import EdgeposeError
from edgepose_training.config import TrainerConfig

log = logging.getLogger("distill")

# Values that change how fast and how often, not what is learned.
FREE = {
    "workers", "amp", "channels_last", "kernels", "compile", "on_device", "crop_kernel", "compile_render",
    "validate_every", "validate_people", "validate_images", "log_every", "save_minutes",
}  # fmt: skip
Changed = dict[str, tuple[Any, Any]]  # key → in the checkpoint, now


def changed_values(config: TrainerConfig, state: dict[str, Any], path: Path) -> Changed:
    """What the config says otherwise than the checkpoint's. Raises EdgeposeError for another optimizer."""
    written = type(config).todays_keys(state["config"], str(path))
    before, now = type(config).from_dict(written, str(path)).to_dict(), config.to_dict()
    keys = [key for key in now if key in written and key not in FREE and before[key] != now[key]]
    if state.get("chosen_epochs") and "epochs" in keys:  # the run chose them by its time
        keys.remove("epochs")
    changed = {key: (before[key], now[key]) for key in keys}
    if "optimizer" in changed and "optimizer" in state:
        optimizer = words({"optimizer": changed["optimizer"]})
        raise EdgeposeError(f"{path}: the run cannot go on with another optimizer ({optimizer})")
    return changed


@contextmanager
def same_run(path: Path, changed: Changed) -> Iterator[None]:
    """Around loading a run's state: what does not fit is one sentence."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError) as error:
        what = words(changed) if changed else str(error).splitlines()[-1].strip()
        raise EdgeposeError(
            f"{path}: the run trains another net ({what}); continue it with the values that it began with, or start "
            "a new one with another --output"
        ) from error


def check_teacher(state: dict[str, Any], name: str | None) -> None:
    """Warns where a run goes on with a teacher that it had not, or without the one that it had."""
    if "teacher" not in state or (state["teacher"] is None) == (name is None):
        return
    if name is None:
        log.warning("the run had a teacher so far, %s, and goes on without: give --teacher again", state["teacher"])
    else:
        log.warning("the run had no teacher so far, and goes on with %s", name)


def words(changed: Changed) -> str:
    """`lr 0.001 → 0.01, batch 32 → 64`."""
    return ", ".join(f"{key} {before} → {now}" for key, (before, now) in changed.items())


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """An optimizer's state; its weight decay stays the config's, as its rate does."""
    decays = [group["weight_decay"] for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, decay in zip(optimizer.param_groups, decays, strict=True):
        group["weight_decay"] = decay
