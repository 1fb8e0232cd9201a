"""Average precision of boxes by pycocotools, at one overlap, and the recall of people at a score."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepose.boxes import iou_matrix

OVERLAP = 0.5  # of a box that finds a person
IN_RANGE = [0.5, 1.5]  # COCO's range of areas, made to say whether a box counts: 1, or not: 0


@dataclass(frozen=True)
class BoxTruth:
    """Boxes xyxy of one image: people to find, and regions in which a box is neither right nor wrong."""

    people: np.ndarray  # [M, 4]
    ignored: np.ndarray  # [J, 4] crowd regions, as COCO has them
    smallest: float = 0.0  # px; a lower box that finds nobody is ignored as well, as COCO does with its size ranges


@dataclass(frozen=True)
class BoxMatches:
    """One image's boxes beside its truth."""

    boxes: np.ndarray  # [D, 4] xyxy
    scores: np.ndarray  # [D]
    truth: BoxTruth
    found: np.ndarray  # [M] score of the box that found each person; 0: nobody did


def match_boxes(boxes: np.ndarray, scores: np.ndarray, truth: BoxTruth) -> BoxMatches:
    """Best box first, each takes the free person it overlaps most; boxes [D, 4], scores [D]."""
    order = np.argsort(-scores, kind="stable")
    found = np.zeros(len(truth.people))
    for d, row in zip(order, iou_matrix(boxes[order], truth.people), strict=True):
        free = np.where(found == 0, row, -1)
        if len(free) and free.max() >= OVERLAP:
            found[free.argmax()] = scores[d]
    return BoxMatches(boxes, scores, truth, found)


def average_precision(matches: Sequence[BoxMatches]) -> float:
    """COCO's AP at an overlap of .5; NaN without people."""
    from pycocotools.cocoeval import COCOeval

    if not any(len(m.truth.people) for m in matches):
        return float("nan")
    truths, detections = [], []
    for image, m in enumerate(matches):
        truths += [_entry(image, box, iscrowd=0) for box in m.truth.people]
        truths += [_entry(image, box, iscrowd=1) for box in m.truth.ignored]
        high = m.boxes[:, 3] - m.boxes[:, 1] >= m.truth.smallest
        detections += [
            _entry(image, box, score=float(score), area=float(counts))
            for box, score, counts in zip(m.boxes, m.scores, high, strict=True)
        ]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress
        evaluation = COCOeval(_coco(truths, len(matches)), _coco(detections, len(matches)), "bbox")
        evaluation.params.iouThrs = np.array([OVERLAP])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [IN_RANGE], ["all"]
        evaluation.params.maxDets = [max(len(m.boxes) for m in matches)]
        evaluation.evaluate()
        evaluation.accumulate()
    return float(evaluation.eval["precision"].mean())


def recall(matches: Sequence[BoxMatches], threshold: float) -> float:
    """Share of people found by a box of at least that score; NaN without people."""
    found = np.concatenate([m.found for m in matches]) if matches else np.zeros(0)
    return float((found >= threshold).mean()) if len(found) else float("nan")


def _entry(image: int, box: np.ndarray, **more: Any) -> dict[str, Any]:
    left, top, right, bottom = box.tolist()
    xywh = [left, top, right - left, bottom - top]
    return {"image_id": image, "category_id": 1, "bbox": xywh, "area": 1.0, **more}


def _coco(entries: list[dict[str, Any]], images: int) -> Any:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": [{"id": image} for image in range(images)],
        "categories": [{"id": 1}],
        "annotations": [entry | {"id": number} for number, entry in enumerate(entries, 1)],
    }
    coco.createIndex()
    return coco
