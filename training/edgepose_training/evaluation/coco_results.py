"""Predictions as COCO-WholeBody result records, the file that other evaluators read."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgepose import Poses, Skeleton
from edgepose.formats import coco_wholebody_results
from edgepose_training.evaluation.labels import Predictions
from edgepose_training.metrics.oks import instance_scores


def results_of(
    image_id: np.ndarray,  # [N]
    bbox: np.ndarray,  # [N, 4] xyxy
    bbox_scores: np.ndarray,  # [N]
    predictions: Predictions,
    skeleton: Skeleton,
) -> list[dict[str, Any]]:
    """One record a person, image by image, scored as in `summaries.ranked`; nobody is suppressed."""
    poses = Poses(
        keypoints=np.asarray(predictions.keypoints, np.float32),
        scores=np.asarray(predictions.scores, np.float32),
        bboxes=np.asarray(bbox, np.float32),
        track_ids=np.full(len(image_id), -1),
        bbox_scores=instance_scores(bbox_scores, predictions.scores).astype(np.float32),
    )
    records = []
    for image in dict.fromkeys(np.asarray(image_id).tolist()):
        records += coco_wholebody_results(image, poses[np.asarray(image_id) == image], skeleton)
    return records
