"""The batches of a training, epoch by epoch: rendered by worker processes or on the device."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.utils.data import Subset

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.config import Config
from edgepose_training.data.augment import PLAIN
from edgepose_training.data.crop_cache import CropCache
from edgepose_training.data.loaders import Batch, Crops, DeviceCrops, EpochSampler, loader, strength_at
from edgepose_training.distributed import Processes

Size = tuple[int, int]


def size_at(config: Config, epoch: int) -> Size:
    """Input size (W, H) of an epoch: half of the full one in the first ones, if so configured."""
    width, height = config.input_size
    return (width // 2, height // 2) if epoch < config.half_size_epochs else (width, height)


class Feed:
    """One store as batches. What a person gets depends on seed and epoch, not on where it is painted or by whom."""

    def __init__(
        self, config: Config, store: CropCache, skeleton: Skeleton, device: torch.device, processes: Processes
    ) -> None:
        self.config, self.store, self.skeleton, self.device = config, store, skeleton, device
        # With shards of its own a process draws from all that it has; else from its share of a common order.
        own = config.split_shards
        self.rank, self.world = (0, 1) if own else (processes.rank, processes.world)
        self.seed = config.seed + processes.rank * own
        people = -processes.most(-len(self._sampler(0)), device)  # of the process that has fewest
        if people == 0:
            raise EdgeposeError(
                f"the shards expected at least a person for each of {processes.world} processes, got {len(store)}"
            )
        self.batch = min(processes.share(config.batch), people)
        self.steps_per_epoch = people // self.batch
        self._crops: DeviceCrops | None = None

    def epoch(self, config: Config, epoch: int, step: int = 0) -> Iterable[Batch]:
        """This process' batches of an epoch, from its `step` on. `config` may have got another number of epochs."""
        size, strength = size_at(config, epoch), strength_at(config, epoch / config.epochs)
        sampler = self._sampler(epoch, step * self.batch)
        batches: Iterable[Batch]
        if not config.on_device:
            batches = loader(Crops(self.store, self.skeleton, size, strength), self.batch, config.workers, sampler)
        else:
            batches = self._device_crops().batches(size, strength, self.batch, sampler, self._oversample(size))
        # Shares of shards differ in length; all processes make the same number of steps.
        return (batch for batch, _ in zip(batches, range(self.steps_per_epoch - step), strict=False))

    def _sampler(self, epoch: int, skip: int = 0) -> EpochSampler:
        length, repeats = len(self.store), self.store.repeats
        return EpochSampler(length, self.seed, epoch, self.rank, self.world, skip, repeats)

    def plain(self, size: Size, people: int = 0) -> Iterable[Batch]:
        """The first so many people (0: all), once, in order and unaugmented."""
        count = min(people or len(self.store), len(self.store))
        if self.config.on_device:
            return self._device_crops().batches(size, PLAIN, 256, oversample=self._oversample(size), stop=count)
        crops = Crops(self.store, self.skeleton, size)
        return loader(Subset(crops, range(count)), 64, self.config.workers)

    def _device_crops(self) -> DeviceCrops:
        if self._crops is None:
            how = self.config.compile_render, self.config.crop_kernel
            self._crops = DeviceCrops(self.store, self.skeleton, self.device, *how)
        return self._crops

    def _oversample(self, size: Size) -> int:
        return max(self.config.input_size[0] // size[0], 1)
