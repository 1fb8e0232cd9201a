"""Similarity of keypoints by its formula, and who is suppressed by it."""

import numpy as np

from edgepose_training.metrics.oks import instance_scores, oks, oks_nms, pairwise_oks, soft_oks_nms

SIGMAS = np.array([0.05, 0.1])


def test_oks_is_the_formula_over_labeled_points_only():
    labeled = np.array([[[10.0, 10.0], [20.0, 20.0]]])
    predicted = np.array([[[13.0, 14.0], [999.0, 999.0]]])
    value = oks(predicted, labeled, np.array([[2, 0]]), np.array([400.0]), SIGMAS)
    np.testing.assert_allclose(value, np.exp(-25 / (2 * 400 * (2 * 0.05) ** 2)), rtol=1e-12)


def test_oks_of_a_person_without_labels_is_undefined():
    points = np.zeros((2, 2, 2))
    values = oks(points, points, np.array([[0, 0], [1, 1]]), np.array([100.0, 100.0]), SIGMAS)
    assert np.isnan(values[0])
    assert values[1] == 1


def test_oks_of_nobody():
    assert oks(np.zeros((0, 2, 2)), np.zeros((0, 2, 2)), np.zeros((0, 2)), np.zeros(0), SIGMAS).shape == (0,)


def test_instance_scores_average_what_is_above_the_threshold():
    scores = instance_scores(np.array([0.5, 1.0]), np.array([[0.8, 0.4, 0.2], [0.1, 0.0, 0.2]]))
    np.testing.assert_allclose(scores, [0.5 * 0.6, 0])


def three_people() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The second is the first moved by a hair; the third is elsewhere."""
    person = np.array([[0.0, 0.0], [50.0, 50.0]])
    return np.stack([person, person + 0.5, person + 300]), np.array([0.7, 0.9, 0.1]), np.full(3, 2500.0)


def test_nms_keeps_the_better_of_two_alike_and_whoever_stands_apart():
    keypoints, scores, areas = three_people()
    np.testing.assert_array_equal(oks_nms(keypoints, scores, areas, SIGMAS), [1, 2])


def test_nms_keeps_a_pair_at_the_threshold():
    keypoints, scores, areas = three_people()
    threshold = pairwise_oks(keypoints, areas, SIGMAS)[0, 1]
    np.testing.assert_array_equal(oks_nms(keypoints, scores, areas, SIGMAS, threshold), [1, 0, 2])


def test_soft_nms_lowers_scores_instead():
    keypoints, scores, areas = three_people()
    kept, lowered = soft_oks_nms(keypoints, scores, areas, SIGMAS)
    similarity = pairwise_oks(keypoints, areas, SIGMAS)[0, 1]
    np.testing.assert_array_equal(kept, [1, 0, 2])
    np.testing.assert_allclose(lowered, [0.9, 0.7 * np.exp(-(similarity**2) / 0.9), 0.1], rtol=1e-6)
    assert len(soft_oks_nms(keypoints, scores, areas, SIGMAS, most=2)[0]) == 2


def test_nms_of_nobody():
    assert oks_nms(np.zeros((0, 2, 2)), np.zeros(0), np.zeros(0), SIGMAS).shape == (0,)
