"""crop_normalize in plain numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]


def _bilinear(frame: Floats, x: Floats, y: Floats) -> Floats:  # [H, W, C], [...], [...] → [..., C]
    """Values between pixels; everything outside the frame is 0."""
    height, width = frame.shape[:2]
    left, top = np.floor(x), np.floor(y)
    total = np.zeros((*x.shape, frame.shape[2]))
    for dy in (0, 1):
        for dx in (0, 1):
            tx, ty = left + dx, top + dy
            inside = (tx >= 0) & (tx < width) & (ty >= 0) & (ty < height)
            share = (1 - abs(x - tx)) * (1 - abs(y - ty)) * inside
            pixels = frame[np.where(inside, ty, 0).astype(int), np.where(inside, tx, 0).astype(int)]
            total += share[..., None] * pixels
    return total


def crop_normalize(
    frame: Floats,  # [H, W, 3] uint8, BGR
    affine: Floats,  # [N, 2, 3] frame → crop
    *,
    input_size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    channel_order: str = "rgb",
    out: Floats | None = None,
) -> Floats:
    width, height = input_size
    grid = np.stack([*np.meshgrid(np.arange(width), np.arange(height)), np.ones((height, width))])  # x, y, 1
    crops = np.zeros((len(affine), 3, height, width), np.float32) if out is None else out
    for crop, matrix in zip(crops, np.asarray(affine, np.float64), strict=True):
        values = np.zeros((height, width, 3))
        if np.linalg.det(matrix[:, :2]) != 0:
            inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
            values = _bilinear(frame, *np.einsum("ij,jhw->ihw", inverse, grid))
        values = values[..., ::-1] if channel_order == "rgb" else values
        crop[...] = ((values - np.asarray(mean)) / np.asarray(std)).transpose(2, 0, 1)
    return crops
