"""Two-dimensional heat maps: labels, and points read off them.

Cell i of stride s covers the pixels s·i … s·i + s − 1; its center lies at (i + ½)·s − ½. (Public code sets cell i
at s·i, half a cell off, and gets away with it as long as it does so on both ways.)
"""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_maps(keypoints: Tensor, size: tuple[int, int], stride: int, sigma: float) -> Tensor:
    """Gaussians of peak 1 at `keypoints` [N, K, 2] (input pixels), [N, K, h, w]; `size` is (h, w), `sigma` in cells."""
    axes = []
    for axis, cells in ((1, size[0]), (0, size[1])):
        centers = (torch.arange(cells, device=keypoints.device) + 0.5) * stride - 0.5
        z = (centers - keypoints[..., axis, None]) / (sigma * stride)
        axes.append(torch.exp(-0.5 * z.square()))
    return axes[0].unsqueeze(-1) * axes[1].unsqueeze(-2)


def decode_maps(maps: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Points [N, K, 2] in input pixels and peaks [N, K] of heat maps [N, K, h, w].

    The highest cell, moved a quarter of a cell towards the higher of its two neighbors (Newell et al. 2016, §3).
    """
    height, width = maps.shape[-2:]
    peak, index = maps.float().flatten(2).max(-1)
    row, column = index // width, index % width
    flat = maps.float().flatten(2)

    def at(r: Tensor, c: Tensor) -> Tensor:
        cell = r.clamp(0, height - 1) * width + c.clamp(0, width - 1)
        return flat.gather(2, cell[..., None])[..., 0]

    right = torch.sign(at(row, column + 1) - at(row, column - 1))
    down = torch.sign(at(row + 1, column) - at(row - 1, column))
    cells = torch.stack((column + 0.25 * right, row + 0.25 * down), -1)
    return (cells + 0.5) * stride - 0.5, peak
