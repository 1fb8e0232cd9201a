"""Quick mean OKS of a net on plain crops, for the training log; `evaluate.py` is the measurement that counts."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from edgepose.codecs import SimCC
from edgepose.skeletons import Skeleton
from edgepose_training.data import Batch, Crops, normalise


@torch.no_grad()
def mean_oks(
    net: nn.Module,
    batches: DataLoader[Batch],
    crops: Crops,
    codec: SimCC,
    skeleton: Skeleton,
    device: torch.device,
    amp: torch.dtype | None,
) -> dict[str, float]:
    """Mean OKS per part over people with a labelled point of it in the picture; "whole" is over all points.

    The person's area is 0.53·w·h of the box, as COCO-style sets without masks have it.
    """
    net.eval()
    per_point, labelled = [], []
    scale = codec.input_size[0] / crops.input_size[0]
    start = 0
    for batch in batches:
        batch = batch.to(device)
        with torch.autocast(device.type, amp, enabled=amp is not None):
            simcc_x, simcc_y = net(normalise(batch.images))
        keypoints, _ = codec.decode(simcc_x.float().cpu().numpy(), simcc_y.float().cpu().numpy(), score="min")
        stop = start + len(keypoints)
        boxes = crops.store.bboxes[start:stop]
        start = stop
        sides = boxes[:, 2:] - boxes[:, :2]
        width, height = codec.input_size
        # The padded box fills the input, so one factor takes its pixels to the input's.
        zoom = width / (1.25 * np.maximum(sides[:, 0], sides[:, 1] * width / height))
        area = 0.53 * sides.prod(1) * zoom**2
        error = np.square(keypoints - batch.keypoints.cpu().numpy() * scale).sum(-1)
        per_point.append(np.exp(-error / (2 * (2 * skeleton.sigmas) ** 2 * area[:, None])))
        labelled.append((batch.inside & (batch.weights > 0)).cpu().numpy())
    oks, mask = np.concatenate(per_point), np.concatenate(labelled)
    parts = {**skeleton.parts, "whole": (0, skeleton.num_keypoints)}
    return {part: _mean(oks[:, a:b], mask[:, a:b]) for part, (a, b) in parts.items()}


def _mean(oks: np.ndarray, mask: np.ndarray) -> float:
    people = mask.any(1)
    if not people.any():
        return float("nan")
    return float(((oks * mask).sum(1)[people] / mask.sum(1)[people]).mean())
