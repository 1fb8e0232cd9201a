"""What is drawn does not flicker."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgepose import Poses, Skeleton
from edgepose.draw import visible_points
from edgepose.visibility import KEEP, Visibility

SKELETON = Skeleton.load("coco_wholebody")
LEFT = slice(*SKELETON.parts["lefthand"])
SIZE = (100, 100)


def one(scores: np.ndarray | float, track: int = 1) -> Poses:
    rows = np.broadcast_to(np.asarray(scores, np.float32), (1, SKELETON.num_keypoints))
    points = np.full((1, SKELETON.num_keypoints, 2), 50.0)
    return Poses(points, rows, [[0, 0, 99, 99]], [track], [1.0])


def shown(visibility: Visibility, poses: Poses, threshold: float = 0.5) -> np.ndarray:  # [K]
    return visible_points(visibility(poses), SKELETON, SIZE, threshold)[0]


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_a_point_stays_until_its_score_is_well_below_the_threshold(threshold: float) -> None:
    """The same for every threshold, as people move the slider."""
    visibility = Visibility(SKELETON)
    for share, expected in [(0.9, False), (1.01, True), (0.9, True), (KEEP + 0.01, True), (KEEP - 0.01, False),
                            (0.95, False), (1.01, True)]:  # fmt: skip
        assert shown(visibility, one(share * threshold), threshold).all() == expected, share
        assert shown(Visibility(SKELETON), one(share * threshold), threshold).any() == (share >= 1)


def test_points_at_the_threshold_do_not_flicker() -> None:
    """Ninety frames of noise around the threshold, which the bare scores cross dozens of times."""
    rng = np.random.default_rng(0)
    scores = 0.5 + rng.uniform(-0.035, 0.035, (90, SKELETON.num_keypoints))
    visibility = Visibility(SKELETON)
    seen = np.array([shown(visibility, one(row)) for row in scores])
    bare = np.array([visible_points(one(row), SKELETON, SIZE, 0.5)[0] for row in scores])
    assert (np.diff(bare, axis=0)).sum(axis=0).mean() > 20
    assert (np.diff(seen, axis=0)).sum(axis=0).max() <= 1


def test_a_hand_is_there_as_a_whole() -> None:
    scores = np.full(SKELETON.num_keypoints, 0.9)
    scores[LEFT] = np.linspace(0.2, 1, 21)  # .6 in the mean
    assert shown(Visibility(SKELETON), one(scores)).all()
    scores[LEFT] -= 0.15
    seen = shown(Visibility(SKELETON), one(scores))
    assert not seen[LEFT].any()
    assert seen.sum() == SKELETON.num_keypoints - 21


def test_points_that_were_not_found_stay_hidden() -> None:
    scores = np.full(SKELETON.num_keypoints, 0.9)
    scores[[3, LEFT.start]] = 0
    visibility = Visibility(SKELETON)
    shown(visibility, one(0.9))
    assert np.flatnonzero(~shown(visibility, one(scores))).tolist() == [3, LEFT.start]


def test_people_have_their_own_past_and_unrelated_ones_none() -> None:
    visibility = Visibility(SKELETON)
    shown(visibility, one(0.6, track=1))
    assert shown(visibility, one(0.44, track=1)).all()
    assert not shown(visibility, one(0.44, track=2)).any()
    shown(visibility, one(0.6, track=-1))
    assert not shown(visibility, one(0.44, track=-1)).any()
    shown(visibility, one(0.6, track=1))
    visibility.reset()
    assert not shown(visibility, one(0.44, track=1)).any()


def test_the_scores_of_the_net_stay_as_they_are() -> None:
    poses = one(np.linspace(0, 1, SKELETON.num_keypoints))
    np.testing.assert_array_equal(Visibility(SKELETON)(poses).scores, poses.scores)


def test_display_scores_are_selected_and_checked_with_the_people() -> None:
    poses = Visibility(SKELETON)(one(0.6))
    assert poses[[]].display_scores.shape == (0, SKELETON.num_keypoints)
    assert one(0.6)[0].display_scores is None
    with pytest.raises(ValueError, match="display_scores expected"):
        replace(poses, display_scores=np.zeros((2, SKELETON.num_keypoints)))
