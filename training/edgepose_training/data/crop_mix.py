"""Several sets of crops as one: each in the points of the run, and seen as often as its weight says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgepose_training.data.crop_cache import CropCache
from edgepose_training.data.mapped_images import bytes_of
from edgepose_training.data.point_mapping import PointMapping
from edgepose_training.data.shards import Crop


@dataclass(frozen=True)
class WeightedCrops:
    """One set: its crops, which of its points are which of the run's (None: all as they are), and its weight."""

    crops: CropCache
    mapping: PointMapping | None = None
    weight: float = 1.0  # how often each of its people is seen in an epoch


class CropMix(CropCache):
    """Caches one behind the other, for all who read a cache."""

    def __init__(self, sets: Sequence[WeightedCrops]) -> None:
        caches = [part.crops for part in sets]
        self.caches = caches
        self.sizes = np.concatenate([cache.sizes for cache in caches])
        self.bboxes = np.concatenate([cache.bboxes for cache in caches])
        self.sources = np.concatenate([cache.sources for cache in caches])
        self.licenses = np.concatenate([cache.licenses for cache in caches])
        labels = [_mapped(part) for part in sets]
        self.keypoints, self.visible, self.weights = (np.concatenate(column) for column in zip(*labels, strict=True))
        lengths = [int(bytes_of(cache.sizes).sum()) for cache in caches]
        starts = np.cumsum([0, *lengths])
        self.offsets = np.concatenate([cache.offsets + start for cache, start in zip(caches, starts, strict=False)])
        self._first = np.cumsum([0, *map(len, caches)])
        self.repeats = np.repeat([part.weight for part in sets], [len(cache) for cache in caches])

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, i: int) -> Crop:  # type: ignore[override]  # no slices
        if not 0 <= i < len(self):
            raise IndexError(i)
        part = int(np.searchsorted(self._first, i, "right")) - 1
        image = self.caches[part].images[i - int(self._first[part])]
        columns = self.bboxes[i], self.keypoints[i], self.visible[i], self.weights[i]
        return Crop(image, *columns, source=str(self.sources[i]), license=str(self.licenses[i]))

    def flat(self) -> np.ndarray:
        return np.concatenate([cache.flat() for cache in self.caches])


def _mapped(part: WeightedCrops) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels = part.crops.keypoints, part.crops.visible, part.crops.weights
    return labels if part.mapping is None else part.mapping(*labels)
