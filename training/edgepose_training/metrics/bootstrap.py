"""Bootstrap intervals: the uncertainty of a figure from a small sample.

Images are resampled, not people: people in one image share its difficulty, so resampling them one by one would give
intervals that are too narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A figure, its 95 % interval and the number of values it rests on. NaN where undefined."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        if not self.count:
            return "–"
        return f"{short(self.value)} [{short(self.low)}, {short(self.high)}]"


def image_draws(images: int, resamples: int, seed: int = 0) -> np.ndarray:
    """How often each image occurs in each resample, [resamples, images]; rows sum to `images`."""
    if images == 0:
        return np.zeros((resamples, 0), np.int64)
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)


def mean_estimate(
    values: np.ndarray,  # [N] one per person, NaN where undefined
    image_ids: np.ndarray,  # [N]
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Mean of the defined values, with its interval over images."""
    defined = np.isfinite(values)
    return ratio_estimate(np.where(defined, values, 0), defined, image_ids, resamples, seed)


def ratio_estimate(
    parts: np.ndarray,  # [N] e.g. correct points of a person
    wholes: np.ndarray,  # [N] e.g. labeled points of a person
    image_ids: np.ndarray,  # [N]
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Sum of `parts` ÷ sum of `wholes` (a mean over points, not over people), with its interval over images.

    `count` is the sum of `wholes`; people whose whole is 0 take no part, so neither do images of only such
    people.
    """
    taking_part = np.asarray(wholes) > 0
    if not taking_part.any():
        return Estimate(np.nan, np.nan, np.nan, 0)
    _, image = np.unique(np.asarray(image_ids)[taking_part], return_inverse=True)
    numerator = np.bincount(image, np.asarray(parts, np.float64)[taking_part])
    denominator = np.bincount(image, np.asarray(wholes, np.float64)[taking_part])
    draws = image_draws(len(numerator), resamples, seed)
    low, high = _interval((draws @ numerator) / (draws @ denominator))
    return Estimate(float(numerator.sum() / denominator.sum()), low, high, int(denominator.sum()))


def statistic_estimate(
    value: float,
    count: int,
    images: int,
    resampled: Callable[[np.ndarray], float],
    resamples: int = 200,
    seed: int = 0,
) -> Estimate:
    """Interval of any statistic that can be recomputed for image weights [images]."""
    if not count:
        return Estimate(np.nan, np.nan, np.nan, 0)
    low, high = _interval(np.array([resampled(draw) for draw in image_draws(images, resamples, seed)]))
    return Estimate(value, low, high, count)


def _interval(resampled: np.ndarray) -> tuple[float, float]:
    defined = resampled[np.isfinite(resampled)]  # a resample may draw no image with a labeled person
    if not defined.size:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, (0.025, 0.975))
    return float(low), float(high)


def short(value: float) -> str:
    """Three decimals, without the zero in front."""
    return f"{value:.3f}".removeprefix("0") if 0 <= value < 1 else f"{value:.3f}"
