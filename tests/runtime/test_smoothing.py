"""One-Euro: the filter's formula, little jitter at rest, little lag in motion."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose import OneEuro, Poses
from edgepose.smoothing import SmoothingConfig


def person(points: np.ndarray, score: float = 0.9, track: int = 1, size: float = 100) -> Poses:
    points = np.asarray(points, np.float32).reshape(1, -1, 2)
    scores = np.full(points.shape[:2], score, np.float32)
    return Poses(points, scores, [[0, 0, size, size]], [track], [1.0])


def test_by_the_formula() -> None:
    """Two steps by hand: Δt 0.1 s, a person of 100 px, a jump of 10 px."""
    smooth = OneEuro(min_cutoff=1.0, beta=2.0, d_cutoff=1.0)
    smooth(person([[0, 0]]), 0.0)
    found = smooth(person([[10, 0]]), 0.1).keypoints[0, 0, 0]

    def alpha(cutoff: float) -> float:
        return 1 / (1 + 1 / (2 * np.pi * cutoff) / 0.1)

    velocity = alpha(1.0) * (10 / 100 / 0.1)
    assert found == pytest.approx(10 * alpha(1.0 + 2.0 * velocity), rel=1e-5)


def test_rest_is_calm_and_motion_is_followed() -> None:
    rng = np.random.default_rng(0)
    smooth = OneEuro()
    noise = rng.normal(0, 1, (300, 1, 2)).astype(np.float32)
    still = np.array([smooth(person(50 + n, size=300), i / 30).keypoints[0, 0] for i, n in enumerate(noise)])
    assert still[30:].std() < 0.5 * noise.std()
    # A hand that crosses 640 pixels in a second lags at most one and a half frames.
    smooth = OneEuro()
    for i in range(30):
        x = 640 / 30 * i
        found = smooth(person([[x, 100]], size=300), i / 30).keypoints[0, 0, 0]
    assert x - found < 1.5 * 640 / 30


def test_uncertain_points_pass_and_start_anew() -> None:
    smooth = OneEuro()
    smooth(person([[0, 0]]), 0.0)
    assert smooth(person([[80, 0]], score=0.0), 1 / 30).keypoints[0, 0, 0] == 80
    assert smooth(person([[40, 0]]), 2 / 30).keypoints[0, 0, 0] == 40  # not dragged from a meaningless place


def test_people_have_pasts_of_their_own() -> None:
    smooth = OneEuro()
    smooth(person([[0, 0]], track=1), 0.0)
    assert smooth(person([[80, 0]], track=2), 1 / 30).keypoints[0, 0, 0] == 80
    smooth(person([[80, 0]], track=2), 2 / 30)
    assert smooth(person([[80, 0]], track=1), 3 / 30).keypoints[0, 0, 0] == 80  # who was away is forgotten
    assert smooth(person([[30, 0]], track=-1), 4 / 30).keypoints[0, 0, 0] == 30  # untracked: as it is


def test_time_that_stands_still_starts_anew() -> None:
    smooth = OneEuro()
    smooth(person([[0, 0]]), 1.0)
    assert smooth(person([[80, 0]]), 1.0).keypoints[0, 0, 0] == 80


def test_twice_as_calm_is_half_the_cut_off_at_every_speed() -> None:
    usual = SmoothingConfig()
    assert usual.scaled(1) == usual
    calm = usual.scaled(2)
    assert calm == SmoothingConfig(min_cutoff=usual.min_cutoff / 2, beta=usual.beta / 2)
