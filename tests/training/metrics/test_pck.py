"""Shares of correct points: thresholds, units and means of MPII and LSP."""

import numpy as np
import pytest

from edgepose.skeletons import Skeleton
from edgepose_training.metrics import pck


def test_pck_counts_a_point_at_the_threshold_and_skips_unlabeled_ones():
    distances = np.array([[0.5, 0.51, np.nan], [0.2, 0.2, np.nan]])
    np.testing.assert_array_equal(pck.pck(distances, 0.5)[:2], [1, 0.5])
    assert np.isnan(pck.pck(distances, 0.5)[2])


def test_distances_are_undefined_without_label_or_length():
    points = np.zeros((3, 1, 2))
    visible = np.array([[1], [0], [1]])
    distances = pck.normalized_distances(points + np.array([3, 4]), points, visible, np.array([10.0, 10.0, np.nan]))
    np.testing.assert_array_equal(distances, [[0.5], [np.nan], [np.nan]])


def test_mpii_head_length_is_six_tenths_of_the_diagonal():
    np.testing.assert_allclose(pck.mpii_head_length(np.array([[10, 10, 40, 50]])), [30])


def test_mpii_mean_is_weighted_and_leaves_out_pelvis_and_thorax():
    distances = np.full((2, 16), np.nan)
    distances[:, 9] = 0.1  # head: two labeled, both correct
    distances[0, 10] = 0.9  # right wrist: one labeled, wrong
    distances[0, 15] = 0.1  # left wrist: one labeled, correct
    distances[:, [6, 7]] = 5.0  # pelvis and thorax: wrong, and not counted
    table = pck.mpii_pckh(distances, 0.5)
    assert table["mean"] == pytest.approx(3 / 4)
    assert table["head"] == 1
    assert table["wrist"] == 0.5


def test_mpii_strict_threshold_is_a_tenth_and_not_eleven_hundredths():
    assert pck.MPII_SWEEP[10] == 0.1
    distances = np.full((1, 16), 0.105)
    assert pck.mpii_pckh(distances, pck.MPII_SWEEP[10])["mean"] == 0
    assert pck.mpii_auc(distances) == pytest.approx(40 / 51)  # correct from 0.11 to 0.50


def test_lsp_measures_by_left_shoulder_and_right_hip():
    for skeleton, torso in (("lsp14", pck.LSP_TORSO), ("coco_wholebody", pck.COCO_TORSO)):
        names = Skeleton.load(skeleton).keypoints
        assert [names[index] for index in torso] == ["left_shoulder", "right_hip"]
    labeled = np.zeros((2, 14, 2))
    labeled[:, 9] = [30, 40]
    visible = np.ones((2, 14))
    visible[1, 2] = 0
    np.testing.assert_array_equal(pck.torso_length(labeled, visible), [50, np.nan])


def test_lsp_mean_is_plain_over_joints():
    distances = np.array([[0.1, 0.3], [np.nan, 0.1]])
    assert pck.lsp_pck(distances) == pytest.approx(0.75)
    assert pck.lsp_auc(np.full((1, 14), 0.2)) == pytest.approx(1 / 21)


def test_intervals_of_pck_hold_their_means():
    generator = np.random.default_rng(4)
    images = np.arange(60)
    distances = generator.uniform(0, 1, (60, 16))
    low, high = pck.mpii_interval(distances, images)
    assert low < pck.mpii_pckh(distances)["mean"] < high
    assert high - low < 0.15
    joints = generator.uniform(0, 0.4, (60, 14))
    joints[:, 3] = np.nan  # never labeled
    joints[5:, 7] = np.nan
    low, high = pck.lsp_interval(joints, images)
    assert low < pck.lsp_pck(joints) < high
    assert pck.lsp_interval(np.zeros((2, 14)), images[:2]) == (1, 1)
