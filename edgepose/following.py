"""Which of the people in sight are reported. numpy alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .structures import Poses

Float = NDArray[np.float32]

WHOM = ("all", "largest", "center")
_CLEARLY = 1.3  # factor by which somebody else must be larger, or nearer to the center, to take over


class Following:
    """Everybody, one chosen person, or one id.

    Whoever was chosen stays it while in sight, until somebody else is clearly larger, or clearly nearer to the center:
    two people of about the same size do not take turns.
    """

    def __init__(self, whom: str | int = "all") -> None:
        self._whom = whom
        self._chosen = -1  # track id

    def reset(self) -> None:
        """Forget who was chosen."""
        self._chosen = -1

    def __call__(self, poses: Poses, size: tuple[int, int]) -> Poses:
        """Those who are followed, of the people in a frame of ``size`` (W, H); nobody while they are out of sight."""
        if self._whom == "all" or not len(poses):
            return poses
        if isinstance(self._whom, int):
            return poses[poses.track_ids == self._whom]
        worth = _worth(poses.bboxes, size, self._whom)
        best = int(worth.argmax())
        mine = np.flatnonzero((poses.track_ids == self._chosen) & (self._chosen >= 0))
        if len(mine) and worth[mine[0]] * _CLEARLY > worth[best]:
            best = int(mine[0])
        self._chosen = int(poses.track_ids[best])
        return poses[best]


def _worth(bboxes: Float, size: tuple[int, int], whom: str) -> Float:  # [N, 4] -> [N]
    """Side of a square of the box's area, or one over the distance from the center, both in px."""
    if whom == "largest":
        return np.asarray(np.sqrt(np.prod(np.maximum(bboxes[:, 2:] - bboxes[:, :2], 0), axis=1)), np.float32)
    apart = np.linalg.norm((bboxes[:, :2] + bboxes[:, 2:] - np.array(size)) / 2, axis=1)
    return np.asarray(1 / np.maximum(apart, 1), np.float32)


def moved(poses: Poses, by: Float) -> Poses:  # [2] px
    """The people, shifted: from the pixels of a part of the frame to those of the frame."""
    if not by.any():
        return poses
    return replace(poses, keypoints=poses.keypoints + by, bboxes=poses.bboxes + np.tile(by, 2))
