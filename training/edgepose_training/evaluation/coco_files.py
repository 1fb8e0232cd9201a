"""COCO-WholeBody annotation and result files, turned into what `average_precision` takes, part by part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edgepose_training.data.coco import BOX_AREA_TO_PERSON, PART_FIELDS
from edgepose_training.metrics.average_precision import AveragePrecision, Detection, Truth

RESULT_SCORES = {part: "score" if part == "body" else f"{part}_score" for part in (*PART_FIELDS, "wholebody")}


def part_points(entry: Mapping[str, Any], part: str) -> np.ndarray:
    """Points [K, 3] of one part, or of all parts in order ("wholebody"), of an annotation or a result."""
    parts = PART_FIELDS if part == "wholebody" else (part,)
    points = [np.asarray(entry[PART_FIELDS[name][0]], np.float64).reshape(-1, 3) for name in parts]
    return np.concatenate(points)


def truths_of(annotations: Iterable[Mapping[str, Any]], part: str = "body", *, use_area: bool = True) -> list[Truth]:
    """Labeled people of a COCO file. `use_area=False` (CrowdPose) takes 0.53 × the box for the area."""
    truths = []
    for entry in annotations:
        x, y, w, h = entry["bbox"]
        points = part_points(entry, part)
        area = entry["area"] if use_area else BOX_AREA_TO_PERSON * w * h
        bbox = np.array([x, y, x + w, y + h], np.float64)
        crowd = bool(entry.get("iscrowd", 0))
        truths.append(Truth(entry["image_id"], bbox, area, points[:, :2], points[:, 2], crowd))
    return truths


def detections_of(results: Iterable[Mapping[str, Any]], part: str = "body") -> list[Detection]:
    """Predicted people of a results file, ranked by the part's own score where the file has one.

    One whose third values are all ≤ 0 for the part is dropped. Its area is the extent of its body points: the
    same for every part, as a hand's extent would put every person into the smallest size range.
    """
    detections = []
    for entry in results:
        points = part_points(entry, part)
        if not (points[:, 2] > 0).any():
            continue
        area = float(np.ptp(part_points(entry, "body")[:, :2], axis=0).prod())
        score = float(entry.get(RESULT_SCORES[part], entry["score"]))
        detections.append(Detection(entry["image_id"], score, area, points[:, :2]))
    return detections


def part_stats(
    annotations: Iterable[Mapping[str, Any]],
    results: Iterable[Mapping[str, Any]],
    part: str,
    sigmas: np.ndarray,
) -> dict[str, float]:
    """COCO's ten numbers for one part of two loaded files; `sigmas` [K] are the part's."""
    return AveragePrecision(truths_of(annotations, part), detections_of(results, part), sigmas).stats
