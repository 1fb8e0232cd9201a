"""Calibration: the isotonic fit by hand and on scores whose meaning is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose import ModelCard, Skeleton
from edgepose_training.data.coco import Person
from edgepose_training.evaluation.calibration import (
    Observations,
    calibrate,
    fit,
    isotonic,
    observe,
    plot,
    reliabilities,
    reliability,
)

BODY = Skeleton.load("coco17")


def test_isotonic_by_hand() -> None:
    """Sorted by score the outcomes are 0 1 0 0 1 1: the one that is too early is pooled with its successors."""
    scores = np.array([0.6, 0.1, 0.2, 0.3, 0.4, 0.5])
    right = np.array([1, 0, 1, 0, 0, 1], bool)
    at, share, points = isotonic(scores, right)
    np.testing.assert_allclose(at, [0.1, 0.3, 0.55])  # each step's middle
    np.testing.assert_allclose(share, [0, 1 / 3, 1])
    assert points.tolist() == [1, 3, 2]


def test_equal_scores_are_one_step() -> None:
    at, share, points = isotonic(np.array([0.5, 0.5, 0.5, 0.1]), np.array([0, 1, 1, 0], bool))
    assert (at.tolist(), points.tolist()) == ([0.1, 0.5], [1, 3])
    np.testing.assert_allclose(share, [0, 2 / 3])


def test_knots_as_pooling_adjacent_violators_by_hand_gave_them() -> None:
    """Recorded with the loop in plain Python that stood here before scipy's."""
    rng = np.random.default_rng(7)
    scores = rng.uniform(size=60).round(2)
    at, share, points = isotonic(scores, rng.uniform(size=60) < scores**2)
    np.testing.assert_allclose(at, [0.16, 0.506957, 0.76, 0.82, 0.909], atol=1e-6)
    np.testing.assert_allclose(share, [0, 0.304348, 0.4, 0.5, 1], atol=1e-6)
    assert points.tolist() == [20, 23, 5, 2, 10]
    rng = np.random.default_rng(8)
    scores = rng.uniform(size=5000)
    raw, seen = fit(scores, rng.uniform(size=5000) < scores**2)
    assert raw == [
        0.0, 0.05126, 0.15008, 0.23398, 0.30001, 0.37446, 0.47585, 0.54591, 0.6131, 0.69351, 0.7705, 0.8648, 0.9586, 1.0
    ]  # fmt: skip
    assert seen == [
        0.0, 0.0065, 0.0252, 0.0321, 0.0742, 0.1287, 0.2255, 0.2446, 0.3597, 0.4849, 0.5651, 0.7361, 0.9114, 0.9114
    ]  # fmt: skip


def test_the_map_keeps_the_order_of_the_scores() -> None:
    """Long steps must not make one score of many: thresholds would cut nothing, or everything, at once."""
    rng = np.random.default_rng(2)
    scores = rng.uniform(size=300)
    raw, seen = fit(scores, rng.uniform(size=300) < 0.3 + 0.4 * (scores > 0.5))
    between = np.linspace(raw[1], raw[-2], 200)
    assert (np.diff(np.interp(between, raw, seen)) > 0).all()


def test_the_meaning_of_scores_is_recovered() -> None:
    """Bare scores up to 0.2 that are right with probability (5 s)²."""
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 0.2, 20000)
    right = rng.uniform(size=20000) < (5 * scores) ** 2
    raw, seen = fit(scores, right)
    asked = np.linspace(0.02, 0.18, 9)
    np.testing.assert_allclose(np.interp(asked, raw, seen), (5 * asked) ** 2, atol=0.06)
    fresh = rng.uniform(0, 0.2, 20000)
    for shown, share, _ in reliability(np.interp(fresh, raw, seen), rng.uniform(size=20000) < (5 * fresh) ** 2):
        assert shown == pytest.approx(share, abs=0.06)


def test_the_card_takes_it() -> None:
    rng = np.random.default_rng(1)
    scores = rng.uniform(size=(40, 17)).astype(np.float32)
    calibration = calibrate(Observations(scores, rng.uniform(size=(40, 17)) < scores, np.ones((40, 17), bool)), BODY)
    card = ModelCard("x", skeleton=BODY, calibration=calibration)
    assert ModelCard.from_json(card.to_json()).calibration == calibration


def test_parts_with_few_points_stay_as_they_are() -> None:
    counted = np.zeros((40, 17), bool)
    counted[:10] = True
    assert calibrate(Observations(np.ones((40, 17)), np.ones((40, 17), bool), counted), BODY) == {}


def test_a_net_that_is_always_wrong_scores_zero() -> None:
    raw, seen = fit(np.linspace(0, 1, 500), np.zeros(500, bool))
    assert np.interp([0.1, 0.9, 1.0], raw, seen).tolist() == [0, 0, 0]


def test_the_reliability_diagram_is_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "reliability.png"
    plot({"body": [(0.1, 0.05, 30), (0.9, 0.8, 70)], "face": [(0.5, 0.5, 10)]}, path)
    picture = cv2.imread(str(path))
    assert picture is not None
    assert picture.std() > 5


def test_a_point_is_right_by_its_own_oks_and_nothing_is_right_where_nobody_is(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "person.png"), np.zeros((40, 60, 3), np.uint8))
    keypoints = np.full((17, 2), 20, np.float32)
    visible = np.ones(17, np.uint8)
    visible[3] = 0
    box, weights = np.array([5, 5, 55, 35], np.float32), np.ones(17, np.float32)
    where = (tmp_path / "person.png", 1, 1, "coco", "", "val", (60, 40))
    person = Person(*where, box, 1500.0, keypoints, visible, weights, {})
    # OKS of a point is exp(−d² / (8 σ² area)); at .2 it is right up to d = σ √(8 · 1500 · ln 5).
    reach = BODY.sigmas * np.sqrt(8 * 1500 * np.log(5))

    class Beside:
        name, skeleton = "beside", BODY

        def __call__(self, _: np.ndarray, bboxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            far = np.where(np.arange(17) % 2, 1.01, 0.99) * reach
            points = keypoints + np.stack([far, np.zeros(17)], 1)
            return np.repeat(points[None], len(bboxes), 0), np.full((len(bboxes), 17), bboxes[0, 2] / 100)

    seen = observe(Beside(), [person], [np.zeros((30, 80, 3), np.uint8)], 0.2)
    assert seen.right.tolist() == [[n % 2 == 0 for n in range(17)], [False] * 17]
    assert seen.counted.tolist() == [[n != 3 for n in range(17)], [True] * 17]
    np.testing.assert_allclose(seen.scores[:, 0], [0.55, 0.8])  # the label's box, the whole empty image
    rows = reliabilities(seen, {"body": [[0, 1], [0, 0.5]]}, BODY)["body"]
    assert [(round(score, 3), count) for score, _, count in rows] == [(0.275, 16), (0.4, 17)]
    assert rows[0][1] == pytest.approx(9 / 16)
