"""How CrowdPose, MPII and LSP are measured in the literature: `evaluate.py --protocol crowdpose|mpii|lsp`.

The model's own points are used by name. PCK leaves out joints that the model does not have (a whole-body
model has no neck) and says so; CrowdPose's AP needs all of its points.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgepose import EdgeposeError, Skeleton
from edgepose_training.data.annotations import load_document
from edgepose_training.data.coco import Person
from edgepose_training.data.readers import read_crowding, read_crowdpose, read_lsp, read_mpii
from edgepose_training.evaluation.detections import Boxes, Found, ap_interval, predict_boxes, read_boxes
from edgepose_training.evaluation.ignored import ignored_of, image_files
from edgepose_training.evaluation.labels import Labels, Predictions
from edgepose_training.evaluation.predictors import ModelPredictor, predict
from edgepose_training.evaluation.summaries import ranked
from edgepose_training.metrics import pck
from edgepose_training.metrics.average_precision import AveragePrecision, crowdpose_stats


def by_name(predictions: Predictions, model: Skeleton, wanted: Skeleton) -> tuple[Predictions, np.ndarray]:
    """The model's points in the order of another skeleton, and which of them [K] the model has at all."""
    known = np.array([name in model.keypoints for name in wanted.keypoints])
    index = [model.keypoints.index(name) if name in model.keypoints else 0 for name in wanted.keypoints]
    return Predictions(predictions.name, predictions.keypoints[:, index], predictions.scores[:, index]), known


def crowdpose(
    people: Sequence[Person],
    predictor: ModelPredictor,
    annotations: Path,
    images: Path,
    boxes: Boxes | None = None,
) -> dict[str, Any]:
    """AP, AR and AP by crowding, on the labels' boxes or a detector's; areas are 0.53 × the box, as in CrowdPose."""
    wanted = Skeleton.load("crowdpose14")
    document = load_document(annotations)
    ignored, files = ignored_of(document, people, wanted), image_files(document, images)
    if boxes is None:
        people, (raw,) = predict(people, [predictor])
        image_id, bbox = (np.array([getattr(person, name) for person in people]) for name in ("image_id", "bbox"))
        found = Found(image_id, bbox, np.ones(len(people)), raw)
    else:
        found = predict_boxes(predictor, boxes, files)
    predictions, known = by_name(found.predictions, predictor.skeleton, wanted)
    if not known.all():
        missing = ", ".join(np.array(wanted.keypoints)[~known])
        raise EdgeposeError(f"CrowdPose needs points that {predictor.name} does not have: {missing}.")
    labels = Labels.of(people)
    everything = slice(0, wanted.num_keypoints)
    measured = set(labels.image_id.tolist()) if boxes is None else set(files)
    truths = ignored.truths(labels, everything, labels.visible, np.arange(len(labels)), measured, body=True)
    candidates = ranked(found.image_id, found.bbox, found.bbox_scores, predictions, wanted, everything)
    detections = [detection for _, detection in candidates]
    stats = crowdpose_stats(truths, detections, wanted.sigmas, read_crowding(annotations))
    return stats | {"AP_interval": ap_interval(AveragePrecision(truths, detections, wanted.sigmas))}


def mpii(people: Sequence[Person], predictor: ModelPredictor) -> dict[str, Any]:
    """PCKh@0.5 and @0.1 by column with the weighted mean, and the area under the curve."""
    distances, image_ids, missing = _distances(people, predictor, Skeleton.load("mpii16"), "head")
    return {
        "PCKh@0.5": pck.mpii_pckh(distances, 0.5),
        "PCKh@0.1": pck.mpii_pckh(distances, 0.1),
        "PCKh@0.5_interval": pck.mpii_interval(distances, image_ids),
        "AUC": pck.mpii_auc(distances),
        "left_out": missing,
    }


def lsp(people: Sequence[Person], predictor: ModelPredictor) -> dict[str, Any]:
    """PCK@0.2 of the torso by joint, their plain mean, and the area under the curve."""
    wanted = Skeleton.load("lsp14")
    distances, image_ids, missing = _distances(people, predictor, wanted, "torso")
    by_joint = dict(zip(wanted.keypoints, pck.pck(distances, 0.2).tolist(), strict=True))
    return {
        "PCK@0.2": {name: value for name, value in by_joint.items() if name not in missing},
        "mean": pck.lsp_pck(distances),
        "mean_interval": pck.lsp_interval(distances, image_ids),
        "AUC": pck.lsp_auc(distances),
        "left_out": missing,
    }


def _distances(
    people: Sequence[Person], predictor: ModelPredictor, wanted: Skeleton, unit: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Distances [N, K] in heads or torsos, their images [N], and the names of points that the model does not have."""
    people, (raw,) = predict(people, [predictor])
    predictions, known = by_name(raw, predictor.skeleton, wanted)
    if not known.any():
        raise EdgeposeError(f"{predictor.name} has none of the points of {wanted.name}.")
    labels = Labels.of(people)
    if unit == "head":
        length = np.nan_to_num(pck.mpii_head_length(labels.part_boxes["head"]))
        if not length.any():
            raise EdgeposeError("PCKh is measured in heads: give the .mat with the head boxes as --head-boxes.")
    else:
        length = pck.torso_length(labels.keypoints, labels.visible)
    visible = labels.visible * known
    distances = pck.normalized_distances(predictions.keypoints, labels.keypoints, visible, length)
    return distances, labels.image_id, [name for name, has in zip(wanted.keypoints, known, strict=True) if not has]


def measure(
    protocol: str,
    predictor: ModelPredictor,
    annotations: Path,
    images: Path,
    *,
    boxes: Path | None = None,
    head_boxes: Path | None = None,
) -> dict[str, Any]:
    """The figures of `crowdpose`, `mpii` or `lsp`. Raises EdgeposeError.

    `boxes`: a detector's file instead of the labels' boxes, CrowdPose only; `head_boxes`: MPII's unit of length.
    """
    if protocol == "crowdpose":
        found = None if boxes is None else read_boxes(boxes)
        return crowdpose(read_crowdpose(annotations, images), predictor, annotations, images, found)
    if boxes is not None:
        raise EdgeposeError(f"--protocol {protocol} is measured in the boxes of its labels: leave --boxes out.")
    if protocol == "mpii":
        return mpii(read_mpii(annotations, images, head_boxes=head_boxes), predictor)
    return lsp(read_lsp(annotations, images, split="test"), predictor)
