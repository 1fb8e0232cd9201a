"""Evaluation on a detector's boxes: detected people, matched to the labels by OKS."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgepose import EdgeposeError, Skeleton
from edgepose_training.data.annotations import load_json
from edgepose_training.evaluation.coco_results import results_of
from edgepose_training.evaluation.ignored import Ignored
from edgepose_training.evaluation.labels import Labels, Predictions
from edgepose_training.evaluation.predictors import Predictor, pictures
from edgepose_training.evaluation.summaries import is_body, part_slices, ranked
from edgepose_training.metrics.average_precision import AveragePrecision
from edgepose_training.metrics.bootstrap import statistic_estimate
from edgepose_training.progress import progress

PERSON_CATEGORY = 1
Boxes = dict[int, tuple[np.ndarray, np.ndarray]]  # image id → bboxes [M, 4] xyxy, scores [M]


def read_boxes(path: Path) -> Boxes:
    """A COCO detection file: a list of {image_id, category_id, bbox (xywh), score}. Raises EdgeposeError."""
    rows: defaultdict[int, list[list[float]]] = defaultdict(list)
    try:
        for entry in load_json(path):
            if entry.get("category_id", PERSON_CATEGORY) == PERSON_CATEGORY:
                x, y, w, h = entry["bbox"]
                rows[entry["image_id"]].append([x, y, x + w, y + h, entry["score"]])
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise EdgeposeError(f"{path}: expected a list of COCO detections (image_id, bbox, score).") from error
    tables = {image: np.array(found, np.float32) for image, found in rows.items()}
    return {image: (table[:, :4], table[:, 4]) for image, table in tables.items()}


@dataclass(frozen=True)
class Found:
    """What a predictor answered in a detector's boxes, N of them."""

    image_id: np.ndarray  # [N]
    bbox: np.ndarray  # [N, 4] xyxy
    bbox_scores: np.ndarray  # [N]
    predictions: Predictions


def predict_boxes(predictor: Predictor, boxes: Boxes, images: Mapping[int, Path]) -> Found:
    """Answers in all boxes of these images, by id. Raises EdgeposeError when there is none."""
    image_ids, bboxes, bbox_scores, found = [], [], [], []
    wanted = {image: path for image, path in images.items() if image in boxes}
    for image, frame in progress(pictures(wanted), "predict", len(wanted)):
        image_boxes, scores = boxes[image]
        image_ids += [image] * len(image_boxes)
        bboxes.append(image_boxes)
        bbox_scores.append(scores)
        found.append(predictor(frame, image_boxes))
    if not found:
        raise EdgeposeError("The detection file has no box for any of these images: check its image ids.")
    keypoints, scores = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    predictions = Predictions(predictor.name, keypoints, scores)
    return Found(np.array(image_ids), np.concatenate(bboxes), np.concatenate(bbox_scores), predictions)


def detector_stats(
    predictor: Predictor,
    boxes: Boxes,
    images: Mapping[int, Path],
    labels: Labels,
    skeleton: Skeleton,
    ignored: Ignored,
    *,
    intervals: bool = True,
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """COCO's ten numbers by part on a detector's boxes, and the predictions as COCO-WholeBody results.

    Detections in any of `images` count, as those without labels have false alarms too.
    With `intervals` also the 95 % bootstrap interval of AP over images. Raises EdgeposeError when the file has no box
    for any of the images.
    """
    found = predict_boxes(predictor, boxes, images)
    where = found.image_id, found.bbox, found.bbox_scores
    everyone = np.arange(len(labels))
    stats = {}
    slices = part_slices(skeleton)
    for part, points in progress(slices.items(), "figures", len(slices), "parts"):
        detections = [detection for _, detection in ranked(*where, found.predictions, skeleton, points)]
        body = is_body(points, skeleton)
        truths = ignored.truths(labels, points, labels.visible, everyone, images, body=body)
        measured = AveragePrecision(truths, detections, skeleton.sigmas[points])
        stats[part] = measured.stats | ({"AP_interval": ap_interval(measured)} if intervals else {})
    return stats, results_of(*where, found.predictions, skeleton)


def ap_interval(measured: AveragePrecision) -> tuple[float, float]:
    """95 % bootstrap interval of AP over images."""
    images = len(measured.images)
    estimate = statistic_estimate(measured.stats["AP"], images, images, measured.resampled)
    return estimate.low, estimate.high
