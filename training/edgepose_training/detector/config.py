"""Every knob of a detector's training, in a frozen record; a TOML file holds only what differs from it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from edgepose_training.config import TrainerConfig


@dataclass(frozen=True)
class DetectorConfig(TrainerConfig):
    # --- network
    channels: tuple[int, int, int, int, int] = (16, 32, 64, 128, 256)  # of the stem and the stages
    blocks: tuple[int, int, int, int] = (1, 2, 2, 1)  # of the stages
    neck: int = 64  # channels
    input_size: int = 320  # px, the canvas' long side when the net is used and validated; a multiple of 32

    # --- assignment and losses (TOOD, GFL; see loss.py)
    top: int = 10  # cells per person
    alpha: float = 0.5  # exponent of the score in the alignment,
    beta: float = 6.0  # and of the overlap
    focus: float = 2.0  # β of the quality focal loss
    box_weight: float = 2.0  # of the GIoU loss against the classification

    # --- data
    first_sides: tuple[int, int] = (192, 256)  # px, range of the long side at first, where a step is cheap,
    last_sides: tuple[int, int] = (256, 320)  # and in the last part of the run
    last: float = 0.35  # length of that part, as a share of the steps
    mosaic: float = 0.4  # share of samples put together from four images; none in the last tenth of the run
    zoom: float = 0.35  # share of samples that are a window of an image: people cut by its border
    negative: float = 0.12  # share of single images and mosaic tiles without people
    smallest: float = 16.0  # px on the canvas; whose long side is shorter is ignored
    # Source → how often its images are drawn, relative to their number; goes before the data's own weights (see
    # data/sources.py).
    source_weights: dict[str, float] = dataclasses.field(default_factory=dict)

    # --- what the trainer asks, where it differs from a pose net's
    epochs: int = 12
    epoch_steps: int = 1000  # steps that are called an epoch: samples are drawn at random, not passed through
    lr: float = 2e-3
    warmup: int = 300  # steps
    lr_floor: float = 0.02  # of lr, at the end of the cosine
    flat: float = 0.4  # share of the steps before the cosine starts
    clip: float = 10.0  # gradient norm
    ema: float = 0.001  # momentum of the averaged weights
    validate_images: int = 400  # a fixed random choice of the validation set; 0: all

    @property
    def steps(self) -> int:
        return self.epochs * self.epoch_steps

    @classmethod
    def from_dict(cls, values: dict[str, Any], origin: str = "config") -> Self:
        """As `Record.from_dict`; configs written before, with `steps` in place of `epochs`, are read as today's."""
        return super().from_dict(_todays_keys(values), origin)


def _todays_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Before, a run was `steps` long, `validate_every` counted steps, and `epoch` was a number of images."""
    values = {{"validate_pictures": "validate_images"}.get(key, key): value for key, value in values.items()}
    values.pop("epoch", None)
    if isinstance(steps := values.get("steps"), int):
        epochs = max(steps // max(values.get("validate_every", 1000), 1), 1)
        values |= {"epochs": epochs, "epoch_steps": max(steps // epochs, 1), "validate_every": 1}
        del values["steps"]
    return values
