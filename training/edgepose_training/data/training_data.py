"""The data of a run: folders of shards, each with a weight and with its points mapped into those of the run."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.config import Config
from edgepose_training.data.crop_cache import CropCache
from edgepose_training.data.crop_mix import CropMix, WeightedCrops
from edgepose_training.data.point_mapping import PointMapping
from edgepose_training.data.shard_folder import Packed
from edgepose_training.data.shards import list_shards
from edgepose_training.data.window import check_window

log = logging.getLogger("distill")

SPLITS = ("train", "val")
NOT_NAMED = "not named"  # source of people whose file does not tell it


@dataclass(frozen=True)
class Source:
    """A folder with train/ and perhaps val/, and how often each of its people is seen in an epoch."""

    folder: Path
    weight: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Source:
        """`DIR` or `DIR=WEIGHT`. Raises EdgeposeError."""
        folder, equals, weight = text.rpartition("=")
        if not equals or Path(text).is_dir():
            return cls(Path(text))
        try:
            share = float(weight)
        except ValueError:
            share = 0.0
        if not 0 < share < float("inf"):
            raise EdgeposeError(f"--shards {text}: expected DIR=WEIGHT with a number above 0, got {weight!r}")
        return cls(Path(folder), share)


class TrainingData:
    """What `--shards` names, checked against the recipe before anything is decoded."""

    def __init__(self, texts: list[str], config: Config, points: Path | None = None) -> None:
        """`points`: a table for `PointMapping`. Raises EdgeposeError for folders that this recipe cannot learn from."""
        self.sources = [Source.parse(text) for text in texts]
        self.skeleton, self.points = Skeleton.load(config.skeleton), points
        self.report: list[dict[str, Any]] = []  # a row for every folder opened: how many people came from where
        for source in self.sources:
            _check_depth(source.folder)
            for split in SPLITS:
                _check_windows(source.folder / split, config)

    def open(self, split: str, opened: Callable[[Path], CropCache]) -> CropCache | None:
        """The crops of a split, each folder `opened`; None where no folder has the split. It is told who is in it."""
        sources = [source for source in self.sources if split == "train" or (source.folder / split).is_dir()]
        parts = [self._part(source, split, opened) for source in sources]
        if len(parts) == 1 and parts[0].mapping is None and parts[0].weight == 1:
            return parts[0].crops
        return CropMix(parts) if parts else None

    def write(self, path: Path) -> None:
        """The report as JSON."""
        path.write_text(json.dumps(self.report, indent=1), encoding="utf-8")

    def _part(self, source: Source, split: str, opened: Callable[[Path], CropCache]) -> WeightedCrops:
        folder = source.folder / split
        packed = Packed.of(folder)
        mapping = PointMapping.between(packed.skeleton, self.skeleton, self.points) if packed else None
        crops = opened(folder)
        points = self.skeleton.num_keypoints
        if mapping is None and crops.num_keypoints != points:
            raise EdgeposeError(
                f"{folder}: the shards hold {crops.num_keypoints} keypoints, but skeleton {self.skeleton.name} has "
                f"{points}, and no packed.json says whose they are: pack them again"
            )
        if mapping is not None and mapping.is_identity:
            mapping = None
        part = WeightedCrops(crops, mapping, source.weight if split == "train" else 1.0)
        self._tell(folder, split, part)
        return part

    def _tell(self, folder: Path, split: str, part: WeightedCrops) -> None:
        sources = Counter(str(name) or NOT_NAMED for name in part.crops.sources)
        points = str(part.mapping) if part.mapping else f"all points of {self.skeleton.name}"
        row = {"folder": str(folder), "split": split, "people": len(part.crops), "sources": dict(sources.most_common())}
        self.report.append(row | {"weight": part.weight, "points": points})
        named = ", ".join(f"{count} of {name}" for name, count in sources.most_common())
        who = f" ({named})" if set(sources) != {NOT_NAMED} else ""
        often = f", each {part.weight:g} times an epoch" * (part.weight != 1)
        log.info("%s: %d people%s, %s%s", folder, len(part.crops), who, points, often)


def _check_depth(folder: Path) -> None:
    """Raises EdgeposeError where the folder is the one with the shards, not the one above it."""
    if (folder / "train").is_dir() or not list_shards(folder):
        return
    hint = f"give the folder above it, --shards {folder.parent}" if folder.name in SPLITS else "move them into train/"
    raise EdgeposeError(f"{folder}: expected a folder with train/ and perhaps val/, but it holds shards itself: {hint}")


def _check_windows(folder: Path, config: Config) -> None:
    """Warns of crops whose windows leave the input black. Raises EdgeposeError for those that it would enlarge."""
    packed = Packed.of(folder)
    for entry in packed.sets if packed else []:
        warning = check_window(entry, config, folder)
        if warning and folder.name == "train":
            log.warning("%s", warning)
