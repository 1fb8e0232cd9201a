"""From crop shards to batches: seeded augmentation in worker processes, normalised on the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from edgepose.skeletons import Skeleton
from edgepose_training.augment import Sample, Strength, augment, plain
from edgepose_training.config import Config
from edgepose_training.shards import CropStore

MEAN = (123.675, 116.28, 103.53)  # RGB, 0..255 (ImageNet, as RTMPose)
STD = (58.395, 57.12, 57.375)


@dataclass
class Batch:
    """N samples as tensors; pixels of the network's input."""

    images: Tensor  # [N, H, W, 3] uint8 BGR
    keypoints: Tensor  # [N, K, 2] float32
    weights: Tensor  # [N, K] float32, 0: no label
    inside: Tensor  # [N, K] bool

    def to(self, device: torch.device) -> Batch:
        return Batch(*(t.to(device, non_blocking=True) for t in vars(self).values()))

    def pin_memory(self) -> Batch:
        return Batch(*(t.pin_memory() for t in vars(self).values()))


def collate(samples: list[Sample]) -> Batch:
    return Batch(
        torch.from_numpy(np.stack([s.image for s in samples])),
        torch.from_numpy(np.stack([s.keypoints for s in samples])),
        torch.from_numpy(np.stack([s.weights for s in samples])),
        torch.from_numpy(np.stack([s.inside for s in samples])),
    )


def normalise(images: Tensor) -> Tensor:
    """BGR uint8 [N, H, W, 3] → normalised RGB float32 [N, 3, H, W], which is channels-last in memory."""
    mean, std = (torch.tensor(v, device=images.device) for v in (MEAN, STD))
    return ((images.flip(-1).float() - mean) / std).permute(0, 3, 1, 2)


def strength_at(config: Config, progress: float) -> Strength:
    """Augmentation at `progress` in [0, 1) of all epochs: mild at the start and at the end."""
    full = Strength(
        cut=config.cut,
        flip=config.flip,
        half_body=config.half_body,
        scale=config.scale,
        rotation=config.rotation,
        shift=config.shift,
        erase=config.erase,
        colour=config.colour,
    )
    if progress < config.mild_start:
        return replace(
            full, scale=(0.8, 1.2), rotation=full.rotation * 0.4, shift=full.shift / 2, erase=0.0, half_body=0.0
        )
    if progress >= 1 - config.mild_end:
        # RTMPose's second stage: no shift, [0.75, 1.25], R = 60 of 80, half the erasing.
        scale = (max(full.scale[0], 0.75), min(full.scale[1], 1.25))
        return replace(full, shift=0.0, scale=scale, rotation=full.rotation * 0.75, erase=full.erase * 0.5)
    return full


class Crops(Dataset[Sample]):
    """Augmented samples of a store. An index is (crop, seed): what is drawn depends on nothing else."""

    def __init__(
        self, store: CropStore, skeleton: Skeleton, input_size: tuple[int, int], strength: Strength | None
    ) -> None:
        self.store, self.skeleton, self.input_size, self.strength = store, skeleton, input_size, strength

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int | tuple[int, int]) -> Sample:
        if isinstance(index, int):
            return plain(self.store[index], self.skeleton, self.input_size)
        i, seed = index
        if self.strength is None:
            return plain(self.store[i], self.skeleton, self.input_size)
        return augment(self.store[i], self.skeleton, self.input_size, self.strength, np.random.default_rng(seed))


class EpochSampler(Sampler[tuple[int, int]]):
    """A permutation of the crops with a seed for each, from (seed, epoch); split evenly and without overlap
    between processes, and able to start in the middle of the epoch."""

    def __init__(self, length: int, seed: int, epoch: int, rank: int = 0, world: int = 1, skip: int = 0) -> None:
        rng = np.random.default_rng((seed, epoch))
        order = rng.permutation(length)
        seeds = rng.integers(0, 2**63 - 1, length)
        usable = length // world * world
        self.items = [(int(i), int(s)) for i, s in zip(order[rank:usable:world], seeds[rank:usable:world], strict=True)]
        self.items = self.items[skip:]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def loader(dataset: Crops, batch: int, workers: int, sampler: EpochSampler | None = None) -> DataLoader[Batch]:
    """Batches in the sampler's order, the last short one dropped in training; in order and whole without one."""
    return DataLoader(
        dataset,
        batch_size=batch,
        sampler=sampler,
        drop_last=sampler is not None,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_one_thread,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None,
    )
