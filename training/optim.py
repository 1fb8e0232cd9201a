"""Optimiser, learning-rate schedule and averaged weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgepose_training.config import Config


def build_optimizer(module: nn.Module, config: Config) -> torch.optim.Optimizer:
    """Weight decay on weight matrices and kernels only: norms, biases, scales and offsets are left out."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    match config.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, lr=config.lr, fused=True)  # one kernel, on the CPU too
        case "adam":
            return torch.optim.Adam(groups, lr=config.lr, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=config.lr)
    raise ValueError(f"optimizer expected adamw, adam or rmsprop, got {config.optimizer!r}")


def lr_factor(step: int, steps: int, config: Config) -> float:
    """Linear warm-up, flat, then a cosine to `lr_floor` (RTMPose §3.2, flat-cosine). In units of `lr`."""
    warm = min(1.0, 1e-5 + (step + 1) / max(config.warmup, 1))
    start = config.flat * steps
    if step < start:
        return warm
    progress = (step - start) / max(steps - start, 1)
    return min(warm, config.lr_floor + (1 - config.lr_floor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


class Ema:
    """Exponential moving average of a module's parameters and buffers (RTMPose: momentum 0.0002)."""

    def __init__(self, module: nn.Module, momentum: float) -> None:
        self.momentum = momentum
        self.state = {name: value.detach().clone() for name, value in module.state_dict().items()}
        self.updates = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """The first steps average over what there is, so that the random start is soon forgotten."""
        self.updates += 1
        momentum = max(self.momentum, 1 / (self.updates / 4 + 1))
        ours, theirs = [], []
        for name, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                ours.append(self.state[name])
                theirs.append(value.detach())
            else:
                self.state[name].copy_(value)
        torch._foreach_lerp_(ours, theirs, momentum)

    def state_dict(self) -> dict[str, Tensor | int]:
        return {"updates": self.updates, **self.state}

    def load_state_dict(self, state: dict) -> None:
        self.updates = int(state["updates"])
        for name, value in self.state.items():
            value.copy_(state[name])
