"""Points read off two-dimensional heat maps, alone and with the mirrored image's.

The convention is that of `edgepose.ops.heatmap_encode` and `heatmap_decode`: cell i of stride s is centered on pixel
s·i. SimpleBaseline, HRNet, FPD and mmpose use it, and it matches the centers of stacked 3×3 convolutions of stride 2.
It is not symmetric: a mirrored pixel W − 1 − p lies (s − 1)/s cells away from the mirrored cell.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from edgepose import ops

MIRRORED_OFFSET = 0.5  # px: how far to the right the points of `mirrored_mean` are


def decode_maps(maps: Tensor, input_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Points [N, K, 2] in pixels of `input_size` (W, H) and peaks [N, K] of heat maps [N, K, h, w].

    The highest cell, moved a quarter of a cell towards the higher of its two neighbors (Newell et al. 2016, §3).
    """
    return ops.heatmap_decode(maps.float().contiguous().cpu().numpy(), input_size=input_size, refine="quarter")


def mirrored_mean(maps: Tensor, mirrored: Tensor, swap: list[int]) -> Tensor:
    """Mean [N, K, h, w] of an image's maps and of its mirror image's, left and right points exchanged by `swap`.

    Turned back, the mirrored maps are moved by one cell, as SimpleBaseline does. That is 1/s of a cell too far, so the
    peak of the mean is half of it to the right of the point: `MIRRORED_OFFSET` pixels, whatever the stride.
    """
    back = mirrored.flip(-1)[:, swap]
    back[..., 1:] = back[..., :-1].clone()
    return (maps + back) / 2
