"""Smoothing of a whole file."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose import OneEuro, Poses, Skeleton
from edgepose.formats import frame_record
from edgepose.offline import smooth_offline

SKELETON = Skeleton.load("coco17")
COUNT = 60
TIMES = [n / 30 for n in range(COUNT)]
KNEES, ANKLES = [13, 14], [15, 16]


def walk(count: int = COUNT) -> np.ndarray:  # [T, K, 2]
    """Somebody who walks to the right with swinging legs."""
    rng = np.random.default_rng(1)
    base = rng.uniform((100, 100), (160, 300), (17, 2))
    base[[11, 13, 15]] = (110, 250), (110, 300), (110, 350)
    base[[12, 14, 16]] = (150, 250), (150, 300), (150, 350)
    return np.array([base + np.array((3 * t, 5 * np.sin(t / 5))) for t in range(count)], np.float32)


def frames_of(points: np.ndarray, scores: np.ndarray | float = 0.9, track: int = 1) -> list[Poses]:
    rows = np.broadcast_to(np.asarray(scores, np.float32), points.shape[:2])
    corners = np.concatenate([points.min(1), points.max(1)], 1)
    return [Poses(p[None], s[None], b[None], [track], [0.9]) for p, s, b in zip(points, rows, corners, strict=True)]


def points_of(frames: list[Poses]) -> np.ndarray:
    return np.concatenate([poses.keypoints for poses in frames])


def test_noise_is_calmed_without_lag() -> None:
    true = walk()
    noisy = true + np.random.default_rng(0).normal(0, 2, true.shape).astype(np.float32)
    smooth = points_of(smooth_offline(frames_of(noisy), TIMES, SKELETON))
    one_euro = OneEuro()
    live = np.concatenate([one_euro(poses, t).keypoints for poses, t in zip(frames_of(noisy), TIMES, strict=True)])
    inner = slice(5, -5)

    def error(points: np.ndarray) -> float:
        return float(np.abs(points - true)[inner].mean())

    assert error(smooth) < 0.8 * error(live)
    assert error(smooth) < 0.8 * error(noisy)
    drift = (smooth - true)[inner, :, 0].mean()  # along the walk
    assert abs(drift) < 0.3 * abs((live - true)[inner, :, 0].mean())


@pytest.mark.parametrize(("gap", "filled"), [(1, True), (5, True), (6, False)])
def test_short_absences_are_filled(gap: int, filled: bool) -> None:
    frames = frames_of(walk())
    for t in range(20, 20 + gap):
        frames[t] = Poses.empty(17)
    out = smooth_offline(frames, TIMES, SKELETON)
    for t in range(20, 20 + gap):
        assert len(out[t]) == filled
        if filled:
            np.testing.assert_allclose(out[t].keypoints[0], walk()[t], atol=3)
            assert (out[t].scores == 0).all()  # the net said nothing
            assert (out[t].display_scores >= 0.8).all()
            assert out[t].track_ids.tolist() == [1]
            assert (np.diff([out[t - 1].bboxes[0, 0], out[t].bboxes[0, 0]]) > 0).all()


@pytest.mark.parametrize(("gap", "filled"), [(1, True), (5, True), (6, False)])
def test_short_gaps_of_a_point_are_filled(gap: int, filled: bool) -> None:
    points, scores = walk(), np.full((COUNT, 17), 0.9)
    points[20 : 20 + gap, 9], scores[20 : 20 + gap, 9] = 0, 0.01  # the wrist is somewhere
    out = smooth_offline(frames_of(points, scores), TIMES, SKELETON)
    for t in range(20, 20 + gap):
        assert (out[t].display_scores[0, 9] > 0.5) == filled
        assert out[t].scores[0, 9] == pytest.approx(0.01)
        if filled:
            np.testing.assert_allclose(out[t].keypoints[0, 9], walk()[t, 9], atol=4)


def swapped(points: np.ndarray, start: int, frames: int) -> np.ndarray:
    out = points.copy()
    for left, right in ((11, 12), (13, 14), (15, 16)):
        out[start : start + frames, [left, right]] = points[start : start + frames, [right, left]]
    return out


@pytest.mark.parametrize(("frames", "mended"), [(1, True), (4, True), (5, False), (20, False)])
def test_short_swaps_of_the_legs_are_mended(frames: int, mended: bool) -> None:
    true = walk()
    out = points_of(smooth_offline(frames_of(swapped(true, 20, frames)), TIMES, SKELETON))
    inside = slice(20, 20 + frames)
    apart = np.linalg.norm(out[inside][:, KNEES + ANKLES] - true[inside][:, KNEES + ANKLES], axis=2)
    assert (apart.max() < 6) == mended
    np.testing.assert_allclose(out[:15], true[:15], atol=6)


def test_legs_that_cross_are_left_alone() -> None:
    points = walk()
    swing = 40 * np.cos(np.arange(COUNT) / 10)[:, None]  # they change places, slowly
    for left, right in ((13, 14), (15, 16)):
        points[:, left, 0] = points[:, 5, 0] + swing[:, 0]
        points[:, right, 0] = points[:, 5, 0] - swing[:, 0]
    out = points_of(smooth_offline(frames_of(points), TIMES, SKELETON))
    assert np.abs(out[5:-5] - points[5:-5]).max() < 6


def test_what_the_net_said_stays() -> None:
    noisy = walk() + np.random.default_rng(0).normal(0, 3, (COUNT, 17, 2)).astype(np.float32)
    bad = swapped(noisy, 20, 3)
    for poses, out, points in zip(frames_of(bad), smooth_offline(frames_of(bad), TIMES, SKELETON), bad, strict=True):
        np.testing.assert_array_equal(out.raw_keypoints[0], points)
        np.testing.assert_array_equal(out.scores, poses.scores)
        person = frame_record(0, out, time=0.0, size=(640, 480))["people"][0]
        np.testing.assert_allclose(np.array(person["keypoints"])[:, :2], points, atol=0.006)
        np.testing.assert_allclose(person["smoothed"], out.keypoints[0], atol=0.006)


def test_several_people_and_who_is_not_tracked() -> None:
    a, b = frames_of(walk()), frames_of(walk() + 200, track=7)
    stray = frames_of(walk() + 50, track=-1)
    frames = [
        Poses(*(np.concatenate([getattr(p, name) for p in trio]) for name in
                ("keypoints", "scores", "bboxes", "track_ids", "bbox_scores")))
        for trio in zip(a, b, stray, strict=True)
    ]  # fmt: skip
    out = smooth_offline(frames, TIMES, SKELETON)
    assert all(poses.track_ids.tolist() == [-1, 1, 7] for poses in out)
    np.testing.assert_array_equal(out[9].keypoints[0], stray[9].keypoints[0])


def test_nothing_and_nobody() -> None:
    assert smooth_offline([], [], SKELETON) == []
    assert [len(p) for p in smooth_offline([Poses.empty(17)] * 3, TIMES[:3], SKELETON)] == [0, 0, 0]
    single = smooth_offline(frames_of(walk())[:1], TIMES[:1], SKELETON)
    np.testing.assert_allclose(single[0].keypoints[0], walk()[0])
    with pytest.raises(ValueError, match=r"times expected \[1\], got \[2\]"):
        smooth_offline([Poses.empty(17)], [0.0, 1.0], SKELETON)
