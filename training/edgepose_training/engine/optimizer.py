"""Optimizer, its precision, learning-rate schedule and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from edgepose import EdgeposeError
from edgepose_training.config import TrainerConfig


def build_optimizer(module: nn.Module, config: TrainerConfig) -> torch.optim.Optimizer:
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
    raise EdgeposeError(f"optimizer expected adamw, adam or rmsprop, got {config.optimizer!r}")


def amp_dtype(config: TrainerConfig, device: torch.device) -> torch.dtype | None:
    """The autocast type: bf16 where the device computes in it, else none."""
    if config.amp == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else None
    types = {"bf16": torch.bfloat16, "fp16": torch.float16, "off": None}
    if config.amp not in types:
        raise EdgeposeError(f"amp expected auto, bf16, fp16 or off, got {config.amp!r}")
    return types[config.amp]


def lr_factor(position: float, steps: int, config: TrainerConfig, warm: int | None = None) -> float:
    """The learning rate in units of `lr` at `position` of all `steps`: linear warm-up, then one of two schedules.

    Flat, then a cosine to `lr_floor` (RTMPose §3.2, flat-cosine); or tenths after the epochs of `lr_milestones`.
    `warm`: steps since the optimizer started without a memory, where that was not at position 0.
    """
    warmth = min(1.0, 1e-5 + ((position if warm is None else warm) + 1) / max(config.warmup, 1))
    if any(config.lr_milestones):
        epoch = position * config.epochs / max(steps, 1)
        return warmth * 0.1 ** sum(epoch >= drop for drop in config.lr_milestones if drop)
    start = config.flat * steps
    if position < start:
        return warmth
    progress = min((position - start) / max(steps - start, 1), 1.0)
    return min(warmth, config.lr_floor + (1 - config.lr_floor) * 0.5 * (1 + math.cos(math.pi * progress)))


class Ema:
    """Exponential moving average of a module's parameters and buffers (RTMPose: momentum 0.0002)."""

    def __init__(self, module: nn.Module, momentum: float) -> None:
        self.momentum = momentum
        # The module's own tensors, listed once: training changes them in place.
        self._live = {name: value.detach() for name, value in module.state_dict().items()}
        self.state = {name: value.clone() for name, value in self._live.items()}
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """The first steps average over what there is, so that the random start is soon forgotten."""
        self.updates += 1
        momentum = max(self.momentum, 1 / (self.updates / 4 + 1))
        floating = [name for name, value in self.state.items() if value.dtype.is_floating_point]
        torch._foreach_lerp_([self.state[n] for n in floating], [self._live[n] for n in floating], momentum)
        for name in self.state.keys() - set(floating):
            self.state[name].copy_(self._live[name])

    def load(self, state: dict[str, Tensor], updates: int) -> None:
        self.updates = updates
        for name, value in self.state.items():
            value.copy_(state[name])


@contextmanager
def averaged_weights(net: nn.Module, ema: Ema | None) -> Iterator[None]:
    """The averages, if there are any, in the net; afterwards its own weights again."""
    current = {name: value.clone() for name, value in net.state_dict().items()}
    if ema is not None:
        net.load_state_dict(ema.state)
    try:
        yield
    finally:
        net.load_state_dict(current)
