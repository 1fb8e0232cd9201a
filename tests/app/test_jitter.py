"""Jitter of the demo's points, measured on known displacements."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from doubles import FakeEstimator

from edgepose import Poses
from edgepose_app import headless
from edgepose_app.jitter import Jitter
from edgepose_app.sources.demo import PERSON_BOX, SIZE, Demo, motion_at

pytest.importorskip("matplotlib", reason="the demo's photograph comes with matplotlib")

SKELETON = FakeEstimator.skeleton
BOX_HEIGHT = PERSON_BOX[3] - PERSON_BOX[1]


def poses_at(points: np.ndarray, scores: float | np.ndarray = 0.9) -> Poses:  # points: [K, 2]
    k = len(points)
    return Poses(points[None], np.broadcast_to(np.float32(scores), (1, k)), [[0, 0, *SIZE]], [1], [0.9])


def in_frame(motion: np.ndarray, points: np.ndarray) -> np.ndarray:  # [2, 3], [K, 2] -> [K, 2]
    return points @ motion[:, :2].T + motion[:, 2]


def photograph_points(seed: int = 0) -> np.ndarray:
    """133 places around the middle of the photograph, in sight at all times."""
    return np.random.default_rng(seed).uniform((200, 250), (312, 350), (133, 2))


def test_perfect_points_do_not_jitter():
    jitter, points = Jitter(SKELETON, 0.3), photograph_points()
    for n in range(90):
        motion = motion_at(n / 30)
        jitter.add(motion, poses_at(in_frame(motion, points)), SIZE)
    report = jitter.report()
    assert report.points == 133
    assert report.frames == 60  # after the first second
    assert report.found == 1
    assert report.p95 < 1e-3


def test_jitter_is_measured_in_the_photograph_in_per_cent_of_the_person():
    jitter, points = Jitter(SKELETON, 0.3, warmup=0), photograph_points()
    sway = 0.05 * BOX_HEIGHT  # every other frame to the left, then to the right: 5 % from the median between
    for n in range(101):
        motion = motion_at(n / 30)
        moved = points + np.array([sway * (0, -1, 0, 1)[n % 4], 0])
        jitter.add(motion, poses_at(in_frame(motion, moved)), SIZE)
    report = jitter.report()
    assert report.p50 == pytest.approx(0, abs=1e-3) or report.p50 == pytest.approx(5, abs=1e-3)
    assert report.p95 == pytest.approx(5, abs=1e-2)
    assert "p95 5.00 % of the person's box" in str(report)


def test_what_is_not_drawn_does_not_jitter():
    jitter, points = Jitter(SKELETON, dict.fromkeys(SKELETON.parts, 0.5), warmup=0), photograph_points()
    scores = np.full(133, 0.9)
    scores[100:] = 0.4
    rng = np.random.default_rng(1)
    for n in range(40):
        motion = motion_at(n / 30)
        moved = points.copy()
        moved[100:] += rng.normal(0, 100, (33, 2))  # wild, but below the threshold
        moved[90:100] = (0, 20_000)  # far out of the image
        jitter.add(motion, poses_at(in_frame(motion, moved), scores), SIZE)
    report = jitter.report()
    assert report.points == 90
    assert report.p95 < 1e-3


def test_nobody_has_no_drift_but_is_told():
    jitter = Jitter(SKELETON, 0.3, warmup=0)
    for n in range(10):
        jitter.add(motion_at(n / 30), Poses.empty(133), SIZE)
    report = jitter.report()
    assert report.points == 0
    assert report.found == 0
    assert "no point" in str(report)
    assert "no point" in str(replace(report, frames=0))


def test_the_headless_demo_measures_itself():
    report = headless.run(Demo(), FakeEstimator(), [], jitter=Jitter(SKELETON, 0.3), max_frames=45)
    assert report.frames == 45
    assert report.jitter is not None
    assert report.jitter.frames == 15
    # The stand-in's points stick to the frame, so in the photograph they travel with the camera.
    assert report.jitter.p95 > 1
