"""What the values of a config may be, with their units; `config.Record.from_dict` checks them, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; of a tuple or a table each one."""

    low: float
    high: float = inf
    unit: str = ""
    above: bool = False  # `low` itself is out
    rising: bool = False  # a pair, the first not above the second

    def __contains__(self, value: Any) -> bool:
        values = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else (value,)
        inside = all(isfinite(v) and self.low <= v <= self.high and not (self.above and v == self.low) for v in values)
        return inside and not (self.rising and list(values) != sorted(values))

    def __str__(self) -> str:
        words = f"more than {self.low:g}" if self.above else f"at least {self.low:g}"
        if self.high < inf:
            words = f"{words} and at most {self.high:g}" if self.above else f"{self.low:g} to {self.high:g}"
        if self.rising:
            words += ", the smaller first"
        return f"{words} ({self.unit})" if self.unit else words


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    def __contains__(self, value: Any) -> bool:
        return value in self.words

    def __str__(self) -> str:
        return f"{', '.join(self.words[:-1])} or {self.words[-1]}"


Ranges = Mapping[str, Range | Choice]
SHARE = Range(0, 1)

TRAINER: Ranges = {
    "batch": Range(1, unit="samples a step"),
    "epochs": Range(1, unit="epochs"),
    "optimizer": Choice(("adamw", "adam", "rmsprop")),
    "lr": Range(0, 10, "learning rate", above=True),
    "weight_decay": SHARE,
    "warmup": Range(0, unit="steps"),
    "lr_floor": Range(0, 1, "share of lr"),
    "flat": Range(0, 1, "share of the steps"),
    "lr_milestones": Range(0, unit="epochs"),
    "clip": Range(0, unit="gradient norm; 0: off"),
    "ema": Range(0, 1, "momentum; 0: off"),
    "seed": Range(0, 2**63 - 1),
    "workers": Range(0, unit="loader processes"),
    "amp": Choice(("auto", "bf16", "fp16", "off")),
    "validate_every": Range(1, unit="epochs"),
    "log_every": Range(1, unit="steps"),
    "save_minutes": Range(0, unit="minutes; 0: after every epoch"),
}

POSE: Ranges = {
    **TRAINER,
    "input_size": Range(32, 4096, "px: width, height"),
    "split_ratio": Range(0, 64, "bins a pixel", above=True),
    "sigma": Range(0, unit="bins", above=True),
    "beta": Range(0, unit="multiplier of the logits", above=True),
    "frozen_stages": Range(-1, 4, "stages; -1: none"),
    "head_init_scale": Range(0, unit="factor on the first weights", above=True),
    "label_loss": Choice(("wholebody", "rtmpose", "simcc", "simcc_norm", "heatmap1d")),
    "loss_batch": Range(0, unit="people; 0: the whole batch"),
    "label_kind": Choice(("gaussian", "laplace", "onehot", "smooth")),
    "label_center": Choice(("round", "exact")),
    "label_smoothing": SHARE,
    "heatmap_sigma": Range(0, unit="cells", above=True),
    "part_weights": Range(0, unit="factor on a part's loss"),
    "aux_heatmap": Range(0, unit="weight of a loss"),
    "stage": Range(1, 2, "of DWPose"),
    "alpha": Range(0, unit="weight of a loss"),
    "beta_logit": Range(0, unit="weight of a loss"),
    "fpd_alpha": Range(0, 1, "share of the teacher's loss"),
    "truncation_prob": SHARE,
    "flip": SHARE,
    "half_body": SHARE,
    "scale": Range(0, unit="factors on the box", above=True, rising=True),
    "rotation": Range(0, 180, "degrees"),
    "shift": Range(0, 1, "share of the box"),
    "erase": SHARE,
    "color": Range(0, 2, "strength; 1: RTMPose's"),
    "weak_augmentation_start": Range(0, 1, "share of the epochs"),
    "weak_augmentation_end": Range(0, 1, "share of the epochs"),
    "half_size_epochs": Range(0, unit="epochs"),
    "validate_people": Range(0, unit="people; 0: all"),
}
