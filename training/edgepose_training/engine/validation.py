"""Quick mean OKS of a net on plain crops, for the training log; `evaluate.py` gives the final figures."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from edgepose.codecs import Heatmap, SimCC
from edgepose.skeletons import Skeleton
from edgepose_training.data.augment import PADDING
from edgepose_training.data.coco import BOX_AREA_TO_PERSON
from edgepose_training.data.crop_cache import CropCache
from edgepose_training.data.loaders import Batch, normalize
from edgepose_training.engine.losses import Pair
from edgepose_training.metrics.oks import keypoint_similarity


@torch.no_grad()
def mean_oks(
    net: nn.Module,
    batches: Iterable[Batch],
    store: CropCache,
    input_size: tuple[int, int],
    codec: SimCC,
    skeleton: Skeleton,
    device: torch.device,
    amp: torch.dtype | None,
) -> dict[str, float]:
    """Mean OKS per part over people with a labeled point of it in the image; "whole" is over all points.

    `batches` are the store's first people, in order and plain, at `input_size`, which may be half the codec's.
    The person's area is 0.53·w·h of the box, as COCO-style sets without masks have it.
    """
    per_point, labeled = [], []
    start = 0
    for batch in batches:
        batch = batch.to(device)
        keypoints = found_points(net, batch, input_size, codec, device, amp)
        stop = start + len(keypoints)
        boxes = store.bboxes[start:stop]
        start = stop
        sides = boxes[:, 2:] - boxes[:, :2]
        width, height = input_size
        # The padded box fills the input, so one factor takes its pixels to the input's.
        zoom = width / (PADDING * np.maximum(sides[:, 0], sides[:, 1] * width / height))
        area = BOX_AREA_TO_PERSON * sides.prod(1) * zoom**2
        per_point.append(keypoint_similarity(keypoints, batch.keypoints.cpu().numpy(), area, skeleton.sigmas))
        labeled.append((batch.inside & (batch.weights > 0)).cpu().numpy())
    oks, mask = np.concatenate(per_point), np.concatenate(labeled)
    parts = {**skeleton.parts, "whole": (0, skeleton.num_keypoints)}
    return {part: _mean(oks[:, a:b], mask[:, a:b]) for part, (a, b) in parts.items()}


@torch.no_grad()
def found_points(
    net: nn.Module, batch: Batch, input_size: tuple[int, int], codec: SimCC, device: torch.device,
    amp: torch.dtype | None,
) -> np.ndarray:  # fmt: skip
    """Where the net finds the points [N, K, 2] of a batch that is on the device, in pixels of `input_size`."""
    with torch.autocast(device.type, amp, enabled=amp is not None):
        answer = net.eval()(normalize(batch.images))
    return _points(answer, codec, input_size)


def _points(answer: Tensor | Pair, codec: SimCC, input_size: tuple[int, int]) -> np.ndarray:
    """Points [N, K, 2] in pixels of `input_size` from SimCC vectors or heat maps."""
    if isinstance(answer, Tensor):
        # Quarter shift: Newell et al. 2016, §3.
        return Heatmap(input_size).decode(answer.float().contiguous().cpu().numpy())[0]
    x, y = (axis.float().cpu().numpy() for axis in answer)
    return codec.decode(x, y, score="min")[0] * (input_size[0] / codec.input_size[0])


def _mean(oks: np.ndarray, mask: np.ndarray) -> float:
    people = mask.any(1)
    if not people.any():
        return float("nan")
    return float(((oks * mask).sum(1)[people] / mask.sum(1)[people]).mean())
