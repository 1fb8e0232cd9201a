"""What is seen on top of an image: the poses, filtered, scaled and mirrored for the eye alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose import ModelCard, Poses, Skeleton, draw_poses

# What the user switches → the parts of the skeleton that it covers.
GROUPS = {"body": ("body", "foot"), "face": ("face",), "hands": ("lefthand", "righthand")}
DEFAULT_THRESHOLD = 0.3


@dataclass(frozen=True)
class OverlayOptions:
    """How poses are shown. None of it reaches the network or the files with coordinates."""

    threshold: float | None = None  # scores below are not drawn; None: the model's own, by part
    mirror: bool = False
    hidden: frozenset[str] = frozenset()  # of GROUPS
    bboxes: bool = False  # with ids
    black: bool = False  # on black instead of the image


@dataclass(frozen=True, eq=False)
class SkeletonStyle:
    """What the overlay needs to know of the model: its points, and which scores are worth showing."""

    skeleton: Skeleton
    thresholds: Mapping[str, float]  # by part

    @classmethod
    def of(cls, card: ModelCard, skeleton: Skeleton) -> SkeletonStyle:
        """The thresholds of the model's card, DEFAULT_THRESHOLD where it says nothing."""
        return cls(skeleton, {part: card.thresholds.get(part, DEFAULT_THRESHOLD) for part in skeleton.parts})

    def limits(self, overlay: OverlayOptions) -> dict[str, float]:
        """The lowest score that is shown, by part; nothing of what is hidden reaches it."""
        hidden = {part for group in overlay.hidden for part in GROUPS[group]}
        given = overlay.threshold
        return {
            part: inf if part in hidden else own if given is None else given for part, own in self.thresholds.items()
        }


def compose(
    image: NDArray[np.uint8],  # [H, W, 3] BGR
    poses: Poses,
    style: SkeletonStyle,
    overlay: OverlayOptions,
    size: tuple[int, int] | None = None,  # (width, height) px of the answer; None: as the image
) -> NDArray[np.uint8]:
    """A new image of the size wanted with the poses on it.

    The image is scaled first and drawn on afterwards, so that lines are sharp at every window size.
    """
    height, width = image.shape[:2]
    size = size or (width, height)
    if size != (width, height):
        filter_ = cv2.INTER_AREA if size[0] < width else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, size, interpolation=filter_), np.uint8)
    if overlay.black:
        image = np.zeros_like(image)
    shown = _scaled(poses, size[0] / width, size[1] / height)
    if overlay.mirror:
        image, shown = np.asarray(cv2.flip(image, 1), np.uint8), _mirrored(shown, size[0])
    return draw_poses(image, shown, style.skeleton, threshold=style.limits(overlay), bboxes=overlay.bboxes)


def _scaled(poses: Poses, sx: float, sy: float) -> Poses:
    if sx == sy == 1:
        return poses
    scale = np.array([sx, sy], np.float32)
    return replace(poses, keypoints=poses.keypoints * scale, bboxes=poses.bboxes * np.tile(scale, 2))


def _mirrored(poses: Poses, width: int) -> Poses:
    keypoints = poses.keypoints.copy()
    keypoints[..., 0] = width - 1 - keypoints[..., 0]
    bboxes = poses.bboxes.copy()
    bboxes[:, [0, 2]] = width - 1 - poses.bboxes[:, [2, 0]]
    return replace(poses, keypoints=keypoints, bboxes=bboxes)


def fitted(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:  # image: [H, W, 3]
    """The image as large as fits into `size` (width, height), centered on black."""
    if image.shape[1::-1] == size:
        return image
    width, height = fit(image.shape[1], image.shape[0], size)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    x, y = (size[0] - width) // 2, (size[1] - height) // 2
    canvas[y : y + height, x : x + width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return canvas


def fit(width: int, height: int, size: tuple[int, int]) -> tuple[int, int]:
    """The largest width and height of the same aspect inside `size`."""
    scale = min(size[0] / width, size[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))
