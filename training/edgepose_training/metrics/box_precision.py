"""Average precision and recall of boxes, by COCO's protocol at one overlap (pycocotools is the test's oracle)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgepose.boxes import iou_matrix

RECALLS = np.linspace(0, 1, 101)  # where COCO reads the curve


@dataclass(frozen=True)
class BoxTruth:
    """Boxes xyxy of one image: people to find, and regions in which a box is neither right nor wrong."""

    people: np.ndarray  # [M, 4]
    ignored: np.ndarray  # [J, 4]
    smallest: float = 0.0  # px; a lower box that finds nobody is ignored as well, as COCO does with its size ranges


@dataclass(frozen=True)
class BoxMatches:
    """What one image's boxes [D] found."""

    scores: np.ndarray  # [D], best first
    hit: np.ndarray  # [D] bool
    counted: np.ndarray  # [D] bool: neither on an ignored region nor too small
    found: np.ndarray  # [M] score of the box that found each person; 0: nobody did


def match_boxes(boxes: np.ndarray, scores: np.ndarray, truth: BoxTruth, iou: float = 0.5) -> BoxMatches:
    """Best box first, each takes the free person it overlaps most; boxes [D, 4], scores [D]."""
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    overlaps = iou_matrix(boxes, truth.people)
    found = np.zeros(len(truth.people))
    hit = np.zeros(len(boxes), bool)
    for d, row in enumerate(overlaps):
        free = np.where(found == 0, row, -1)
        if len(free) and free.max() >= iou:
            found[free.argmax()], hit[d] = scores[d], True
    low = boxes[:, 3] - boxes[:, 1] < truth.smallest
    on_ignored = (share_inside(boxes, truth.ignored) >= iou).any(axis=1)
    return BoxMatches(scores, hit, hit | ~(low | on_ignored), found)


def share_inside(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:  # [D, 4], [J, 4] -> [D, J]
    """Share of each box that lies in each region."""
    low = np.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.clip(high - low, 0, None).prod(axis=2) / np.maximum(areas, 1e-6)[:, None]


def average_precision(matches: Sequence[BoxMatches]) -> float:
    """Mean over 101 recalls of the highest precision at that recall or beyond; NaN without people."""
    people = sum(len(m.found) for m in matches)
    if not people:
        return float("nan")
    scores = np.concatenate([m.scores[m.counted] for m in matches])
    hits = np.concatenate([m.hit[m.counted] for m in matches])[np.argsort(-scores, kind="stable")]
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(envelope[np.searchsorted(right / people, RECALLS)].mean())


def recall(matches: Sequence[BoxMatches], threshold: float) -> float:
    """Share of people found by a box of at least that score; NaN without people."""
    found = np.concatenate([m.found for m in matches]) if matches else np.zeros(0)
    return float((found >= threshold).mean()) if len(found) else float("nan")
