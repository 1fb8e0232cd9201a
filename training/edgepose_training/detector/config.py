"""Every knob of a detector's training, in one frozen record; a TOML file holds only what differs from it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from edgepose_training.config import Record


@dataclass(frozen=True)
class DetectorConfig(Record):
    # --- network
    channels: tuple[int, int, int, int, int] = (16, 32, 64, 128, 256)  # of the stem and the stages
    blocks: tuple[int, int, int, int] = (1, 2, 2, 1)  # of the stages
    neck: int = 64  # channels
    input_size: int = 320  # px, the canvas' long side when the net is used and validated; a multiple of 32

    # --- assignment and losses (TOOD, GFL; see detector_loss.py)
    top: int = 10  # cells per person
    alpha: float = 0.5  # exponent of the score in the alignment,
    beta: float = 6.0  # and of the overlap
    focus: float = 2.0  # β of the quality focal loss
    box_weight: float = 2.0  # of the GIoU loss against the classification

    # --- data
    batch: int = 32
    workers: int = 1  # loader processes
    epoch: int = 20000  # images that are called an epoch
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

    # --- optimization
    steps: int = 12000
    optimizer: str = "adamw"
    lr: float = 2e-3
    weight_decay: float = 0.05  # never on norms and biases
    warmup: int = 300  # steps
    lr_floor: float = 0.02  # of lr, at the end of the cosine
    flat: float = 0.4  # share of the steps before the cosine starts
    clip: float = 10.0  # gradient norm; 0: off
    ema: float = 0.001  # momentum of the averaged weights
    amp: str = "auto"  # auto (bf16 where the device has it), bf16, fp16, off
    channels_last: bool = True
    seed: int = 21

    # --- bookkeeping
    validate_every: int = 1000  # steps
    validate_pictures: int = 400  # a fixed random choice of the validation set; 0: all
    log_every: int = 50  # steps
