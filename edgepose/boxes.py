"""Boxes: overlaps, suppression, the box around a pose, and where to look when nothing is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .skeletons import Skeleton

Float = NDArray[np.float32]

# Person boxes of annotated data are larger than the extent of their points, by these fractions of the extent
# (left, top, right, bottom; medians over the val people of COCO, MPII, LSPET and others).
_MARGINS = np.array([0.10, 0.10, 0.10, 0.05], np.float32)
# Forehead and hair above the head's points, as a share of their extent: no data set has a point up there.
_CROWN = 0.6
_FAR = 1e6  # px: a given box beyond it is a mistake, and float32 could not tell its pixels apart
# Windows along a frame, less one: enough for neighbors to overlap by half up to a panorama of 7 : 1.
_MOST_STEPS = 16
# From the extent of the head's points to head and shoulders, when nothing else is seen.
_SHOULDERS = np.array([0.8, 0.6, 0.8, 1.0], np.float32)


def iou_matrix(a: Float, b: Float) -> Float:  # [N, 4], [M, 4] xyxy -> [N, M]
    """Intersection over union of every pair of boxes."""
    overlap, area_a, area_b = _overlap(a, b)
    union = area_a[:, None] + area_b[None] - overlap
    return _float(overlap / np.maximum(union, 1e-6))


def containment_matrix(a: Float, b: Float) -> Float:  # [N, 4], [M, 4] xyxy -> [N, M]
    """Intersection over the smaller box: 1 for a part inside the whole."""
    overlap, area_a, area_b = _overlap(a, b)
    smaller = np.minimum(area_a[:, None], area_b[None])
    return _float(overlap / np.maximum(smaller, 1e-6))


def _overlap(a: Float, b: Float) -> tuple[Float, Float, Float]:
    corner = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    return np.prod(np.maximum(corner, 0), axis=2), areas(a), areas(b)


def nms(bboxes: Float, scores: Float, threshold: float) -> NDArray[np.int64]:  # [N, 4], [N] -> [M]
    """Indices of the boxes that survive greedy suppression at that IoU, best first."""
    order = np.argsort(-scores, kind="stable")
    rivals = iou_matrix(bboxes[order], bboxes[order]) > threshold
    alive = np.ones(len(order), bool)
    for n in range(len(order)):
        if alive[n]:
            alive[n + 1 :] &= ~rivals[n, n + 1 :]
    return order[alive]


def areas(boxes: Float) -> Float:  # [N, 4] xyxy -> [N]
    return _float(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1))


def given_boxes(what: str, bboxes: ArrayLike) -> Float:  # -> [N, 4]
    """A caller's boxes, checked. Raises ValueError that begins with ``what``."""
    boxes = np.asarray(bboxes, np.float32)
    boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{what}: bboxes expected [N, 4] xyxy, got {list(boxes.shape)}")
    if not (np.abs(boxes) <= _FAR).all():  # NaN fails too
        worst = boxes.flat[int(np.argmax(np.where(np.isnan(boxes), np.inf, np.abs(boxes))))]
        raise ValueError(f"{what}: bboxes expected within ±{_FAR:g} px, got {worst:g}")
    return boxes


def clip_boxes(boxes: Float, size: tuple[int, int]) -> Float:  # [N, 4] xyxy; size (W, H)
    limits = np.array([*size, *size], np.float32)
    return _float(np.clip(boxes, 0, limits))


def head_mask(skeleton: Skeleton) -> NDArray[np.bool_]:  # [K]
    """Points of the head: the face part, and nose, eyes, ears and head by their names."""
    words = ("nose", "eye", "ear", "head")
    named = [any(word in name.split("_") for word in words) for name in skeleton.keypoints]
    face = [part == "face" for part in skeleton.part_of]
    return np.logical_or(named, face)


def boxes_from_keypoints(
    keypoints: Float,  # [N, K, 2]
    confident: NDArray[np.bool_],  # [N, K]
    head: NDArray[np.bool_],  # [K]
    size: tuple[int, int],  # (W, H) of the frame
) -> Float:  # [N, 4] xyxy inside the frame; zeros where no point is confident
    """The person's box around the confident points.

    A box around a face alone would make the next crop a face, in which no shoulder can ever be found again:
    it is widened to head and shoulders.
    """
    boxes = _grow(extent(keypoints, confident), _MARGINS)
    heads = extent(keypoints, confident & head)
    crown = heads[:, 1] - _CROWN * (heads[:, 2:] - heads[:, :2]).max(axis=1)
    boxes[:, 1] = np.where((confident & head).any(axis=1), np.minimum(boxes[:, 1], crown), boxes[:, 1])
    only_head = (confident & ~head).sum(axis=1) < 2
    wide = _grow(heads, _SHOULDERS)
    union = np.concatenate([np.minimum(boxes, wide)[:, :2], np.maximum(boxes, wide)[:, 2:]], axis=1)
    return clip_boxes(np.where(np.logical_and(only_head, confident.any(axis=1))[:, None], union, boxes), size)


def extent(points: Float, chosen: NDArray[np.bool_]) -> Float:  # [N, K, 2], [N, K] -> [N, 4]
    """Smallest box around the chosen points, zeros where there are none."""
    low = np.where(chosen[..., None], points, np.inf).min(axis=1, initial=np.inf)
    high = np.where(chosen[..., None], points, -np.inf).max(axis=1, initial=-np.inf)
    found = np.any(chosen, axis=1, keepdims=True)
    return _float(np.where(found, np.concatenate([low, high], axis=1), 0))


def _grow(boxes: Float, fractions: Float) -> Float:
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    h = np.maximum(h, w / 2)  # eyes and ears alone are a flat strip
    w = np.maximum(w, h / 4)
    return _float(boxes + np.stack([-w, -h, w, h], axis=1) * fractions)


def _float(array: Any) -> Float:
    return np.asarray(array, np.float32)


def search_windows(size: tuple[int, int], aspect: float) -> Float:  # -> [M, 4] xyxy
    """Where to look when nothing is known: the whole frame, and windows of the input's aspect along it.

    A person who fills the height of a wide frame is a third of the whole-frame crop, but fills a window. Strips of
    pixels, in which nobody could be seen, get no more than ``_MOST_STEPS`` of them.
    """
    width, height = size
    w, h = min(float(width), height * aspect), min(float(height), width / aspect)
    steps = int(np.ceil(max((width - w) / (w / 2), (height - h) / (h / 2)) - 0.25))  # neighbors overlap by half
    steps = min(steps, _MOST_STEPS)
    slide = np.linspace(0, 1, steps + 1)[:, None] if steps > 0 else np.zeros((0, 1))
    corner = slide * np.array([width - w, height - h])
    windows = np.concatenate([corner, corner + np.array([w, h])], axis=1)
    return _float(np.concatenate([[[0, 0, width, height]], windows]))
