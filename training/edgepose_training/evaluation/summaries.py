"""The figures of one predictor on labeled people; `tables.py` prints them.

Mean OKS of a part: the mean, over people with at least one labeled point of the part (v > 0), of OKS over
those labeled points, with the person's area as the file gives it. Unlabeled points never count. "body
(truth)" counts v = 2 points of the sources in which people labeled them: labels that no net made.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from edgepose.skeletons import Skeleton
from edgepose.transforms import bbox_to_center_scale
from edgepose_training.data.sources import NO_ROLES, SourceRoles
from edgepose_training.evaluation.ignored import NOTHING, Ignored
from edgepose_training.evaluation.labels import Labels, Predictions
from edgepose_training.metrics.average_precision import AveragePrecision, Detection
from edgepose_training.metrics.bootstrap import Estimate, mean_estimate, ratio_estimate, statistic_estimate
from edgepose_training.metrics.nme import box_diagonal, normalized_error
from edgepose_training.metrics.oks import instance_scores, oks, oks_nms
from edgepose_training.metrics.pck import normalized_distances, torso_length
from edgepose_training.progress import progress

BODY_TRUTH = "body (truth)"
MIN_HAND_POINTS = 18
TORSO = ("left_shoulder", "right_hip")
INPUT_ASPECT = 3 / 4


def part_slices(skeleton: Skeleton) -> dict[str, slice]:
    """Points of every row of the table: the skeleton's parts, and all of them where there are several."""
    slices = {part: slice(start, stop) for part, (start, stop) in skeleton.parts.items()}
    if len(slices) > 1:
        slices["wholebody"] = slice(0, skeleton.num_keypoints)
    return slices


def summarize(
    labels: Labels,
    predictions: Predictions,
    skeleton: Skeleton,
    roles: SourceRoles = NO_ROLES,
    *,
    ignored: Ignored = NOTHING,
    intervals: bool = True,
) -> dict[str, Any]:
    """All figures of one predictor, JSON-ready: `parts`, `sources`, and the special measures by name.

    `roles` says for which sources there are special measures; `ignored` what AP leaves out.
    """
    rows: dict[str, Any] = {}
    sources: dict[str, dict[str, Any]] = {str(source): {} for source in np.unique(labels.source)}
    everyone = np.ones(len(labels), bool)
    slices = part_slices(skeleton)
    for part, points in progress(slices.items(), f"figures of {predictions.name}", len(slices), "parts"):
        if predictions.parts is not None and part not in predictions.parts:
            continue
        similarity = part_oks(labels, predictions, skeleton, points, labels.visible)
        rows[part] = {
            "mean_oks": asdict(mean_estimate(similarity, labels.image_id)),
            **part_ap(
                labels, predictions, skeleton, points, labels.visible, everyone, ignored=ignored, intervals=intervals
            ),
        }
        for source, figures in sources.items():
            mine = labels.from_sources([source])
            measured = part_ap(
                labels, predictions, skeleton, points, labels.visible, mine, ignored=ignored, intervals=False
            )
            oks_of_source = asdict(mean_estimate(similarity[mine], labels.image_id[mine]))
            figures[part] = {"mean_oks": oks_of_source, "ap": measured["stats"]["AP"]}
    if "body" in rows:
        rows |= _body_truth(labels, predictions, skeleton, roles, ignored, intervals)
    return {"parts": rows, "sources": sources} | _special_measures(labels, predictions, skeleton, roles)


def part_oks(
    labels: Labels, predictions: Predictions, skeleton: Skeleton, points: slice, visible: np.ndarray
) -> np.ndarray:
    """OKS [N] over one part's points; NaN for a person without a label or a prediction of it."""
    return oks(
        predictions.keypoints[:, points],
        labels.keypoints[:, points],
        visible[:, points],
        labels.area,
        skeleton.sigmas[points],
    )


def part_ap(
    labels: Labels,
    predictions: Predictions,
    skeleton: Skeleton,
    points: slice,
    visible: np.ndarray,  # [N, K]
    people: np.ndarray,  # [N] bool
    *,
    ignored: Ignored = NOTHING,
    intervals: bool = True,
) -> dict[str, Any]:
    """AP of one part with its interval, and COCO's ten numbers. Ranking as in mmpose, see `ranked`."""
    images = set(labels.image_id[people].tolist())
    body = is_body(points, skeleton)
    truths = ignored.truths(labels, points, visible, np.flatnonzero(people), images, body=body)
    detections = [
        detection
        for n, detection in ranked(labels.image_id, labels.bbox, np.ones(len(labels)), predictions, skeleton, points)
        if people[n]
    ]
    measured = AveragePrecision(truths, detections, skeleton.sigmas[points])
    stats = measured.stats
    labeled = int((visible[people][:, points] > 0).any(1).sum())
    if intervals:
        estimate = statistic_estimate(stats["AP"], labeled, len(measured.images), measured.resampled)
    else:
        estimate = Estimate(stats["AP"], np.nan, np.nan, labeled)
    return {"ap": asdict(estimate), "stats": stats}


def is_body(points: slice, skeleton: Skeleton) -> bool:
    """Whether these are the points that COCO's `num_keypoints` and areas of detections are about: the first part's."""
    return points == slice(*next(iter(skeleton.parts.values())))


def surviving(
    image_id: np.ndarray,  # [N]
    bbox: np.ndarray,  # [N, 4] xyxy
    bbox_scores: np.ndarray,  # [N]
    predictions: Predictions,
    skeleton: Skeleton,
    points: slice = slice(None),
) -> list[tuple[int, float]]:
    """Row and score of every person with finite `points` that survives suppression, image by image, best first.

    Score: box score × mean of all keypoint scores above 0.2, the same for every part. People alike (OKS > 0.9
    over all points that are predicted, areas those of the padded crops, as in mmpose) are suppressed.
    """
    _, scale = bbox_to_center_scale(bbox, aspect=INPUT_ASPECT, padding=1.25)
    areas = scale.prod(1)
    scores = instance_scores(bbox_scores, predictions.scores)
    finite = np.isfinite(predictions.keypoints[:, points]).all((1, 2))
    predicted = np.zeros(skeleton.num_keypoints, bool)
    for part in predictions.parts or skeleton.parts:
        predicted[slice(*skeleton.parts[part])] = True
    people = []
    for image in np.unique(image_id):
        rows = np.flatnonzero((image_id == image) & finite)
        all_points = np.nan_to_num(predictions.keypoints[rows][:, predicted])
        kept = rows[oks_nms(all_points, scores[rows], areas[rows], skeleton.sigmas[predicted])]
        people += [(int(n), float(scores[n])) for n in kept]
    return people


def ranked(
    image_id: np.ndarray,  # [N]
    bbox: np.ndarray,  # [N, 4] xyxy
    bbox_scores: np.ndarray,  # [N]
    predictions: Predictions,
    skeleton: Skeleton,
    points: slice,
) -> list[tuple[int, Detection]]:
    """Row and detection of the `surviving` people. Their area is the extent of their body, as in pycocotools."""
    found = predictions.keypoints.astype(np.float64)
    extent = np.ptp(found[:, slice(*next(iter(skeleton.parts.values())))], axis=1).prod(1)
    areas = np.where(np.isfinite(extent), extent, np.ptp(found[:, points], axis=1).prod(1))
    return [
        (n, Detection(int(image_id[n]), score, float(areas[n]), predictions.keypoints[n, points]))
        for n, score in surviving(image_id, bbox, bbox_scores, predictions, skeleton, points)
    ]


def _body_truth(
    labels: Labels,
    predictions: Predictions,
    skeleton: Skeleton,
    roles: SourceRoles,
    ignored: Ignored,
    intervals: bool,
) -> dict[str, dict[str, Any]]:
    people = labels.from_sources(roles.body_truth)
    if not people.any():
        return {}
    points, truth = slice(*skeleton.parts["body"]), labels.truth_only()
    similarity = part_oks(labels, predictions, skeleton, points, truth)[people]
    row = {
        "mean_oks": asdict(mean_estimate(similarity, labels.image_id[people])),
        **part_ap(labels, predictions, skeleton, points, truth, people, ignored=ignored, intervals=intervals),
    }
    return {BODY_TRUTH: row}


def _special_measures(
    labels: Labels, predictions: Predictions, skeleton: Skeleton, roles: SourceRoles
) -> dict[str, Any]:
    known = set(predictions.parts or skeleton.parts) & set(skeleton.parts)
    measures: dict[str, Any] = {}
    if roles.torso_pck and "body" in known and set(TORSO) <= set(skeleton.keypoints):
        people = labels.from_sources(roles.torso_pck)
        measures["torso_pck20"] = asdict(torso_pck(labels, predictions, skeleton, people))
    if "face" in known:
        errors = face_errors(labels, predictions, skeleton)
        measures |= _with_sources("face_nme", errors, labels)
        if predictions.thresholds is not None:
            shown = np.where(shown_faces(labels, predictions, skeleton), errors, np.nan)
            measures |= _with_sources("face_nme_shown", shown, labels)
    if roles.webcam and {"lefthand", "righthand"} <= known:
        people = labels.from_sources(roles.webcam)
        measures["webcam_hand_error"] = asdict(hand_error(labels, predictions, skeleton, people))
    return measures


def _with_sources(name: str, errors: np.ndarray, labels: Labels) -> dict[str, Any]:
    """Mean of errors [N] over everybody who has one, as `name`, and source by source, as `name`_by_source."""
    by_source = {
        str(source): asdict(mean_estimate(errors[mine], labels.image_id[mine]))
        for source in np.unique(labels.source)
        if np.isfinite(errors[mine := labels.from_sources([source])]).any()
    }
    return {name: asdict(mean_estimate(errors, labels.image_id)), f"{name}_by_source": by_source}


def torso_pck(
    labels: Labels, predictions: Predictions, skeleton: Skeleton, people: np.ndarray, threshold: float = 0.2
) -> Estimate:
    """PCK over the v = 2 body points of `people` [N], by ‖left shoulder − right hip‖ where both are known."""
    points, truth = slice(*skeleton.parts["body"]), labels.truth_only()[people]
    shoulder, hip = (skeleton.keypoints.index(name) for name in TORSO)
    length = torso_length(labels.keypoints[people], truth, (shoulder, hip))
    distances = normalized_distances(
        predictions.keypoints[people][:, points],
        labels.keypoints[people][:, points],
        truth[:, points],
        length,
    )
    correct = (np.nan_to_num(distances, nan=np.inf) <= threshold).sum(1)
    return ratio_estimate(correct, np.isfinite(distances).sum(1), labels.image_id[people])


def face_errors(labels: Labels, predictions: Predictions, skeleton: Skeleton) -> np.ndarray:
    """Mean error of the labeled face points ÷ diagonal of the label's face box, [N]; NaN without one."""
    points = slice(*skeleton.parts["face"])
    return normalized_error(
        predictions.keypoints[:, points],
        labels.keypoints[:, points],
        labels.visible[:, points],
        np.nan_to_num(box_diagonal(labels.part_boxes["face"])),
    )


def shown_faces(labels: Labels, predictions: Predictions, skeleton: Skeleton) -> np.ndarray:
    """Whether at least half of a face's labeled points score as high as the model shows them, [N] bool."""
    assert predictions.thresholds is not None
    points = slice(*skeleton.parts["face"])
    labeled = labels.visible[:, points] > 0
    passing = (predictions.scores >= predictions.thresholds)[:, points]
    shown: np.ndarray = labeled.any(1) & (2 * (labeled & passing).sum(1) >= labeled.sum(1))
    return shown


def hand_error(labels: Labels, predictions: Predictions, skeleton: Skeleton, people: np.ndarray) -> Estimate:
    """Mean error ÷ diagonal of the label's hand box: hands of `people` [N] with ≥ 18 labeled points."""
    errors = []
    for part in ("lefthand", "righthand"):
        points = slice(*skeleton.parts[part])
        predicted, labeled = predictions.keypoints[people][:, points], labels.keypoints[people][:, points]
        length = np.nan_to_num(box_diagonal(labels.part_boxes[part][people]))
        visible = labels.visible[people][:, points]
        errors.append(normalized_error(predicted, labeled, visible, length, MIN_HAND_POINTS))
    return mean_estimate(np.concatenate(errors), np.tile(labels.image_id[people], 2))
