"""Augmentation of one labelled crop: geometry, absence, colour (spec: RTMPose whole-body recipe).

Everything random is drawn from the generator that is handed in, so a seed fixes a run.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgepose.skeletons import Skeleton
from edgepose_training.shards import Crop

PADDING = 1.25


@dataclass(frozen=True)
class Strength:
    """How hard to augment; the fields are those of `config.Config`."""

    cut: float = 0.0
    flip: float = 0.0
    half_body: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    rotation: float = 0.0
    shift: float = 0.0
    erase: float = 0.0
    colour: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What the network is shown and should answer. Pixels of the network's input."""

    image: np.ndarray  # [H, W, 3] uint8 BGR
    keypoints: np.ndarray  # [K, 2] float32
    weights: np.ndarray  # [K] float32, 0: no label, no loss
    inside: np.ndarray  # [K] bool: labelled and in the picture; labelled and not inside: absent


def augment(
    crop: Crop, skeleton: Skeleton, input_size: tuple[int, int], strength: Strength, rng: np.random.Generator
) -> Sample:
    """Draw one training sample from a crop. `input_size` is (W, H)."""
    image, bbox = crop.image, crop.bbox
    if rng.random() < strength.cut:
        image, bbox = cut_below(image, bbox, crop, rng)
    center, size = (bbox[:2] + bbox[2:]) / 2, bbox[2:] - bbox[:2]
    padding = PADDING
    if rng.random() < strength.half_body:
        center, size, padding = half_body(crop, skeleton, center, size, rng)
    width, height = input_size
    size = np.array([max(size[0], size[1] * width / height), max(size[1], size[0] * height / width)]) * padding
    if rng.random() < 0.3:
        center = center + _truncated_normal(rng, 2) * strength.shift * size
    low, high = strength.scale
    size = size * (_truncated_normal(rng) * (high - low) / 2 + (high + low) / 2)
    angle = _truncated_normal(rng) * strength.rotation if rng.random() < 0.6 else 0.0
    flip = rng.random() < strength.flip
    affine = similarity(center, size, angle, input_size, flip)
    return render(crop, image, skeleton, affine, input_size, flip, strength, rng)


def plain(crop: Crop, skeleton: Skeleton, input_size: tuple[int, int]) -> Sample:
    """The crop as inference would see it: padded box, nothing random."""
    return augment(crop, skeleton, input_size, Strength(), np.random.default_rng(0))


def render(
    crop: Crop,
    image: np.ndarray,
    skeleton: Skeleton,
    affine: np.ndarray,
    input_size: tuple[int, int],
    flip: bool,
    strength: Strength,
    rng: np.random.Generator,
) -> Sample:
    """Warp picture and points, decide what is in the picture, then disturb the colours."""
    points = crop.keypoints @ affine[:, :2].T + affine[:, 2]
    seen = np.array(image.shape[1::-1])
    # A point is absent where the picture ends (a cut, an edge) or where the input ends.
    inside = ((crop.keypoints > -0.5) & (crop.keypoints < seen - 0.5)).all(1)
    inside &= ((points > -0.5) & (points < np.array(input_size) - 0.5)).all(1) & (crop.visible > 0)
    weights = crop.weights
    if flip:
        points, inside, weights = points[skeleton.swap], inside[skeleton.swap], weights[skeleton.swap]
    # Area-like shrinking: plain bilinear sampling aliases when a large person becomes a small input.
    factor = float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
    if factor < 0.6:
        kernel = 2 * int(0.5 / factor) + 1
        image = cv2.blur(image, (kernel, kernel))
    warped = cv2.warpAffine(image, affine, input_size, flags=cv2.INTER_LINEAR)
    return Sample(disturb(warped, strength, rng), points.astype(np.float32), weights.astype(np.float32), inside)


def similarity(
    center: np.ndarray, size: np.ndarray, angle: float, input_size: tuple[int, int], flip: bool
) -> np.ndarray:
    """Affine [2, 3], crop → input: turn by −angle degrees about `center`, scale W/w, optionally mirrored."""
    width, height = input_size
    scale, radians = width / size[0], np.deg2rad(angle)
    cos, sin = np.cos(radians) * scale, np.sin(radians) * scale
    matrix = np.array([[cos, sin], [-sin, cos]])
    affine = np.column_stack((matrix, np.array([width / 2, height / 2]) - matrix @ center))
    if flip:
        affine[0] = -affine[0]
        affine[0, 2] += width - 1
    return affine


def cut_below(
    image: np.ndarray, bbox: np.ndarray, crop: Crop, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """End the picture between chest and hips, as a webcam does; the box ends there too.

    Needs an upright person with a shoulder and a hip; others are left alone. Points: COCO ids 5, 6 and 11, 12.
    """
    shoulders, hips = crop.visible[5:7] > 0, crop.visible[11:13] > 0
    if not shoulders.any() or not hips.any():
        return image, bbox
    top = crop.keypoints[5:7][shoulders].mean(0)
    bottom = crop.keypoints[11:13][hips].mean(0)
    torso = bottom - top
    if torso[1] < 8 or abs(torso[0]) > torso[1]:
        return image, bbox
    line = int(top[1] + torso[1] * rng.uniform(0.3, 1.1))
    if not bbox[1] + 8 < line < image.shape[0]:
        return image, bbox
    return image[:line], np.array([bbox[0], bbox[1], bbox[2], min(bbox[3], line)], np.float32)


def half_body(
    crop: Crop, skeleton: Skeleton, center: np.ndarray, size: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """Centre and size on the upper or lower half's points, × 1.5 instead of the padding. Needs ≥ 9 labelled points."""
    labelled = crop.visible > 0
    upper = [i for i in skeleton.upper if labelled[i]]
    lower = [i for i in skeleton.lower if labelled[i]]
    if labelled.sum() < 9 or (len(upper) < 2 and len(lower) < 3):
        return center, size, PADDING
    if len(lower) < 3:
        chosen = upper
    elif len(upper) < 2:
        chosen = lower
    else:
        chosen = upper if rng.random() < 0.7 else lower
    points = crop.keypoints[chosen]
    extent = np.ptp(points, axis=0)
    if extent.max() < 8:
        return center, size, PADDING
    return points.mean(0), np.maximum(extent, extent.max() / 4), 1.5


def disturb(image: np.ndarray, strength: Strength, rng: np.random.Generator) -> np.ndarray:
    """HSV jitter, blur, grey and one erased rectangle. uint8 in and out."""
    if strength.colour > 0:
        image = _jitter(image, strength.colour, rng)
        draw = rng.random()
        if draw < 0.1:
            image = cv2.blur(image, (3, 3))
        elif draw < 0.15:
            image = cv2.medianBlur(image, 3)
        elif draw < 0.2:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if rng.random() < strength.erase:
        h, w = image.shape[:2]
        eh, ew = int(h * rng.uniform(0.2, 0.4)), int(w * rng.uniform(0.2, 0.4))
        y, x = rng.integers(0, h - eh), rng.integers(0, w - ew)
        image[y : y + eh, x : x + ew] = rng.integers(0, 256, 3) if rng.random() < 0.5 else 0
    return image


def _jitter(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Hue ±5, saturation ±30, value ±30, each with probability one half; then a gain for dark rooms and lamps."""
    change = rng.uniform(-1, 1, 3) * (5, 30, 30) * amount * (rng.random(3) < 0.5)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    hue, sat, val = cv2.split(hsv)
    levels = np.arange(256, dtype=np.int16)
    hue = cv2.LUT(hue, ((levels + int(change[0])) % 180).astype(np.uint8))
    sat = cv2.LUT(sat, np.clip(levels + int(change[1]), 0, 255).astype(np.uint8))
    gain = rng.uniform(0.6, 1.3) if rng.random() < 0.3 * amount else 1.0
    val = cv2.LUT(val, np.clip((levels + int(change[2])) * gain, 0, 255).astype(np.uint8))
    return cv2.cvtColor(cv2.merge((hue, sat, val)), cv2.COLOR_HSV2BGR)


def _truncated_normal(rng: np.random.Generator, size: int | None = None):
    """Normal draws bounded to [−1, 1] by drawing again, as scipy's truncnorm."""
    if size is not None:
        return np.array([_truncated_normal(rng) for _ in range(size)])
    while True:
        draw = float(rng.standard_normal())
        if abs(draw) <= 1:
            return draw
