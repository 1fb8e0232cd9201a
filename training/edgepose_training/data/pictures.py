"""Crops with points drawn on them, and many of them as one picture: what a run sees, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edgepose import Poses, Skeleton
from edgepose.draw import draw_poses

CAPTION = 18  # px
GROUND = (32, 32, 32)  # BGR
WIDTH = 192  # px, about the least of a captioned image


def drawn(
    image: np.ndarray,  # [H, W, 3] uint8 BGR
    keypoints: np.ndarray,  # [K, 2] px
    scores: np.ndarray,  # [K]
    skeleton: Skeleton,
    *,
    threshold: float = 0.3,
    black: bool = False,
) -> np.ndarray:
    """A copy of the image with one person's points from a score on; `black` leaves the image out."""
    height, width = image.shape[:2]
    poses = Poses(
        keypoints=np.asarray(keypoints, np.float32)[None],
        scores=np.asarray(scores, np.float32)[None],
        bboxes=np.array([[0, 0, width, height]], np.float32),
        track_ids=np.array([-1]),
        bbox_scores=np.ones(1, np.float32),
    )
    return draw_poses(image, poses, skeleton, threshold=threshold, background=0.0 if black else 1.0)


def with_boxes(image: np.ndarray, boxes: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """A copy of the image with boxes [N, 4] xyxy."""
    canvas = image.copy()
    for x1, y1, x2, y2 in np.rint(boxes).astype(int).tolist():
        cv2.rectangle(canvas, (x1, y1), (x2, y2), color, 2)
    return canvas


def enlarged(image: np.ndarray, keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A small image a whole number of times larger, so that captions fit, and the points [K, 2] on it."""
    times = max(1, round(WIDTH / image.shape[1]))
    larger = image.repeat(times, axis=0).repeat(times, axis=1)
    return larger, keypoints * times + (times - 1) / 2


def sheet(cells: Sequence[tuple[np.ndarray, str]], columns: int) -> np.ndarray:
    """A grid of captioned images of equal size."""
    height, width = cells[0][0].shape[:2]
    rows = -(-len(cells) // columns)
    canvas = np.full((rows * (height + CAPTION), columns * (width + 2), 3), GROUND, np.uint8)
    for number, (image, caption) in enumerate(cells):
        top, left = number // columns * (height + CAPTION), number % columns * (width + 2)
        canvas[top + CAPTION : top + CAPTION + height, left : left + width] = image
        cv2.putText(
            canvas, caption, (left + 3, top + 13), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (230, 230, 230), 1, cv2.LINE_AA
        )
    return canvas
