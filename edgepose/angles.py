"""Angles of joints, as seen in the image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .skeletons import Skeleton
from .structures import Poses

# The joint ← the points between which it bends, of one side.
_BENDS = {
    "shoulder": ("hip", "elbow"),
    "elbow": ("shoulder", "wrist"),
    "wrist": ("elbow", "middle_finger1"),
    "hip": ("shoulder", "knee"),
    "knee": ("hip", "ankle"),
    "ankle": ("knee", "big_toe"),
}


def joints(skeleton: Skeleton) -> dict[str, tuple[int, int, int]]:
    """The joints that a skeleton has the points for → indices of (one end, the joint, the other end)."""
    index = {name: k for k, name in enumerate(skeleton.keypoints)}
    found = {}
    for side in ("left", "right"):
        for joint, (one, other) in _BENDS.items():
            names = [f"{side}_{name}" for name in (one, joint, other)]
            if all(name in index for name in names):
                found[names[1]] = (index[names[0]], index[names[1]], index[names[2]])
    return found


def joint_angles(poses: Poses, skeleton: Skeleton, found: NDArray[np.bool_]) -> Mapping[str, NDArray[np.float64]]:
    """The angle at each joint, between the two limbs that meet there: joint → [N] degrees, 0 folded, 180 straight.

    It is the angle in the image, so that of the body only where the limbs lie in a plane parallel to it. ``found``
    [N, K]: which points count; NaN where one of the three does not, or where two of them coincide.
    """
    xy = np.where(found[..., None], poses.keypoints.astype(np.float64), np.nan)  # [N, K, 2]
    return {name: _angle(xy[:, a] - xy[:, b], xy[:, c] - xy[:, b]) for name, (a, b, c) in joints(skeleton).items()}


def _angle(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:  # [N, 2], [N, 2] -> [N] degrees
    cross = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    dot = (u * v).sum(axis=1)
    angle = np.degrees(np.arctan2(np.abs(cross), dot))  # exact for small and large angles, which arccos is not
    return np.where((cross == 0) & (dot == 0), np.nan, angle)
