"""Points read off two-dimensional heat maps, alone and with the mirrored image's.

The convention is that of `edgepose.ops.heatmap_encode` and `heatmap_decode`: cell i of stride s is centered on pixel
s·i. SimpleBaseline, HRNet, FPD and mmpose use it, and it matches the centers of stacked 3×3 convolutions of stride 2.
It is not symmetric: a mirrored pixel W − 1 − p lies (s − 1)/s cells away from the mirrored cell.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from edgepose import ops

CELLS = "corners"  # this convention, as checkpoints name it; "centers" is the former one: pixel s·(i + ½) − ½


def decode_maps(maps: Tensor, input_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Points [N, K, 2] in pixels of `input_size` (W, H) and peaks [N, K] of heat maps [N, K, h, w].

    The highest cell, moved a quarter of a cell towards the higher of its two neighbors (Newell et al. 2016, §3).
    """
    return ops.heatmap_decode(maps.float().contiguous().cpu().numpy(), input_size=input_size, refine="quarter")


def mirrored_mean(maps: Tensor, mirrored: Tensor, swap: list[int], cells: str = CELLS) -> Tensor:
    """Mean [N, K, h, w] of an image's maps and of its mirror image's, left and right points exchanged by `swap`.

    Turned back, the mirrored maps are moved by one cell, as SimpleBaseline does; those of the former convention lie
    right as they are.
    """
    back = mirrored.flip(-1)[:, swap]
    if cells == CELLS:
        back[..., 1:] = back[..., :-1].clone()
    return (maps + back) / 2


def points_offset(maps: Tensor, input_size: tuple[int, int], cells: str = CELLS, *, flip: bool) -> np.ndarray:
    """Pixels [2] to add to the points of `decode_maps`.

    A net of the former convention answers half a cell less half a pixel further up and left. In this one, the move by
    one cell of `mirrored_mean` is 1/s of a cell too far, so the peak of the mean lies half a pixel to the right.
    """
    if cells != CELLS:
        return np.full(2, (input_size[0] / maps.shape[-1] - 1) / 2, np.float32)
    return np.array([-0.5 if flip else 0.0, 0.0], np.float32)
