"""Whether what a detector and a pose net see in the same place is a person. numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .boxes import extent, iou_matrix
from .structures import Poses

Float = NDArray[np.float32]
FEATURES = ("detection", "pose", "points", "height", "overlap")


@dataclass(frozen=True)
class PersonRule:
    """Logistic regression on five numbers that both nets give about a place.

    Neither net decides well alone: a detector is sure of posts and coats, a pose net finds faint points in them.
    Together they may believe a weak detection with a clear pose, and doubt a sure one without. The weights stand in
    no model card, because they hold for a pair of nets: edgepose-det with a pose net whose scores are calibrated.
    `training/evaluate_app.py --fit` makes them anew for another pair.
    """

    lowest_detection: float = 0.2  # score from which the pose net is asked: lower costs crops and finds nobody new
    bias: float = -2.74
    detection: float = 2.55  # × logit of the detector's score
    pose: float = 7.84  # × mean score of all points, calibrated: the share of them that is right
    points: float = 1.83  # × share of the points that reach their thresholds inside the frame
    height: float = -3.12  # × height of the box / height of the frame
    overlap: float = 3.34  # × IoU of the box and the extent of all points: a pose that is none gathers in a corner
    sure: float = 0.8  # probability from which one look is enough: no empty scene of the fit reached it

    def probability(self, features: Float) -> Float:  # [N, 5] -> [N]
        """How likely each is a person, from `person_features`."""
        logit = self.bias + features @ np.array([getattr(self, name) for name in FEATURES], np.float32)
        return np.asarray(1 / (1 + np.exp(-np.clip(logit, -30, 30))), np.float32)


def person_features(
    detections: Float,  # [N] the detector's scores
    poses: Poses,
    confident: NDArray[np.bool_],  # [N, K] points that reach their thresholds inside the frame
    frame_height: int,  # px
) -> Float:  # [N, 5]
    """The numbers that `PersonRule` weighs, in the order of `FEATURES`."""
    p = np.clip(detections, 1e-4, 1 - 1e-4)
    height = (poses.bboxes[:, 3] - poses.bboxes[:, 1]) / frame_height
    around = extent(poses.keypoints, np.ones_like(confident))
    overlap = np.diagonal(iou_matrix(around, poses.bboxes))
    columns = [np.log(p / (1 - p)), poses.scores.mean(axis=1), confident.mean(axis=1), height, overlap]
    return np.stack(columns, axis=1).astype(np.float32)
