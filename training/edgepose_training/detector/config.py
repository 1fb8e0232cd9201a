"""Every knob of a detector's training, in a frozen record; a TOML file holds only what differs from it."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from edgepose import EdgeposeError
from edgepose_training import ranges
from edgepose_training.config import TrainerConfig
from edgepose_training.ranges import SHARE, Range

log = logging.getLogger(__name__)

STEPS_BETWEEN_VALIDATIONS = 1000  # where a config that counts in steps does not say


RANGES: ranges.Ranges = {
    **ranges.TRAINER,
    "channels": Range(1, unit="channels"),
    "blocks": Range(1, unit="blocks"),
    "neck": Range(1, unit="channels"),
    "input_size": Range(32, 4096, "px of the long side"),
    "top": Range(1, unit="cells a person"),
    "alpha": Range(0, unit="exponent"),
    "beta": Range(0, unit="exponent"),
    "focus": Range(0, unit="exponent"),
    "box_weight": Range(0, unit="weight of a loss"),
    "label_weight": Range(0, unit="weight of the losses"),
    "teacher_weight": Range(0, unit="weight of the losses"),
    "teacher_seen": Range(0, 1, "score of the teacher"),
    "first_sides": Range(32, 4096, "px of the long side", rising=True),
    "last_sides": Range(32, 4096, "px of the long side", rising=True),
    "last": Range(0, 1, "share of the steps"),
    "mosaic": SHARE,
    "zoom": SHARE,
    "negative": SHARE,
    "smallest": Range(0, unit="px"),
    "source_weights": Range(0, unit="how often an image is drawn"),
    "epoch_steps": Range(1, unit="steps"),
    "validate_images": Range(0, unit="images; 0: all"),
}


@dataclass(frozen=True)
class DetectorConfig(TrainerConfig):
    ranges: ClassVar[ranges.Ranges] = RANGES

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
    label_weight: float = 1.0  # of both losses by the lists of people
    teacher_weight: float = 1.0  # of both losses by the teacher's answer, if there is a teacher
    teacher_seen: float = 0.05  # teacher's score from which a cell's box is taught

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
    def load(cls, path: str | Path | None, overrides: list[str] | None = None) -> Self:
        """As `Record.load`. `steps=N` among the overrides stands for `epochs` and `epoch_steps`.

        Beside it `validate_every` counts steps, too. Raises EdgeposeError for a `validate_every` beyond the last epoch.
        """
        config = super().load(path, overrides)
        if config.validate_every > config.epochs:
            raise EdgeposeError(
                f"validate_every expected epochs, at most {config.epochs} of them, got {config.validate_every}; "
                "it counts steps only beside steps=N"
            )
        return config

    @classmethod
    def todays_keys(cls, values: dict[str, Any], origin: str) -> dict[str, Any]:
        """Before, a run was `steps` long, `validate_every` counted steps, and `epoch` was a number of images."""
        values = super().todays_keys(values, origin)
        values = {{"validate_pictures": "validate_images"}.get(key, key): value for key, value in values.items()}
        if "steps" not in values:
            return values
        if double := sorted({"epochs", "epoch_steps"} & set(values)):
            raise EdgeposeError(f"{origin}: steps and {double[0]} say the same; give one of them")
        rest = {key: value for key, value in values.items() if key not in ("steps", "epoch")}
        return rest | _in_epochs(values["steps"], values.get("validate_every", STEPS_BETWEEN_VALIDATIONS), origin)

    @classmethod
    def overridden(cls, values: dict[str, Any], given: dict[str, Any], origin: str) -> dict[str, Any]:
        if "steps" in given:  # validated as often as the file says, if nothing else is asked for
            before = cls.from_dict(values, origin)
            given = {"validate_every": before.validate_every * before.epoch_steps} | given
        return super().overridden(values, given, origin)


def _in_epochs(steps: Any, every: Any, origin: str) -> dict[str, int]:
    """A run of so many steps as epochs with a validation after each, about `every` steps; exactly where it divides."""
    for name, value in (("steps", steps), ("validate_every", every)):
        if type(value) is not int or value < 1:
            raise EdgeposeError(f"{origin}: {name} expected a whole number from 1, got {value!r}")
    wanted = max(round(steps / every), 1)
    near = range(max((wanted + 1) // 2, 1), 2 * wanted + 1)
    exact = [epochs for epochs in near if steps % epochs == 0]
    epochs = min(exact, key=lambda epochs: abs(epochs - wanted)) if exact else wanted
    epoch_steps = -(-steps // epochs)
    if not exact:
        log.warning("%d steps do not divide: %d epochs of %d steps are trained", steps, epochs, epoch_steps)
    return {"epochs": epochs, "epoch_steps": epoch_steps, "validate_every": 1}
