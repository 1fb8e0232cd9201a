"""Percentage of correct keypoints: PCK by torso (LSP), PCKh by head (MPII), and their areas under the curve.

Traps that this file answers, each with a test: MPII's head length is 0.6 × the diagonal of the head box;
"@0.1" is index 10 of a 0, 0.01, … sweep, not 11; a point at exactly the threshold counts; MPII's mean is
weighted by the number of labeled points and leaves out pelvis and thorax.
"""

from __future__ import annotations

import numpy as np

from edgepose_training.metrics.bootstrap import ratio_estimate, statistic_estimate

MPII_HEAD_FACTOR = 0.6
MPII_COLUMNS = {
    "head": (9,), "shoulder": (12, 13), "elbow": (11, 14), "wrist": (10, 15),
    "hip": (2, 3), "knee": (1, 4), "ankle": (0, 5),
}  # fmt: skip
MPII_LEFT_OUT = (6, 7)  # pelvis and thorax
LSP_TORSO = (9, 2)  # left shoulder, right hip
COCO_TORSO = (5, 12)  # the same two points in COCO's order
MPII_SWEEP = np.arange(51) / 100  # 0, 0.01, …, 0.5
LSP_SWEEP = np.arange(21) / 100  # 0, 0.01, …, 0.2


def normalized_distances(
    predicted: np.ndarray,  # [N, K, 2]
    labeled: np.ndarray,  # [N, K, 2]
    visible: np.ndarray,  # [N, K] > 0 where the point counts
    length: np.ndarray,  # [N] px; a person whose length is 0 or NaN has no measure
) -> np.ndarray:
    """Distances [N, K] in units of `length`, NaN where the point does not count."""
    length = np.asarray(length, np.float64)
    usable = (np.asarray(visible) > 0) & (np.nan_to_num(length) > 0)[:, None]
    distances = np.linalg.norm(np.asarray(predicted, np.float64) - np.asarray(labeled, np.float64), axis=-1)
    scale = np.where(usable, length[:, None], 1)
    return np.where(usable, distances / scale, np.nan)


def pck(distances: np.ndarray, threshold: float) -> np.ndarray:
    """Share [K] of labeled points with `distances` [N, K] ≤ `threshold`; NaN without labels."""
    labeled = np.isfinite(distances)
    count = labeled.sum(0)
    correct = (labeled & (np.nan_to_num(distances, nan=np.inf) <= threshold)).sum(0)
    share: np.ndarray = np.divide(correct, count, out=np.full(len(count), np.nan), where=count > 0)
    return share


def torso_length(
    labeled: np.ndarray,  # [N, K, 2]
    visible: np.ndarray,  # [N, K]
    pair: tuple[int, int] = LSP_TORSO,
) -> np.ndarray:
    """Distance [N] of left shoulder and right hip in px; NaN where one of them is not labeled."""
    first, second = pair
    length = np.linalg.norm(np.asarray(labeled, np.float64)[:, first] - labeled[:, second], axis=-1)
    known = (np.asarray(visible)[:, pair] > 0).all(1)
    return np.where(known, length, np.nan)


def mpii_head_length(head_boxes: np.ndarray) -> np.ndarray:
    """PCKh's unit [N] in px of `head_boxes` [N, 4] xyxy: 0.6 × the diagonal."""
    boxes = np.asarray(head_boxes, np.float64)
    length: np.ndarray = MPII_HEAD_FACTOR * np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=-1)
    return length


def mpii_pckh(distances: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """MPII's table in [0, 1] from `distances` [N, 16] in units of `mpii_head_length`.

    Seven columns and the mean: a column of two joints is the plain mean of both; `mean` is weighted by the
    number of labeled points.
    """
    by_joint = pck(distances, threshold)
    table = {name: float(np.mean(by_joint[list(joints)])) for name, joints in MPII_COLUMNS.items()}
    counted = np.setdiff1d(np.arange(distances.shape[1]), MPII_LEFT_OUT)
    labeled = np.isfinite(distances[:, counted])
    correct = labeled & (np.nan_to_num(distances[:, counted], nan=np.inf) <= threshold)
    return table | {"mean": float(correct.sum() / max(labeled.sum(), 1))}


def mpii_interval(distances: np.ndarray, image_ids: np.ndarray, threshold: float = 0.5) -> tuple[float, float]:
    """95 % bootstrap interval over images of MPII's mean PCKh."""
    counted = np.setdiff1d(np.arange(distances.shape[1]), MPII_LEFT_OUT)
    correct = (np.nan_to_num(distances[:, counted], nan=np.inf) <= threshold).sum(1)
    estimate = ratio_estimate(correct, np.isfinite(distances[:, counted]).sum(1), image_ids)
    return estimate.low, estimate.high


def mpii_auc(distances: np.ndarray) -> float:
    """Mean over the sweep 0 … 0.5 of MPII's mean PCKh."""
    return float(np.mean([mpii_pckh(distances, threshold)["mean"] for threshold in MPII_SWEEP]))


def lsp_pck(distances: np.ndarray, threshold: float = 0.2) -> float:
    """Plain mean over the joints of PCK from `normalized_distances` [N, K] by `torso_length`."""
    return float(np.nanmean(pck(distances, threshold)))


def lsp_auc(distances: np.ndarray) -> float:
    """Mean over the sweep 0 … 0.2 of LSP's mean PCK."""
    return float(np.mean([lsp_pck(distances, threshold) for threshold in LSP_SWEEP]))


def lsp_interval(distances: np.ndarray, image_ids: np.ndarray, threshold: float = 0.2) -> tuple[float, float]:
    """95 % bootstrap interval over images of LSP's mean PCK."""
    images, image = np.unique(image_ids, return_inverse=True)
    labeled = np.isfinite(distances)
    correct = np.nan_to_num(distances, nan=np.inf) <= threshold

    def resampled(draw: np.ndarray) -> float:
        weights = draw[image]
        counts = weights @ labeled
        shares = np.divide(weights @ correct, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        return float(np.nanmean(shares)) if (counts > 0).any() else float("nan")

    estimate = statistic_estimate(lsp_pck(distances, threshold), len(distances), len(images), resampled)
    return estimate.low, estimate.high
