"""Evaluation on a detector's boxes: detected people, matched to the labels by OKS."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgepose import EdgeposeError, Skeleton
from edgepose.boxes import iou_matrix
from edgepose_training.data.annotations import load_document, load_json
from edgepose_training.data.coco import Person
from edgepose_training.evaluation.coco_results import results_of
from edgepose_training.evaluation.labels import Labels, Predictions
from edgepose_training.evaluation.predictors import Predictor, frames
from edgepose_training.evaluation.summaries import part_slices, ranked
from edgepose_training.metrics.average_precision import AveragePrecision, Truth
from edgepose_training.metrics.bootstrap import statistic_estimate

PERSON_CATEGORY = 1
SAME_PERSON_IOU = 0.5
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


def unlabeled_people(annotations: Path, people: Sequence[Person]) -> dict[int, np.ndarray]:
    """Boxes [M, 4] xyxy of people that an image lists in `person_boxes` but that carry no points.

    A detector is right to find them: they are regions to ignore, not false alarms.
    """
    labeled: defaultdict[int, list[np.ndarray]] = defaultdict(list)
    for person in people:
        labeled[person.image_id].append(person.bbox)
    regions = {}
    for image in load_document(annotations)["images"]:
        boxes = np.array(image.get("person_boxes", []), np.float32).reshape(-1, 4)
        boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        if image["id"] in labeled and len(boxes):
            overlap = iou_matrix(boxes, np.stack(labeled[image["id"]])).max(1)
            regions[image["id"]] = boxes[overlap < SAME_PERSON_IOU]
    return regions


@dataclass(frozen=True)
class Found:
    """What a predictor answered in a detector's boxes, N of them."""

    image_id: np.ndarray  # [N]
    bbox: np.ndarray  # [N, 4] xyxy
    bbox_scores: np.ndarray  # [N]
    predictions: Predictions


def predict_boxes(predictor: Predictor, boxes: Boxes, people: Sequence[Person]) -> Found:
    """Answers in all boxes of the images that these people are in. Raises EdgeposeError when there is none."""
    image_ids, bboxes, bbox_scores, found = [], [], [], []
    for frame, group in frames(people):
        image = group[0].image_id
        if image not in boxes:
            continue
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
    people: Sequence[Person],
    skeleton: Skeleton,
    ignored: Mapping[int, np.ndarray],
    *,
    intervals: bool = True,
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """COCO's ten numbers by part on a detector's boxes, and the predictions as COCO-WholeBody results.

    With `intervals` also the 95 % bootstrap interval of AP over images. Raises EdgeposeError when the file has no box
    for any of the images.
    """
    found = predict_boxes(predictor, boxes, people)
    where = found.image_id, found.bbox, found.bbox_scores
    labels = Labels.of(people)
    stats = {}
    for part, points in part_slices(skeleton).items():
        detections = [detection for _, detection in ranked(*where, found.predictions, skeleton, points)]
        truths = _truths(labels, points) + _ignored(ignored, labels.keypoints[0, points].shape)
        measured = AveragePrecision(truths, detections, skeleton.sigmas[points])
        stats[part] = measured.stats | ({"AP_interval": ap_interval(measured)} if intervals else {})
    return stats, results_of(*where, found.predictions, skeleton)


def ap_interval(measured: AveragePrecision) -> tuple[float, float]:
    """95 % bootstrap interval of AP over images."""
    images = len(measured.images)
    estimate = statistic_estimate(measured.stats["AP"], images, images, measured.resampled)
    return estimate.low, estimate.high


def _truths(labels: Labels, points: slice) -> list[Truth]:
    rows = zip(
        labels.image_id,
        labels.bbox,
        labels.area,
        labels.keypoints[:, points],
        labels.visible[:, points],
        strict=True,
    )
    return [Truth(*row) for row in rows]


def _ignored(ignored: Mapping[int, np.ndarray], shape: tuple[int, ...]) -> list[Truth]:
    nothing = np.zeros(shape), np.zeros(shape[0])
    return [
        Truth(image, box, float((box[2:] - box[:2]).prod()), *nothing, crowd=True)
        for image, boxes in ignored.items()
        for box in boxes
    ]
