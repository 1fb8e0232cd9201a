"""Predictions as COCO-WholeBody result records, the file that other evaluators read."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgepose import Poses, Skeleton
from edgepose.formats import coco_wholebody_results
from edgepose_training.evaluation.labels import Predictions
from edgepose_training.evaluation.summaries import surviving


def results_of(
    image_id: np.ndarray,  # [N]
    bbox: np.ndarray,  # [N, 4] xyxy
    bbox_scores: np.ndarray,  # [N]
    predictions: Predictions,
    skeleton: Skeleton,
) -> list[dict[str, Any]]:
    """One record for each of the people that AP counts (`summaries.surviving`).

    Their order, and every digit, are kept: who evaluates the file gets the same AP.
    """
    people = surviving(image_id, bbox, bbox_scores, predictions, skeleton)
    rows = [n for n, _ in people]
    poses = Poses(
        keypoints=predictions.keypoints[rows],
        scores=predictions.scores[rows],
        bboxes=np.asarray(bbox)[rows],
        track_ids=np.full(len(rows), -1),
        bbox_scores=np.ones(len(rows), np.float32),
    )
    records = []
    for index, (n, score) in enumerate(people):
        (record,) = coco_wholebody_results(int(image_id[n]), poses[index], skeleton, digits=None)
        records.append({key: score if key.endswith("score") else value for key, value in record.items()})
    return records
