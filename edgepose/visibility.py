"""Scores for the eye: what is drawn does not flicker, and a hand is there as a whole or not at all. numpy alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .skeletons import Skeleton
from .structures import Poses

Float = NDArray[np.float32]

_HANDS = ("lefthand", "righthand", "hand")
# What is shown stays until its score falls below this share of the threshold. A lower share flickers less and leaves
# more points standing that are not there: without any, 14 % of the demo's frames show a wrist beyond the photograph,
# 16 % at .85, 23 % at .7, with 51, 35 and 15 switches of body points.
KEEP = 0.85
KEEP_HAND = 0.7  # of a hand, whose mean score errs less, and whose 21 points flicker all together


class Visibility:
    """Fills `Poses.display_scores`, which decide what is drawn; the net's own scores stay as they are.

    Hysteresis for every threshold at once: the score shown follows the net's only where that leaves the band between it
    and ``1 / keep`` of it (the play operator of Preisach). A point then appears when its score reaches the threshold,
    whichever that is, and vanishes below ``keep`` of it. All points of a hand get the hand's mean.
    """

    def __init__(self, skeleton: Skeleton, keep: float = KEEP, keep_hand: float = KEEP_HAND) -> None:
        self._hands = [slice(*skeleton.parts[part]) for part in _HANDS if part in skeleton.parts]
        self._keep = np.full(skeleton.num_keypoints, keep, np.float32)
        for hand in self._hands:
            self._keep[hand] = keep_hand
        self._shown: dict[int, Float] = {}  # [K] by track

    def reset(self) -> None:
        """Forget everybody."""
        self._shown.clear()

    def __call__(self, poses: Poses) -> Poses:
        """The people with scores to draw them by; who is not tracked (id −1) has no past."""
        scores = poses.scores.copy()
        for hand in self._hands:
            scores[:, hand] = scores[:, hand].mean(axis=1, keepdims=True)
        for row, track in zip(scores, poses.track_ids.tolist(), strict=True):
            if track in self._shown:
                row[:] = np.maximum(row, np.minimum(self._shown[track], row / self._keep))
        self._shown = {track: row for track, row in zip(poses.track_ids.tolist(), scores, strict=True) if track >= 0}
        return replace(poses, display_scores=scores)
