"""Mean error of a part, normalized by the diagonal of the part's labeled box: faces (NME) and hands."""

from __future__ import annotations

import numpy as np


def box_diagonal(boxes: np.ndarray) -> np.ndarray:
    """Diagonal [N] in px of `boxes` [N, 4] xyxy."""
    boxes = np.asarray(boxes, np.float64)
    diagonal: np.ndarray = np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=-1)
    return diagonal


def normalized_error(
    predicted: np.ndarray,  # [N, K, 2]
    labeled: np.ndarray,  # [N, K, 2]
    visible: np.ndarray,  # [N, K] > 0 where labeled
    length: np.ndarray,  # [N] px > 0
    min_points: int = 1,
) -> np.ndarray:
    """Mean distance over the labeled points ÷ `length`, [N]; NaN for fewer than `min_points` of them."""
    mask = np.asarray(visible) > 0
    distances = np.linalg.norm(np.asarray(predicted, np.float64) - np.asarray(labeled, np.float64), axis=-1)
    count = mask.sum(1)
    enough = (count >= max(min_points, 1)) & (np.asarray(length) > 0)
    total = np.where(mask, distances, 0).sum(1)
    error: np.ndarray = np.divide(total, count * length, out=np.full(len(total), np.nan), where=enough)
    return error
