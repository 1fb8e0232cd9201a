"""What `--init` and `--teacher` name: a checkpoint, a file of mmpose, an exported model, or one that ships."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

from torch import Tensor

from edgepose import EdgeposeError, models
from edgepose.skeletons import Skeleton
from edgepose_training.config import Config
from edgepose_training.data.crop_cache import CropCache
from edgepose_training.data.loaders import Crops, EpochSampler, loader, normalize, strength_at
from edgepose_training.deploy import restoring
from edgepose_training.engine import checkpoints
from edgepose_training.engine.conversion import convert

BATCH = 32
BATCHES = 8  # of images whose statistics norms are made of

Images = Callable[[tuple[int, int]], list[Tensor]]  # of an input size (W, H): batches [N, 3, H, W]


def training_images(config: Config, crops: CropCache) -> Images:
    """Some of the crops, augmented as in the middle of the training."""
    skeleton = Skeleton.for_size(crops.num_keypoints)  # only pixels are wanted, whatever the points are called

    def images(size: tuple[int, int]) -> list[Tensor]:
        painted = Crops(crops, skeleton, size, strength_at(config, 0.5))
        batches = loader(painted, min(BATCH, len(crops)), 0, EpochSampler(len(crops), config.seed, 0))
        return [normalize(batch.images) for batch in islice(batches, BATCHES)]

    return images


def starting_weights(given: str, images: Images) -> checkpoints.Source:
    """What `--init` names; of other projects' files any backbone will do. Raises EdgeposeError."""
    return _restored(given, images) if _is_exported(given) else Path(given)


def teacher(given: str, images: Images) -> checkpoints.Source:
    """What `--teacher` names, which has to be a whole net. Raises EdgeposeError."""
    if _is_exported(given):
        return _restored(given, images)
    if checkpoints.is_ours(checkpoints.content(given)):
        return Path(given)
    return checkpoints.Loaded(given, convert(Path(given)))


def _is_exported(given: str) -> bool:
    """Whether it is an exported model, not a checkpoint. Raises EdgeposeError for a name that no shipped model has."""
    exported, path = restoring.is_exported(given), Path(given)
    if not (exported or path.suffix or path.exists()):
        names = ", ".join(models.available())
        raise EdgeposeError(f"{given}: neither a file nor the name of a shipped model ({names})")
    return exported


def _restored(given: str, images: Images) -> checkpoints.Loaded:
    return checkpoints.Loaded(given, restoring.restore(given, images))
