"""From crop shards to batches: planned by seed, rendered in worker processes or on the device."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.config import Config
from edgepose_training.data import augment
from edgepose_training.data.augment import PLAIN, CropLabels, Plan, Strength, draws
from edgepose_training.data.crop_cache import CropCache
from edgepose_training.data.render import pack_pixels, render_cv2, render_kernel, render_torch

log = logging.getLogger("distill")

MEAN = (123.675, 116.28, 103.53)  # RGB, 0..255 (ImageNet, as RTMPose)
STD = (58.395, 57.12, 57.375)

Item = tuple[int, int]  # crop and seed: what is drawn depends on nothing else


@dataclass
class Batch:
    """N samples as tensors; pixels of the network's input."""

    images: Tensor  # [N, H, W, 3] uint8 BGR
    keypoints: Tensor  # [N, K, 2] float32
    weights: Tensor  # [N, K] float32, 0: no label
    inside: Tensor  # [N, K] bool: labeled and in the image; labeled and not inside: absent

    def to(self, device: torch.device) -> Batch:
        return Batch(*(t.to(device, non_blocking=True) for t in vars(self).values()))

    def pin_memory(self) -> Batch:
        return Batch(*(t.pin_memory() for t in vars(self).values()))


def normalize(images: Tensor) -> Tensor:
    """BGR uint8 [N, H, W, 3] → normalized RGB float32 [N, 3, H, W], which is channels-last in memory."""
    mean, std = (torch.tensor(v, device=images.device) for v in (MEAN, STD))
    return ((images.flip(-1).float() - mean) / std).permute(0, 3, 1, 2)


def strength_at(config: Config, progress: float) -> Strength:
    """Augmentation at `progress` in [0, 1) of all epochs: mild at the start and at the end."""
    full = Strength(
        truncation_prob=config.truncation_prob, flip=config.flip, half_body=config.half_body, scale=config.scale,
        rotation=config.rotation, shift=config.shift, erase=config.erase, color=config.color,
        clipped_normal=config.clipped_normal,
    )  # fmt: skip
    if progress < config.weak_augmentation_start:
        mild = replace(full, scale=(0.8, 1.2), rotation=full.rotation * 0.4, shift=full.shift / 2)
        return replace(mild, erase=0.0, half_body=0.0)
    if progress >= 1 - config.weak_augmentation_end:
        # RTMPose's second stage: no shift, [0.75, 1.25], R = 60 of 80, half the erasing.
        full = replace(full, shift=0.0, erase=full.erase * 0.5)
        if config.weak_end_keeps_geometry:
            return full
        scale = (max(full.scale[0], 0.75), min(full.scale[1], 1.25))
        return replace(full, scale=scale, rotation=full.rotation * 0.75)
    return full


class EpochSampler(Sampler[Item]):
    """A permutation of the crops with a seed for each, from (seed, epoch); split evenly and without overlap
    between processes, and able to start in the middle of the epoch.

    Step by step, the processes' batches together are the batch of one process. `repeats` [length]: how often each crop
    comes in an epoch, on average.
    """

    def __init__(
        self, length: int, seed: int, epoch: int, rank: int = 0, world: int = 1, skip: int = 0,
        repeats: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        rng = np.random.default_rng((seed, epoch))
        rows = np.arange(length) if repeats is None else repeated(repeats, rng)
        length = len(rows)
        order, seeds = rng.permutation(rows), rng.integers(0, 2**63 - 1, length)
        part = slice(rank, length // world * world, world)
        self.order, self.seeds = order[part][skip:], seeds[part][skip:]

    def __iter__(self) -> Iterator[Item]:
        return iter(zip(self.order.tolist(), self.seeds.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.order)


def repeated(repeats: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows of an epoch, in order: each so often, and of those with a fraction so large a share, others every time.

    Their number is the same in every epoch.
    """
    whole = np.floor(repeats).astype(int)
    rows = [np.repeat(np.arange(len(repeats)), whole)]
    fractions = repeats - whole
    for share in np.unique(fractions[fractions > 0]):
        some = np.flatnonzero(fractions == share)
        rows.append(rng.choice(some, max(1, round(share * len(some))), replace=False))
    return np.concatenate(rows)


class Crops(Dataset[Batch]):
    """A store seen at one input size and strength; fetched a batch at a time."""

    def __init__(
        self, store: CropCache, skeleton: Skeleton, input_size: tuple[int, int], strength: Strength = PLAIN
    ) -> None:
        self.store, self.skeleton, self.input_size, self.strength = store, skeleton, input_size, strength

    def __len__(self) -> int:
        return len(self.store)

    def __getitems__(self, items: list[Item] | list[int]) -> Batch:
        items = [(item, 0) if isinstance(item, int) else item for item in items]
        indices, seeds = zip(*items, strict=True)
        labels = labels_of(self.store, indices)
        plan = augment.plan(labels, self.skeleton, self.input_size, self.strength, draws(torch.tensor(seeds)))
        images = render_cv2([self.store[i].image for i in indices], plan, self.input_size)
        return Batch(torch.from_numpy(images), *augment.targets(labels, plan, self.skeleton, self.input_size))


def labels_of(store: CropCache, indices: Sequence[int] | slice) -> CropLabels:
    """The labels of some crops, as tensors."""
    rows = indices if isinstance(indices, slice) else list(indices)
    sizes = store.sizes[rows, ::-1].astype(np.float32)
    arrays = (store.bboxes[rows], store.keypoints[rows], store.visible[rows], store.weights[rows], sizes)
    return CropLabels(*(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays))


def start_worker(_: int) -> None:
    """One thread, and no ear for signals that a scheduler or a terminal sends to all processes of a run.

    The process that trains hears them, ends its step, saves, and then ends its workers.
    """
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)


def _whole(batch: Any) -> Any:  # a Batch already: `__getitems__` makes it
    return batch


def loader(crops: Dataset[Batch], batch: int, workers: int, sampler: EpochSampler | None = None) -> DataLoader[Batch]:
    """Batches in the sampler's order, the last short one dropped; without a sampler in order and whole."""
    return DataLoader(
        crops, batch_size=batch, sampler=sampler, drop_last=sampler is not None, num_workers=workers,
        collate_fn=_whole, worker_init_fn=start_worker, pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None,
    )  # fmt: skip


class DeviceCrops:
    """The whole store as tensors of the device: no loader, no workers, no copies while it trains.

    By torch all people of a batch are painted at once; `crop_kernel` paints them by `crop_normalize`, one by one.
    """

    def __init__(
        self, store: CropCache, skeleton: Skeleton, device: torch.device, compiled: bool = False,
        crop_kernel: bool = False,
    ) -> None:  # fmt: skip
        if compiled and crop_kernel:
            raise EdgeposeError("crop_kernel and compile_render exclude each other: only torch's painting is compiled")
        self.store, self.skeleton, self.compiled = store, skeleton, compiled
        # A call of the kernel is told by the host where its window lies, so plans are made there.
        self.device = torch.device("cpu") if crop_kernel else device
        flat = torch.from_numpy(store.flat()).to(device)
        self.pixels = flat if crop_kernel else pack_pixels(flat)
        self.offsets = torch.from_numpy(store.offsets // 3).to(self.device)
        self.labels = labels_of(store, slice(None)).to(self.device)
        painter = render_kernel if crop_kernel else render_torch
        self.render = torch.compile(painter, dynamic=False) if compiled else painter

    def batches(
        self,
        input_size: tuple[int, int],
        strength: Strength,
        batch: int,
        sampler: EpochSampler | None = None,
        oversample: int = 1,
        stop: int | None = None,
    ) -> Iterator[Batch]:
        """As `loader`: the sampler's order and seeds, the last short batch dropped; without one the first `stop`
        people in order."""
        order = np.arange(len(self.store))[:stop] if sampler is None else sampler.order
        seeds = order if sampler is None else sampler.seeds
        # All at once, not batch by batch: a copy of some numbers would wait for the step before.
        order_here, seeds_here = (torch.from_numpy(array).to(self.device) for array in (order, seeds))
        last = len(order) if sampler is None else len(order) - batch + 1
        for start in range(0, last, batch):
            rows, u = order_here[start : start + batch], draws(seeds_here[start : start + batch])
            labels = self.labels[rows]
            plan = augment.plan(labels, self.skeleton, input_size, strength, u)
            images = self._paint(self.offsets[rows], labels.size, plan, input_size, oversample)
            yield Batch(images, *augment.targets(labels, plan, self.skeleton, input_size))

    def _paint(
        self, offsets: Tensor, sizes: Tensor, plan: Plan, input_size: tuple[int, int], oversample: int
    ) -> Tensor:
        try:
            return self.render(self.pixels, offsets, sizes, plan, input_size, oversample)
        except Exception as error:
            if not self.compiled:
                raise
            # A compiler that is missing or at odds with the driver costs speed, not the run.
            log.warning("painting cannot be compiled here, goes on without: %s", str(error).splitlines()[0])
            self.render, self.compiled = render_torch, False
            return self._paint(offsets, sizes, plan, input_size, oversample)
