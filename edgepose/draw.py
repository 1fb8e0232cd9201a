"""Painting poses on images: limbs in the colors of side and part, fine lines for face and hands."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .boxes import head_mask
from .skeletons import Skeleton
from .structures import Poses

Color = tuple[int, int, int]  # BGR

_SHIFT = 4  # OpenCV draws at 1/16 pixel: points of a slow motion glide instead of hopping
_RIM: Color = (28, 24, 20)  # keeps the colors legible on any ground
_FINE = ("face", "lefthand", "righthand", "hand")  # parts with many points close together
_THRESHOLD = 0.3


class _Stroke(NamedTuple):
    start: int
    stop: int
    color: Color
    fine: bool


def draw_poses(
    frame: NDArray[np.uint8],  # [H, W, 3] BGR
    poses: Poses,
    skeleton: Skeleton,
    *,
    threshold: float | Mapping[str, float] = _THRESHOLD,  # lowest score that is shown, or one per part
    bboxes: bool = False,  # boxes and ids as well
    background: float = 1.0,  # brightness of the image under the drawing, 0..1
    inplace: bool = False,
) -> NDArray[np.uint8]:  # [H, W, 3]
    """A copy of the frame with its people drawn on it (the frame itself with ``inplace``).

    Points below the threshold or outside the image are not drawn, nor is a line that ends in one, nor a point whose
    lines all do: a wrist without its elbow says nothing. Widths follow the size of the person and of the frame.
    """
    canvas = frame if inplace else frame.copy()
    if background != 1.0:
        cv2.convertScaleAbs(canvas, dst=canvas, alpha=background)
    shown = visible_points(poses, skeleton, (frame.shape[1], frame.shape[0]), threshold)
    for n in np.argsort(poses.bboxes[:, 3], kind="stable"):  # feet further down are nearer: they go on top
        if bboxes:
            _draw_bbox(canvas, poses.bboxes[n], int(poses.track_ids[n]))
        if shown[n].any():
            _draw_person(canvas, poses.keypoints[n], shown[n], skeleton)
    return canvas


def visible_points(
    poses: Poses,
    skeleton: Skeleton,
    size: tuple[int, int],  # (W, H) of the image
    threshold: float | Mapping[str, float] = _THRESHOLD,
) -> NDArray[np.bool_]:  # [N, K]
    """Which points are to be shown: sure enough (never at score 0), and inside the image.

    By ``display_scores`` where there are some.
    """
    limits: float | NDArray[np.float32]
    if isinstance(threshold, Mapping):
        limits = np.array([threshold.get(part, _THRESHOLD) for part in skeleton.part_of], np.float32)
    else:
        limits = threshold
    inside = ((poses.keypoints >= 0) & (poses.keypoints <= np.array(size) - 1)).all(axis=2)
    scores = poses.scores if poses.display_scores is None else poses.display_scores
    return inside & (scores >= limits) & (poses.scores > 0)  # at 0 the place means nothing


def _draw_person(
    canvas: NDArray[np.uint8],  # [H, W, 3]
    points: NDArray[np.float32],  # [K, 2]
    shown: NDArray[np.bool_],  # [K]
    skeleton: Skeleton,
) -> None:
    strokes, dots = _style(skeleton)
    spots = np.rint(np.where(shown[:, None], points, 0) * (1 << _SHIFT)).astype(int).tolist()
    width = _limb_width(canvas, points[shown])
    fine = max(1, round(width * 0.4))
    visible = [stroke for stroke in strokes if shown[stroke.start] and shown[stroke.stop]]
    for start, stop, _, is_fine in visible:  # all rims first: they must not cut through a color
        if (fine if is_fine else width) > 1:  # a rim around a hair line would bury it
            cv2.line(canvas, spots[start], spots[stop], _RIM, (fine if is_fine else width) + 2, cv2.LINE_AA, _SHIFT)
    for start, stop, color, is_fine in visible:
        cv2.line(canvas, spots[start], spots[stop], color, fine if is_fine else width, cv2.LINE_AA, _SHIFT)
    touched = {end for stroke in visible for end in stroke[:2]}
    for k, (color, is_fine, has_lines) in dots.items():
        if shown[k] and (k in touched or not has_lines):
            _dot(canvas, spots[k], color, 0.8 * fine if is_fine else 0.9 * width, rim=not is_fine and width > 1)


def _limb_width(canvas: NDArray[np.uint8], points: NDArray[np.float32]) -> int:  # [P, 2]
    """About 1 % of the person's extent, but never a thread and never a beam."""
    person = float(np.linalg.norm(points.max(axis=0) - points.min(axis=0)))
    frame = float(np.hypot(*canvas.shape[:2]))
    return round(min(max(0.012 * person + 0.4, 0.0018 * frame, 1.0), max(0.006 * frame, 2.0)))


def _dot(canvas: NDArray[np.uint8], spot: list[int], color: Color, radius: float, *, rim: bool) -> None:
    fixed = round(max(radius, 0.8) * (1 << _SHIFT))
    if rim:
        cv2.circle(canvas, spot, fixed + (1 << _SHIFT), _RIM, -1, cv2.LINE_AA, _SHIFT)
    cv2.circle(canvas, spot, fixed, color, -1, cv2.LINE_AA, _SHIFT)


def _draw_bbox(canvas: NDArray[np.uint8], bbox: NDArray[np.float32], track_id: int) -> None:
    x1, y1, x2, y2 = np.rint(bbox).astype(int).tolist()
    height = canvas.shape[0]
    cv2.rectangle(canvas, (x1, y1), (x2, y2), (200, 200, 200), max(1, height // 600), cv2.LINE_AA)
    if track_id >= 0:
        size = max(height / 1000, 0.4)
        spot = (x1 + 4, y1 + round(24 * size) + 2)
        for color, extra in ((_RIM, 2), ((240, 240, 240), 0)):
            thickness = max(1, round(1.5 * size)) + extra
            cv2.putText(canvas, str(track_id), spot, cv2.FONT_HERSHEY_SIMPLEX, size, color, thickness, cv2.LINE_AA)


@lru_cache(maxsize=16)
def _style(skeleton: Skeleton) -> tuple[list[_Stroke], dict[int, tuple[Color, bool, bool]]]:
    """Lines, and the dots of the points that no contour passes through: color, fine or not, ends of lines or not."""
    colors = [(int(b), int(g), int(r)) for r, g, b in skeleton.rgb]
    fine = [part in _FINE for part in skeleton.part_of]
    delicate = np.logical_or(head_mask(skeleton), fine).tolist()  # thick lines would hide the face
    side = [name.partition("_")[0] if name.startswith(("left_", "right_")) else "" for name in skeleton.keypoints]
    center = skeleton.color("center")[::-1]

    def color(a: int, b: int) -> Color:
        """A limb takes the color of its side; one that joins the sides takes the center's."""
        if side[a] and side[b] and side[a] != side[b]:
            return center[0], center[1], center[2]
        return colors[b if side[b] else a]

    pairs = [(a, b) for a, b in skeleton.links.tolist()]
    strokes = [_Stroke(a, b, color(a, b), delicate[a] and delicate[b]) for a, b in pairs]
    for line in skeleton.contours:
        strokes += [_Stroke(a, b, colors[a], True) for a, b in pairwise(line)]
    drawn = {k for line in skeleton.contours for k in line}
    ends = {end for stroke in strokes for end in stroke[:2]}
    dots = {k: (colors[k], delicate[k], k in ends) for k in range(skeleton.num_keypoints) if k not in drawn}
    return strokes, dots
