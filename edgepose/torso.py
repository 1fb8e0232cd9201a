"""Which way up a person is, by shoulders and hips. numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .skeletons import Skeleton

Float = NDArray[np.float32]

UPRIGHT = 45.0  # degrees that a person may lean before the crop is turned: pose nets are trained with leaning people
HOLD = 15.0  # degrees by which a turned crop may be off: one that trembles makes every point in it tremble
_NAMES = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


class Torso:
    """The rotation of people in a skeleton; 0 for all of them where it has no shoulders and hips."""

    def __init__(self, skeleton: Skeleton) -> None:
        names = list(skeleton.keypoints)
        known = all(name in names for name in _NAMES)
        self._points = [names.index(name) for name in _NAMES] if known else []

    @property
    def known(self) -> bool:
        """Whether the skeleton has shoulders and hips."""
        return bool(self._points)

    def rotation(self, points: Float, seen: NDArray[np.bool_], before: float = 0.0) -> float:  # [K, 2], [K]
        """Degrees, clockwise on screen, by which the person is turned from upright; ``before``: in the last frame.

        It stays as it was where a shoulder or a hip is not seen.
        """
        if not self._points or not seen[self._points].all():
            return before
        left, right, hips = points[self._points[0]], points[self._points[1]], points[self._points[2:]]
        x, y = (left + right) / 2 - hips.mean(axis=0)
        now = float(np.degrees(np.arctan2(x, -y)))
        if abs(now) < (UPRIGHT - HOLD if before else UPRIGHT):  # at the border it does not turn to and fro
            return 0.0
        return before if before and abs((now - before + 180) % 360 - 180) < HOLD else now


def turned_boxes(bboxes: Float, rotations: Float) -> Float:  # [N, 4] xyxy, [N] degrees -> [N, 4]
    """Boxes around the same centers that hold the old ones in axes turned by so much."""
    cos, sin = np.abs(np.cos(np.deg2rad(rotations))), np.abs(np.sin(np.deg2rad(rotations)))
    center, (w, h) = (bboxes[:, :2] + bboxes[:, 2:]) / 2, (bboxes[:, 2:] - bboxes[:, :2]).T
    half = np.stack([w * cos + h * sin, w * sin + h * cos], axis=1) / 2
    return np.concatenate([center - half, center + half], axis=1).astype(np.float32)
