"""Batches for the detector: one size a batch, drawn by step number alone, so that a resumed run sees the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgepose_training.data.loaders import MEAN, STD, start_worker
from edgepose_training.detector.config import DetectorConfig
from edgepose_training.detector.samples import Sample, SampleBuilder, SampleOptions
from edgepose_training.distributed import SINGLE_PROCESS, Processes

MAX_PEOPLE, MAX_IGNORED = 24, 48  # an image; the largest are kept
SHAPES = (0.5625, 0.75, 1.0)  # short side ÷ long side of cameras and photographs
PORTRAIT = 0.3  # share of canvases that stand
PLAIN_END = 0.1  # share of the steps, the last ones, without mosaics


@dataclass
class DetectorBatch:
    """Canvases and their people; boxes xyxy in pixels, rows beyond the mask are zeros."""

    images: Tensor  # [N, H, W, 3] uint8 BGR
    people: Tensor  # [N, M, 4]
    is_person: Tensor  # [N, M] bool
    ignored: Tensor  # [N, J, 4]; zeros ignore nothing

    def to(self, device: torch.device) -> DetectorBatch:
        return DetectorBatch(*(value.to(device, non_blocking=True) for value in vars(self).values()))


def normalized(images: Tensor) -> Tensor:  # [N, H, W, 3] uint8 BGR -> [N, 3, H, W]
    """What the net sees, in its memory format of choice: RGB, channels last."""
    mean, std = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (images.permute(0, 3, 1, 2).flip(1).float() - mean) / std


class DetectorBatches(torch.utils.data.Dataset[DetectorBatch]):
    """Batch number `step` of a run, or this process' share. Every step has a generator of its own: order and workers do
    not matter."""

    def __init__(self, builder: SampleBuilder, config: DetectorConfig, processes: Processes = SINGLE_PROCESS) -> None:
        self.builder, self.config, self.processes = builder, config, processes

    def __getitem__(self, step: int) -> DetectorBatch:
        config = self.config
        rng = np.random.default_rng([config.seed, step])
        progress = step / config.steps
        mosaic = config.mosaic if progress < 1 - PLAIN_END else 0.0
        options = SampleOptions(mosaic, config.zoom, config.negative, config.smallest)
        size = canvas_size(rng, config.last_sides if progress >= 1 - config.last else config.first_sides)
        rank, count = self.processes.rank, self.processes.share(config.batch)
        if rank:  # the same size in all processes, other samples
            rng = np.random.default_rng([config.seed, step, rank])
        return collate([self.builder.sample(rng, size, options) for _ in range(count)])

    def __len__(self) -> int:
        return self.config.steps


def canvas_size(rng: np.random.Generator, sides: tuple[int, int]) -> tuple[int, int]:
    """A canvas (W, H) of multiples of 32 with a long side within `sides`."""
    long = 32 * int(rng.integers(sides[0] // 32, sides[1] // 32 + 1))
    short = 32 * max(round(long * rng.choice(SHAPES) / 32), 1)
    return (short, long) if rng.random() < PORTRAIT else (long, short)


def collate(samples: list[Sample]) -> DetectorBatch:
    people, is_person = _padded([s.people for s in samples], MAX_PEOPLE)
    # People beyond the table are not background.
    over = [s.ignored + _by_size(s.people)[MAX_PEOPLE:] for s in samples]
    ignored, _ = _padded(over, MAX_IGNORED)
    images = torch.from_numpy(np.stack([s.image for s in samples]))
    return DetectorBatch(images, people, is_person, ignored)


def _by_size(boxes: list[np.ndarray]) -> list[np.ndarray]:
    return sorted(boxes, key=lambda box: -float((box[2:] - box[:2]).prod()))


def _padded(lists: list[list[np.ndarray]], limit: int) -> tuple[Tensor, Tensor]:  # -> [N, M, 4], [N, M]
    """Boxes of different numbers as one table, no longer than needed, and which rows are real."""
    count = min(max(max(map(len, lists), default=0), 1), limit)
    table = torch.zeros(len(lists), count, 4)
    real = torch.zeros(len(lists), count, dtype=torch.bool)
    for row, boxes in enumerate(lists):
        kept = _by_size(boxes)[:count]
        if kept:
            table[row, : len(kept)] = torch.from_numpy(np.stack(kept))
            real[row, : len(kept)] = True
    return table, real


def batches(
    builder: SampleBuilder, config: DetectorConfig, steps: range, device: torch.device, processes: Processes
) -> Iterable[DetectorBatch]:
    """The batches of some steps, made ahead by worker processes."""
    return torch.utils.data.DataLoader(
        DetectorBatches(builder, config, processes),
        batch_size=None,
        sampler=steps,
        num_workers=config.workers,
        prefetch_factor=3 if config.workers else None,
        pin_memory=device.type == "cuda",
        worker_init_fn=start_worker,
    )
