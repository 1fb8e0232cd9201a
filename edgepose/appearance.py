"""Color histograms of people, to re-identify who left the frame and came back. numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .boxes import clip_boxes

Float = NDArray[np.float32]

_LEVELS = 6  # per channel; a bin is 43 gray levels wide
_SAMPLES = 24  # pixels per side that are looked at
# The middle of a person's box, where clothes are, whether standing, sitting or cut at the waist.
_MIDDLE = np.array([0.25, 0.25, 0.75, 0.7], np.float32)
BINS = _LEVELS**3


def appearance(frame: NDArray[np.uint8], bboxes: Float) -> Float:  # [H, W, 3], [N, 4] xyxy -> [N, BINS]
    """Histograms of the colors in the middle of each box, each summing to 1.

    Soft between neighboring bins, so that a little more light does not make another person of somebody. A box
    outside the frame gives a row of zeros, which is similar to nobody.
    """
    out = np.zeros((len(bboxes), BINS), np.float32)
    size = bboxes[:, 2:] - bboxes[:, :2]
    middles = np.concatenate([bboxes[:, :2], bboxes[:, :2]], axis=1) + np.concatenate([size, size], axis=1) * _MIDDLE
    for row, box in zip(out, clip_boxes(middles, (frame.shape[1], frame.shape[0])), strict=True):
        left, top, right, bottom = box.astype(int).tolist()
        patch = frame[top:bottom:, left:right]
        if min(patch.shape[:2]) >= 2:
            row[:] = _histogram(patch[_spread(patch.shape[0])][:, _spread(patch.shape[1])])
    return out


def similarity(a: Float, b: Float) -> Float:  # [N, BINS], [M, BINS] -> [N, M]
    """Overlap of histograms, in [0, 1]."""
    return np.asarray(np.minimum(a[:, None], b[None]).sum(axis=2), np.float32)


def _spread(length: int) -> NDArray[np.intp]:
    return np.linspace(0, length - 1, min(length, _SAMPLES)).astype(np.intp)


def _histogram(pixels: NDArray[np.uint8]) -> Float:  # [h, w, 3] -> [BINS]
    """Each channel votes for the two levels beside its value, by nearness."""
    place = pixels.reshape(-1, 3).astype(np.float32) * ((_LEVELS - 1) / 255)
    low = np.minimum(place.astype(np.int64), _LEVELS - 2)
    upper = place - low
    histogram = np.zeros(BINS, np.float64)
    for corner in np.ndindex(2, 2, 2):
        index = (low + corner) @ np.array([_LEVELS**2, _LEVELS, 1])
        weight = np.where(corner, upper, 1 - upper).prod(axis=1)
        histogram += np.bincount(index, weight, BINS)
    return np.asarray(histogram / histogram.sum(), np.float32)
