"""Predictions as COCO-WholeBody result records, the file that other evaluators read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from edgepose_training.datasets import PART_FIELDS
from edgepose_training.labels import Predictions
from edgepose_training.metrics.coco_files import RESULT_SCORES
from edgepose_training.metrics.oks import instance_scores

from edgepose.skeletons import Skeleton


def results_of(
    image_ids: Sequence[int],
    bboxes: np.ndarray,  # [N, 4] xyxy
    bbox_scores: np.ndarray,  # [N]
    predictions: Predictions,
    skeleton: Skeleton,
) -> list[dict[str, Any]]:
    """One record a person; every part carries the person's one score, as mmpose writes it."""
    scores = instance_scores(bbox_scores, predictions.scores)
    parts = {part: points for part, points in skeleton.parts.items() if part in PART_FIELDS}
    records = []
    for n, image_id in enumerate(image_ids):
        x1, y1, x2, y2 = (round(float(value), 2) for value in bboxes[n])
        record: dict[str, Any] = {
            "image_id": int(image_id),
            "category_id": 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
        }
        for part, (start, stop) in parts.items():
            triples = np.column_stack([predictions.keypoints[n], predictions.scores[n]])[start:stop]
            record[PART_FIELDS[part][0]] = np.round(triples.astype(np.float64), 3).ravel().tolist()
            record[RESULT_SCORES[part]] = float(scores[n])
        record["score"] = record["wholebody_score"] = float(scores[n])
        records.append(record)
    return records
