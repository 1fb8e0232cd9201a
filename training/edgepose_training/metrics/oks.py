"""Object keypoint similarity, and the two things that rank people by it: instance scores and suppression.

Source: COCO keypoint evaluation and its whole-body extension; areas are the person's for every part, so OKS
of hands and faces is lenient in pixels for large people and only their small sigmas make up for it.
"""

from __future__ import annotations

import numpy as np

EPSILON = np.spacing(1.0)  # as in COCO's evaluation, so that values agree to the last digit


def keypoint_similarity(
    first: np.ndarray,  # [..., K, 2]
    second: np.ndarray,  # [..., K, 2]
    area: np.ndarray,  # [...] px², of the person
    sigmas: np.ndarray,  # [K]
) -> np.ndarray:
    """Similarity [..., K] of each point with its counterpart, float64: exp(−d² / (2 · (2σ)² · area))."""
    squared = ((np.asarray(first, np.float64) - np.asarray(second, np.float64)) ** 2).sum(-1)
    variances = (2 * np.asarray(sigmas, np.float64)) ** 2
    similarity: np.ndarray = np.exp(-squared / (variances * (np.asarray(area, np.float64)[..., None] + EPSILON) * 2))
    return similarity


def oks(
    predicted: np.ndarray,  # [N, K, 2]
    labeled: np.ndarray,  # [N, K, 2]
    visible: np.ndarray,  # [N, K] > 0 where labeled
    area: np.ndarray,  # [N] px², of the person
    sigmas: np.ndarray,  # [K]
) -> np.ndarray:
    """OKS [N] of each prediction with its own label, float64; NaN where a person has no labeled point."""
    similarity = keypoint_similarity(predicted, labeled, area, sigmas)
    labeled_points = np.asarray(visible) > 0
    count = labeled_points.sum(1)
    total = np.where(labeled_points, similarity, 0).sum(1)
    found: np.ndarray = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return found


def instance_scores(
    bbox_scores: np.ndarray,  # [N]
    keypoint_scores: np.ndarray,  # [N, K]
    threshold: float = 0.2,
) -> np.ndarray:
    """Ranking score [N] of people: box score × mean of the keypoint scores above `threshold` (0: none)."""
    keypoint_scores = np.asarray(keypoint_scores, np.float64)
    counted = keypoint_scores > threshold
    total = np.where(counted, keypoint_scores, 0).sum(1)
    scores: np.ndarray = np.asarray(bbox_scores, np.float64) * total / np.maximum(counted.sum(1), 1)
    return scores


def pairwise_oks(
    keypoints: np.ndarray,  # [N, K, 2]
    areas: np.ndarray,  # [N] px²
    sigmas: np.ndarray,  # [K]
) -> np.ndarray:
    """OKS [N, N] between predictions; every point counts, the scale is the mean of the two areas."""
    areas = np.asarray(areas, np.float64)
    mean_area = (areas[:, None] + areas[None]) / 2
    found: np.ndarray = keypoint_similarity(keypoints[:, None], keypoints[None], mean_area, sigmas).mean(-1)
    return found


def oks_nms(
    keypoints: np.ndarray,  # [N, K, 2]
    scores: np.ndarray,  # [N]
    areas: np.ndarray,  # [N] px²
    sigmas: np.ndarray,  # [K]
    threshold: float = 0.9,
) -> np.ndarray:
    """Indices kept, best first: who has OKS ≤ `threshold` with every better one that stayed."""
    similarity = pairwise_oks(keypoints, areas, sigmas)
    kept: list[int] = []
    for index in np.argsort(-np.asarray(scores), kind="stable"):
        if all(similarity[index, better] <= threshold for better in kept):
            kept.append(int(index))
    return np.array(kept, np.intp)


def soft_oks_nms(
    keypoints: np.ndarray,  # [N, K, 2]
    scores: np.ndarray,  # [N]
    areas: np.ndarray,  # [N] px²
    sigmas: np.ndarray,  # [K]
    threshold: float = 0.9,
    most: int = 20,
) -> tuple[np.ndarray, np.ndarray]:
    """Indices kept (at most `most`) and their scores, each × exp(−OKS²/threshold) per better one kept."""
    similarity = pairwise_oks(keypoints, areas, sigmas)
    remaining = np.array(scores, np.float64)
    kept, kept_scores = [], []
    for _ in range(min(most, len(remaining))):
        best = int(np.argmax(remaining))
        kept.append(best)
        kept_scores.append(remaining[best])
        remaining *= np.exp(-(similarity[best] ** 2) / threshold)
        remaining[kept] = -np.inf
    return np.array(kept, np.intp), np.array(kept_scores)
