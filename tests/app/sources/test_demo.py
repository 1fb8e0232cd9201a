"""The demo: the same on every run, and moved as it reports."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgepose.images import read_image
from edgepose_app.sources.demo import SIZE, Demo, find_photograph, motion_at

pytest.importorskip("matplotlib", reason="the demo's photograph comes with matplotlib")


def in_frame(motion: np.ndarray, points: np.ndarray) -> np.ndarray:  # [2, 3], [K, 2] -> [K, 2]
    return points @ motion[:, :2].T + motion[:, 2]


def test_frames_are_the_same_on_every_run():
    first, second = Demo(), Demo()
    for _ in range(5):
        a, b = first.read(), second.read()
        assert a is not None
        assert b is not None
        np.testing.assert_array_equal(a.image, b.image)
        assert a.time == b.time == a.index / 30


def test_the_image_moves_as_the_demo_says():
    photo, demo = read_image(find_photograph()), Demo()
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
        center = np.s_[150:450, 120:400]
        assert np.abs(back[center].astype(float) - photo[center]).mean() < 6
        wrong = cv2.warpAffine(back, np.float64([[1, 0, 3], [0, 1, 0]]), photo.shape[1::-1])
        assert np.abs(wrong[center].astype(float) - photo[center]).mean() > 9  # 3 px off would be noticed


def test_the_person_stays_in_the_image():
    eyes = np.array([[222.0, 200], [305, 190]])  # of the person in the photograph
    for time in np.arange(0, 120, 0.1):
        seen = in_frame(motion_at(float(time)), eyes)
        assert ((seen > 20) & (seen < np.array(SIZE) - 20)).all()
