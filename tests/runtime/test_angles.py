"""Angles of joints."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose import Poses, Skeleton
from edgepose.angles import joint_angles, joints

BODY = Skeleton.load("coco17")


def arm(shoulder: tuple[float, float], elbow: tuple[float, float], wrist: tuple[float, float]) -> Poses:
    points = np.zeros((1, 17, 2), np.float32)
    points[0, [5, 7, 9]] = shoulder, elbow, wrist
    return Poses(points, np.ones((1, 17)), np.zeros((1, 4)), [1], [1.0])


@pytest.mark.parametrize(
    ("wrist", "degrees"),
    [((200, 0), 180), ((100, 50), 90), ((100, -50), 90), ((150, 50), 135), ((0, 0), 0), ((200, 1e-3), 179.9994)],
)
def test_by_hand(wrist: tuple[float, float], degrees: float) -> None:
    poses = arm((0, 0), (100, 0), wrist)
    found = np.ones((1, 17), bool)
    assert joint_angles(poses, BODY, found)["left_elbow"][0] == pytest.approx(degrees, abs=1e-4)


def test_neither_turning_moving_scaling_nor_mirroring_changes_an_angle() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4, 133, 2)) * 100
    turn = 3.0 * np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    whole, found = Skeleton.load("coco_wholebody"), np.ones((4, 133), bool)

    def angles(xy: np.ndarray) -> np.ndarray:
        poses = Poses(xy, np.ones((4, 133)), np.zeros((4, 4)), np.arange(4), np.ones(4))
        return np.stack(list(joint_angles(poses, whole, found).values()))

    np.testing.assert_allclose(angles(points @ turn.T + 50), angles(points), atol=0.01)
    np.testing.assert_allclose(angles(points * (-1, 1)), angles(points), atol=0.01)


def test_no_angle_without_its_points() -> None:
    found = np.ones((1, 17), bool)
    found[0, 9] = False
    assert np.isnan(joint_angles(arm((0, 0), (100, 0), (200, 0)), BODY, found)["left_elbow"][0])
    together = arm((0, 0), (100, 0), (100, 0))
    assert np.isnan(joint_angles(together, BODY, np.ones((1, 17), bool))["left_elbow"][0])


def test_which_joints_a_skeleton_has() -> None:
    sides = [f"{side}_{joint}" for side in ("left", "right") for joint in ("shoulder", "elbow", "hip", "knee")]
    assert set(joints(BODY)) == set(sides)
    whole = set(joints(Skeleton.load("coco_wholebody")))
    assert whole - set(sides) == {"left_wrist", "right_wrist", "left_ankle", "right_ankle"}
    assert joints(Skeleton.load("hand21")) == {}


def test_nobody() -> None:
    assert joint_angles(Poses.empty(17), BODY, np.zeros((0, 17), bool))["left_knee"].shape == (0,)
