"""The demo: the same on every run, moved as it says, and a ruler for the steadiness of points."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from doubles import FakeEstimator

from edgepose import Poses
from edgepose_app import headless
from edgepose_app.drift import Drift
from edgepose_app.sources.demo import PERSON_BOX, SIZE, Demo, find_photograph, motion_at
from edgepose_app.sources.folder import read_picture

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


def test_frames_are_the_same_on_every_run():
    first, second = Demo(), Demo()
    for _ in range(5):
        a, b = first.read(), second.read()
        assert a is not None
        assert b is not None
        np.testing.assert_array_equal(a.image, b.image)
        assert a.time == b.time == a.index / 30


def test_the_picture_moves_as_the_demo_says():
    photo, demo = read_picture(find_photograph()), Demo()
    wanted = {0, 40, 90}
    while wanted:
        frame = demo.read()
        assert frame is not None
        if frame.index not in wanted:
            continue
        wanted.remove(frame.index)
        assert frame.motion is not None
        assert frame.image.shape == (SIZE[1], SIZE[0], 3)
        # The frame, brought back by the inverse motion, is the photograph (but for two interpolations).
        back = cv2.warpAffine(frame.image, cv2.invertAffineTransform(frame.motion), photo.shape[1::-1])
        centre = np.s_[150:450, 120:400]
        assert np.abs(back[centre].astype(float) - photo[centre]).mean() < 6
        wrong = cv2.warpAffine(back, np.float64([[1, 0, 3], [0, 1, 0]]), photo.shape[1::-1])
        assert np.abs(wrong[centre].astype(float) - photo[centre]).mean() > 9  # 3 px off would be noticed


def test_the_person_stays_in_the_picture():
    eyes = np.array([[222.0, 200], [305, 190]])  # of the person in the photograph
    for time in np.arange(0, 120, 0.1):
        seen = in_frame(motion_at(float(time)), eyes)
        assert ((seen > 20) & (seen < np.array(SIZE) - 20)).all()


def test_perfect_points_do_not_drift():
    drift, points = Drift(SKELETON, 0.3), photograph_points()
    for n in range(90):
        motion = motion_at(n / 30)
        drift.add(motion, poses_at(in_frame(motion, points)), SIZE)
    report = drift.report()
    assert report.points == 133
    assert report.frames == 60  # after the first second
    assert report.found == 1
    assert report.p95 < 1e-3


def test_drift_is_measured_in_the_photograph_in_per_cent_of_the_person():
    drift, points = Drift(SKELETON, 0.3, warmup=0), photograph_points()
    sway = 0.05 * BOX_HEIGHT  # every other frame to the left, then to the right: 5 % from the median between
    for n in range(101):
        motion = motion_at(n / 30)
        moved = points + np.array([sway * (0, -1, 0, 1)[n % 4], 0])
        drift.add(motion, poses_at(in_frame(motion, moved)), SIZE)
    report = drift.report()
    assert report.p50 == pytest.approx(0, abs=1e-3) or report.p50 == pytest.approx(5, abs=1e-3)
    assert report.p95 == pytest.approx(5, abs=1e-2)
    assert "p95 5.00 % of the person's box" in str(report)


def test_what_is_not_drawn_does_not_drift():
    drift, points = Drift(SKELETON, dict.fromkeys(SKELETON.parts, 0.5), warmup=0), photograph_points()
    scores = np.full(133, 0.9)
    scores[100:] = 0.4
    rng = np.random.default_rng(1)
    for n in range(40):
        motion = motion_at(n / 30)
        moved = points.copy()
        moved[100:] += rng.normal(0, 100, (33, 2))  # wild, but below the threshold
        moved[90:100] = (0, 20_000)  # far out of the picture
        drift.add(motion, poses_at(in_frame(motion, moved), scores), SIZE)
    report = drift.report()
    assert report.points == 90
    assert report.p95 < 1e-3


def test_nobody_has_no_drift_but_is_told():
    drift = Drift(SKELETON, 0.3, warmup=0)
    for n in range(10):
        drift.add(motion_at(n / 30), Poses.empty(133), SIZE)
    report = drift.report()
    assert report.points == 0
    assert report.found == 0
    assert "no point" in str(report)
    assert "no point" in str(replace(report, frames=0))


def test_the_headless_demo_measures_itself():
    report = headless.run(Demo(), FakeEstimator(), [], drift=Drift(SKELETON, 0.3), max_frames=45)
    assert report.frames == 45
    assert report.drift is not None
    assert report.drift.frames == 15
    # The stand-in's points stick to the frame, so in the photograph they travel with the camera.
    assert report.drift.p95 > 1
