"""Poses are plain values."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose import Poses


def poses(count: int) -> Poses:
    n = np.arange(count)
    return Poses(np.zeros((count, 17, 2)), np.zeros((count, 17)), np.zeros((count, 4)), n, n / 10)


def test_some_of_the_people() -> None:
    three = poses(3)
    assert three[1].track_ids.tolist() == [1]
    assert three[1:].track_ids.tolist() == [1, 2]
    assert three[[2, 0]].track_ids.tolist() == [2, 0]
    assert three[np.array([True, False, True])].track_ids.tolist() == [0, 2]
    assert three[[]].keypoints.shape == (0, 17, 2)
    with pytest.raises(IndexError):
        three[3]


def test_types_are_settled() -> None:
    made = Poses([[[1, 2]]], [[1]], [[0, 0, 1, 1]], [5.0], [1])
    dtypes = [array.dtype for array in (made.keypoints, made.scores, made.bboxes, made.track_ids, made.bbox_scores)]
    assert dtypes == [np.float32, np.float32, np.float32, np.int64, np.float32]


def test_nobody() -> None:
    assert len(Poses.empty(133)) == 0
    assert Poses.empty(133).keypoints.shape == (0, 133, 2)


@pytest.mark.parametrize("name", ["keypoints", "scores", "bboxes", "track_ids", "bbox_scores"])
def test_arrays_must_agree(name: str) -> None:
    values = {key: getattr(poses(2), key) for key in ("keypoints", "scores", "bboxes", "track_ids", "bbox_scores")}
    values[name] = np.zeros((3, 4, 5, 6))
    with pytest.raises(ValueError, match="Poses: "):
        Poses(**values)
