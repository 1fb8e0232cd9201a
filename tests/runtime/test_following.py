"""Whom to report, where to look, and which way up people are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgepose import EdgeposeError, Poses, Skeleton, TopdownConfig, TopdownEstimator
from edgepose.following import Following, moved
from edgepose.posemodel import PoseModel
from edgepose.runtime import Session
from edgepose.torso import HOLD, UPRIGHT, Torso, turned_boxes
from edgepose.tracking import Tracker

SIZE = (640, 480)
SKELETON = Skeleton.load("coco17")


def people(boxes: list[tuple[float, ...]], ids: list[int]) -> Poses:
    count = len(boxes)
    return Poses(np.zeros((count, 17, 2)), np.ones((count, 17)), np.reshape(boxes, (-1, 4)), ids, np.ones(count))


LEFT, MIDDLE, SMALL = (0.0, 100, 100, 400), (280.0, 100, 370, 390), (300.0, 200, 340, 300)


@pytest.mark.parametrize(("whom", "id_"), [("largest", 1), ("center", 2), (2, 2), (3, 3)])
def test_one_person_is_reported(whom: str | int, id_: int) -> None:
    found = Following(whom)(people([LEFT, MIDDLE, SMALL], [1, 2, 3]), SIZE)
    assert found.track_ids.tolist() == [id_]


def test_everybody_is_reported_otherwise() -> None:
    assert len(Following()(people([LEFT, SMALL], [1, 3]), SIZE)) == 2


def test_an_id_that_is_away_is_waited_for() -> None:
    following = Following(2)
    assert len(following(people([LEFT], [1]), SIZE)) == 0
    assert following(people([LEFT, MIDDLE], [1, 2]), SIZE).track_ids.tolist() == [2]


@pytest.mark.parametrize("whom", ["largest", "center"])
def test_two_alike_do_not_take_turns(whom: str) -> None:
    """Their sizes and places tremble; the first choice stays until somebody else is clearly ahead."""
    rng, following, seen = np.random.default_rng(0), Following(whom), set()
    for _ in range(60):
        a, b = np.array([(200.0, 100, 300, 400), (340.0, 100, 440, 400)]) + rng.normal(0, 4, (2, 4))
        seen.add(int(following(people([tuple(a), tuple(b)], [1, 2]), SIZE).track_ids[0]))
    assert len(seen) == 1
    other = 3 - seen.pop()
    boxes = {other: (220.0, 20, 420, 460), 3 - other: (10.0, 200, 60, 300)}
    assert following(people([boxes[1], boxes[2]], [1, 2]), SIZE).track_ids.tolist() == [other]


def test_who_left_is_replaced_by_who_is_there() -> None:
    following = Following("largest")
    following(people([LEFT, SMALL], [1, 3]), SIZE)
    assert following(people([SMALL], [3]), SIZE).track_ids.tolist() == [3]
    assert len(following(people([], []), SIZE)) == 0


@pytest.mark.parametrize("whom", ["everyone", 0, -1, ""])
def test_nonsense_is_refused(whom: str | int) -> None:
    with pytest.raises(EdgeposeError, match=r"follow is .*: give all, largest, center, or a person's id"):
        TopdownConfig(follow=whom)


@pytest.mark.parametrize("roi", [(0, 0, 0, 5), (-1, 0, 5, 5), (1, 2, 3)])
def test_a_region_without_pixels_is_refused(roi: tuple[int, ...]) -> None:
    with pytest.raises(EdgeposeError, match=r"roi is .*: give x, y, width and height"):
        TopdownConfig(roi=roi)


def test_only_the_region_is_looked_at(dot_net, draw_figures) -> None:
    frame, points = draw_figures((520, 240), [(20, 40, 110, 180), (320, 40, 410, 180)])
    estimator = TopdownEstimator(dot_net, "cpu", detector="none", config=TopdownConfig(roi=(260, 0, 220, 240)))
    for _ in range(3):
        poses = estimator(frame)
        assert len(poses) == 1
        np.testing.assert_allclose(poses.keypoints[0], points[1], atol=4)  # in pixels of the frame
        assert poses.bboxes[0, 0] > 260
    given = estimator(frame, [[320, 40, 410, 180]])
    np.testing.assert_allclose(given.keypoints[0], points[1], atol=4)


def test_a_region_beside_the_image_is_said(dot_net, draw_figures) -> None:
    frame, _ = draw_figures((320, 240), [(20, 40, 110, 180)])
    estimator = TopdownEstimator(dot_net, "cpu", detector="none", config=TopdownConfig(roi=(400, 0, 50, 50)))
    with pytest.raises(EdgeposeError, match="roi 400,0,50,50 lies outside the image of 320 × 240 pixels"):
        estimator(frame)


def test_moved_people_are_elsewhere() -> None:
    there = moved(people([LEFT], [1]), np.float32([10, 20]))
    np.testing.assert_array_equal(there.bboxes, [[10, 120, 110, 420]])
    np.testing.assert_array_equal(there.keypoints[0, 0], [10, 20])


def standing(degrees: float) -> np.ndarray:  # -> [K, 2], turned clockwise on screen
    points = np.zeros((17, 2), np.float32)
    points[[5, 6]] = (10, -40), (-10, -40)  # shoulders above hips
    points[[11, 12]] = (8, 0), (-8, 0)
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return points @ np.float32([[c, s], [-s, c]])


SEEN = np.ones(17, bool)


@pytest.mark.parametrize("degrees", [60, 90, 135, 180, -60, -90, -135])
def test_the_torso_says_which_way_up(degrees: float) -> None:
    turn = Torso(SKELETON).rotation(standing(degrees), SEEN)
    assert (turn - degrees + 180) % 360 - 180 == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("degrees", [-40, -10, 0, 25, 40])
def test_who_leans_is_upright(degrees: float) -> None:
    assert Torso(SKELETON).rotation(standing(degrees), SEEN) == 0


def test_a_turned_crop_does_not_tremble() -> None:
    torso = Torso(SKELETON)
    assert torso.rotation(standing(90 + HOLD - 1), SEEN, 90) == 90
    assert torso.rotation(standing(90 + HOLD + 1), SEEN, 90) == pytest.approx(90 + HOLD + 1, abs=1e-3)
    assert torso.rotation(standing(-175), SEEN, 178) == 178  # across the ends of the scale
    assert torso.rotation(standing(UPRIGHT - 5), SEEN, UPRIGHT + 5) == UPRIGHT + 5
    assert torso.rotation(standing(UPRIGHT - HOLD - 1), SEEN, UPRIGHT + 5) == 0


def test_what_is_not_seen_turns_nothing() -> None:
    hidden = SEEN.copy()
    hidden[11] = False
    assert Torso(SKELETON).rotation(standing(180), hidden) == 0
    assert Torso(SKELETON).rotation(standing(180), hidden, 90) == 90


def test_turned_boxes_hold_the_old_ones() -> None:
    box = np.float32([[10, 20, 30, 80]])
    np.testing.assert_allclose(turned_boxes(box, np.float32([0])), box)
    np.testing.assert_allclose(turned_boxes(box, np.float32([90])), [[-10, 40, 50, 60]], atol=1e-4)
    np.testing.assert_allclose(turned_boxes(box, np.float32([180])), box, atol=1e-4)


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_a_turned_crop_shows_the_person_upright(dot_net, draw_figures, quarter: int) -> None:
    """The crop of a turned image at that rotation is the crop of the image as it was, and points come back turned."""
    frame, _ = draw_figures((320, 240), [(100, 40, 190, 180)])
    net = PoseModel(Session(dot_net, "cpu", 1))
    upright, _ = net.crop(frame, np.float32([[100, 40, 190, 180]]))
    turned = np.ascontiguousarray(np.rot90(frame, -quarter))  # clockwise
    corners = np.float32([[100, 40], [190, 180]])
    for _ in range(quarter):  # clockwise: (x, y) → (height − y, x)
        corners = np.stack([240 - corners[:, 1], corners[:, 0]], 1) if _ % 2 == 0 else np.stack(
            [320 - corners[:, 1], corners[:, 0]], 1
        )  # fmt: skip
    box = np.concatenate([corners.min(0), corners.max(0)])[None]
    crop, back = net.crop(turned, box, rotations=np.float32([90 * quarter]))
    assert (
        np.abs(cv2.blur(crop[0].transpose(1, 2, 0), (5, 5)) - cv2.blur(upright[0].transpose(1, 2, 0), (5, 5))).mean()
        < 0.02
    )
    keypoints, scores = net.decode(net.run(crop), back)
    assert scores.min() > 0.3
    for point, color in zip(
        keypoints[0], [(0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 255, 255), (255, 255, 0)], strict=True
    ):
        x, y = np.rint(point).astype(int)
        assert np.abs(turned[y, x].astype(int) - color).max() < 60


def test_the_next_crop_of_a_lying_person_is_turned() -> None:
    tracker = Tracker(SKELETON)
    points = standing(90)[None] + 200
    points[0, :5] = points[0, 5]  # the head
    poses = Poses(points, np.full((1, 17), 0.9), [[150, 150, 250, 250]], [-1], [1.0])
    tracker.update(poses, SIZE)
    np.testing.assert_allclose(tracker.rotations, [90], atol=1e-3)


@pytest.mark.parametrize(
    ("upright", "turned", "chosen"),
    [(0.1, {90: 0.4, -90: 0.2, 180: 0.1}, 90), (0.1, {90: 0.1, -90: 0.1, 180: 0.5}, 180), (0.3, {90: 0.35}, 0)],
)
def test_a_newcomer_without_a_clear_pose_is_looked_at_from_all_sides(
    dot_net, monkeypatch: pytest.MonkeyPatch, upright: float, turned: dict[int, float], chosen: int
) -> None:
    """The best look counts, if it is clearly better than the upright one; its points say which one it was."""
    estimator = TopdownEstimator(dot_net, "cpu", detector="none")
    estimator._upright = Torso(SKELETON)

    def estimate(image, bboxes, owners, padding=None, rotations=None) -> Poses:  # noqa: ARG001
        scores = np.repeat([[turned.get(int(r), 0.0)] for r in rotations], 5, axis=1)
        return Poses(
            np.tile(rotations[:, None, None], (1, 5, 2)), scores, bboxes, [-1] * len(bboxes), np.ones(len(bboxes))
        )

    monkeypatch.setattr(estimator, "_estimate", estimate)
    boxes = np.float32([[0, 0, 9, 9], [5, 5, 9, 9], [1, 1, 9, 9]])
    scores = np.repeat([[upright], [0.9], [upright]], 5, axis=1)  # a newcomer, a clear one, a known person
    before = Poses(np.zeros((3, 5, 2)), scores, boxes, [-1, -1, 4], np.ones(3))
    after = estimator._turned(np.zeros((20, 20, 3), np.uint8), before)
    np.testing.assert_array_equal(after.keypoints[:, 0, 0], [chosen, 0, 0])
    assert after.scores[0, 0] == pytest.approx(max(upright, turned[chosen]) if chosen else upright)
