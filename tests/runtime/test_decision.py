"""The decision of detector and pose net together."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose import Poses, TopdownConfig, TopdownEstimator, models
from edgepose.decision import FEATURES, PersonRule, person_features

RULE = PersonRule(bias=-1.0, detection=1.0, pose=2.0, points=0.0, height=0.0, overlap=0.0, sure=0.9)


def test_features_by_literals() -> None:
    points = np.array([[[10, 20], [30, 60]]], np.float32)
    poses = Poses(points, [[0.2, 0.6]], [[10, 20, 30, 100]], [-1], [1.0])
    features = person_features(np.float32([0.5]), poses, np.array([[False, True]]), 200)
    np.testing.assert_allclose(features, [[0, 0.4, 0.5, 0.4, 0.5]], atol=1e-6)
    assert person_features(np.zeros(0, np.float32), poses[[]], np.zeros((0, 2), bool), 200).shape == (0, len(FEATURES))


def test_the_probability_is_a_logistic_of_the_features() -> None:
    features = np.float32([[0, 0.5, 1, 1, 1], [2, 0.5, 0, 0, 0], [99, 99, 0, 0, 0]])
    np.testing.assert_allclose(RULE.probability(features), [0.5, 1 / (1 + np.exp(-2)), 1], rtol=1e-6)


def test_more_of_anything_but_height_speaks_for_a_person() -> None:
    """The fitted weights make sense one by one. A tall box says less: what fills the frame is often a wall."""
    rule = PersonRule()
    assert min(rule.detection, rule.pose, rule.points, rule.overlap) >= 0
    assert 0.5 < rule.sure < 1


@pytest.mark.skipif(
    not (models.has_default("pose") and models.has_default("detector")), reason="no shipped pose net and detector"
)
def test_the_rule_is_for_our_nets_alone(dot_net) -> None:
    ours = TopdownEstimator(device="cpu", threads=1)
    assert ours._rule == PersonRule()
    assert ours.detector.threshold == PersonRule().lowest_detection
    asked = TopdownEstimator(device="cpu", threads=1, config=TopdownConfig(person_threshold=0.6))
    assert asked.detector.threshold == pytest.approx(0.6)
    without = TopdownEstimator(device="cpu", threads=1, config=TopdownConfig(person_rule=None))
    assert without._rule is None
    assert without.detector.threshold == without.detector.card.thresholds["person"]
    assert TopdownEstimator(dot_net, "cpu")._rule is None  # its scores are not calibrated
