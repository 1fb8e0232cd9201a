"""Boxes from keypoints, and ids that stay."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose import Poses, Skeleton
from edgepose.boxes import (
    boxes_from_keypoints,
    containment_matrix,
    head_mask,
    iou_matrix,
    nms,
    search_windows,
)
from edgepose.tracking import Tracker, Votes
from edgepose.tracks import TrackerConfig

SIZE = (640, 480)
SKELETON = Skeleton.load("coco17")
# A standing person in the unit box, in COCO's order.
STANDING = np.array(
    [(0.5, 0.06), (0.55, 0.04), (0.45, 0.04), (0.6, 0.06), (0.4, 0.06), (0.75, 0.2), (0.25, 0.2), (0.9, 0.4),
     (0.1, 0.4), (1.0, 0.55), (0.0, 0.55), (0.65, 0.55), (0.35, 0.55), (0.65, 0.78), (0.35, 0.78), (0.65, 1.0),
     (0.35, 1.0)], np.float32,
)  # fmt: skip


def people(bboxes: list[tuple[float, ...]], ids: list[int] | None = None, score: float = 0.8) -> Poses:
    boxes = np.array(bboxes, np.float32).reshape(-1, 4)
    points = boxes[:, None, :2] + STANDING * (boxes[:, 2:] - boxes[:, :2])[:, None]
    count = len(boxes)
    return Poses(points, np.full((count, 17), score), boxes, ids or [-1] * count, np.ones(count))


def test_overlaps_by_literals() -> None:
    boxes = np.float32([[0, 0, 10, 10], [5, 0, 15, 10], [2, 2, 4, 4], [50, 50, 60, 60]])
    np.testing.assert_allclose(iou_matrix(boxes[:1], boxes), [[1, 1 / 3, 0.04, 0]], rtol=1e-6)
    np.testing.assert_allclose(containment_matrix(boxes[:1], boxes), [[1, 0.5, 1, 0]], rtol=1e-6)
    assert nms(boxes, np.float32([0.5, 0.9, 0.8, 0.1]), 0.3).tolist() == [1, 2, 3]
    assert iou_matrix(boxes[:0], boxes).shape == (0, 4)


def test_box_of_a_standing_person() -> None:
    points = np.float32([100, 100]) + STANDING[None] * np.float32([100, 200])
    box = boxes_from_keypoints(points, np.ones((1, 17), bool), head_mask(SKELETON), SIZE)[0]
    # Extent 100 … 200 by 108 … 300; 10 % to the sides and above, 5 % below.
    np.testing.assert_allclose(box, [90, 108 - 19.2, 210, 300 + 9.6], rtol=1e-5)


def test_a_face_alone_becomes_head_and_shoulders() -> None:
    points = np.float32([300, 100]) + STANDING[None] * np.float32([200, 400])
    confident = np.zeros((1, 17), bool)
    confident[0, :5] = True
    box = boxes_from_keypoints(points, confident, head_mask(SKELETON), SIZE)[0]
    left, top, right, bottom = points[0, :5].min(axis=0).tolist() + points[0, :5].max(axis=0).tolist()
    width = right - left
    assert box[0] < left - 0.7 * width
    assert box[2] > right + 0.7 * width
    assert box[3] - bottom > 0.4 * width
    assert box[1] < top


def test_there_is_hair_above_a_face() -> None:
    points = np.float32([300, 100]) + STANDING[None] * np.float32([200, 400])
    confident = np.ones((1, 17), bool)
    confident[0, 11:] = False  # at a desk
    box = boxes_from_keypoints(points, confident, head_mask(SKELETON), SIZE)[0]
    assert box[1] == pytest.approx(points[0, :5, 1].min() - 0.6 * 40, abs=0.01)  # the ears are 40 px apart


def test_uncertain_points_do_not_stretch_the_box() -> None:
    points = np.float32([100, 100]) + STANDING[None] * np.float32([100, 200])
    points[0, 15] = 600, 470
    confident = np.ones((1, 17), bool)
    confident[0, 15] = False
    box = boxes_from_keypoints(points, confident, head_mask(SKELETON), SIZE)[0]
    assert box[2] < 230


def test_head_of_the_whole_body() -> None:
    mask = head_mask(Skeleton.load("coco_wholebody"))
    assert np.flatnonzero(mask).tolist() == [0, 1, 2, 3, 4, *range(23, 91)]


@pytest.mark.parametrize("size", [(2000, 3), (3, 2000), (40_000, 40), (1, 1)])
def test_a_strip_of_pixels_is_no_reason_for_thousands_of_crops(size: tuple[int, int]) -> None:
    assert len(search_windows(size, 0.75)) <= 18


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (480, 640), (300, 400), (2000, 300)])
def test_search_windows_cover_the_image(size: tuple[int, int]) -> None:
    windows = search_windows(size, 0.75)
    width, height = size
    np.testing.assert_array_equal(windows[0], [0, 0, width, height])
    assert (windows[:, :2] >= 0).all()
    assert (windows[:, 2:] <= np.array(size) + 1e-3).all()
    rest = windows[1:]
    if abs(width / height - 0.75) > 0.05:
        np.testing.assert_allclose((rest[:, 2] - rest[:, 0]) / (rest[:, 3] - rest[:, 1]), 0.75, rtol=1e-3)
        axis = 0 if width / height > 0.75 else 1
        gaps = rest[1:, axis] - rest[:-1, axis + 2]
        assert rest[0, axis] == 0
        assert rest[-1, axis + 2] == pytest.approx(size[axis])
        assert (gaps < 0).all()


def test_ids_stay_while_people_move() -> None:
    tracker = Tracker(SKELETON)
    left, right = (50.0, 100, 150, 300), (400.0, 100, 500, 300)
    assert tracker.update(people([left, right]), SIZE).track_ids.tolist() == [1, 2]
    for step in range(20):
        shift = np.float32([4, 0, 4, 0]) * step
        seen = people([tuple(left + shift), tuple(right - shift)], tracker.ids.tolist())
        assert tracker.update(seen, SIZE).track_ids.tolist() == [1, 2]
    assert tracker.complete


def test_one_person_is_reported_once() -> None:
    """Two boxes that both fell on the same person: the track that is known stays."""
    tracker = Tracker(SKELETON)
    box = (50.0, 100, 150, 300)
    tracker.update(people([box]), SIZE)
    twice = people([(52.0, 100, 152, 300), box], [-1, 1])
    found = tracker.update(twice, SIZE)
    assert found.track_ids.tolist() == [1]
    np.testing.assert_array_equal(found.bboxes, [box])


def test_unsure_people_are_nobody_but_their_place_is_kept() -> None:
    tracker = Tracker(SKELETON)
    box = (50.0, 100, 150, 300)
    assert len(tracker.update(people([box], score=0.2), SIZE)) == 0
    tracker.update(people([box]), SIZE)
    for _ in range(tracker.config.max_age):
        assert len(tracker.update(people([box], [1], score=0.1), SIZE)) == 0
        assert tracker.ids.tolist() == [1]
        assert not tracker.complete
    tracker.update(people([box], [1], score=0.1), SIZE)
    assert tracker.ids.tolist() == []
    assert tracker.update(people([box]), SIZE).track_ids.tolist() == [2]  # ids are never given twice


def test_a_known_person_is_believed_more_readily_than_a_newcomer() -> None:
    box, between = (50.0, 100, 150, 300), 0.25  # of thresholds of 0.3: enough to stay, too little to start
    tracker = Tracker(SKELETON)
    assert len(tracker.update(people([box], score=between), SIZE)) == 0
    tracker.update(people([box]), SIZE)
    assert tracker.update(people([box], [1], score=between), SIZE).track_ids.tolist() == [1]


def test_a_detection_mends_a_track_that_has_lost_its_shape_and_no_other() -> None:
    tracker = Tracker(SKELETON)
    tracker.update(people([(50.0, 100, 150, 300)]), SIZE)
    start = tracker.bboxes[0]
    width, height = start[2:] - start[:2]
    near = start + np.float32([0, 0, 0.05 * width, 0.05 * height])  # IoU .9: the track knows better
    assert tracker.unmatched(near[None]).tolist() == []
    np.testing.assert_array_equal(tracker.bboxes[0], start)
    half = start + np.float32([0, 0, 0, height])  # IoU .5
    assert tracker.unmatched(half[None]).tolist() == []
    np.testing.assert_array_equal(tracker.bboxes[0], half)


def test_who_comes_back_nearby_is_the_same() -> None:
    tracker = Tracker(SKELETON)
    tracker.update(people([(50.0, 100, 150, 300)]), SIZE)
    tracker.update(Poses.empty(17), SIZE)
    assert tracker.update(people([(70.0, 100, 170, 300)]), SIZE).track_ids.tolist() == [1]
    tracker.update(Poses.empty(17), SIZE)
    assert tracker.update(people([(450.0, 100, 550, 300)]), SIZE).track_ids.tolist() == [2]


def test_detections_of_known_people_are_not_fresh() -> None:
    tracker = Tracker(SKELETON)
    tracker.update(people([(50.0, 100, 150, 300)]), SIZE)
    detections = np.float32([[55, 95, 160, 310], [400, 100, 500, 300], [80, 120, 120, 180]])
    assert tracker.unmatched(detections).tolist() == [1]  # not the known person, nor a piece of them
    assert Tracker(SKELETON).unmatched(detections).tolist() == [0, 1, 2]


def test_the_box_of_a_person_at_rest_stands_still() -> None:
    """Noise of the points must not move the crop; a hidden arm must not make it collapse; nothing adds up."""
    rng = np.random.default_rng(1)
    tracker = Tracker(SKELETON)
    tracker.update(people([(200.0, 100, 300, 300)]), SIZE)
    box = tracker.bboxes[0]
    for _ in range(50):
        seen = people([(200.0, 100, 300, 300)], [1])
        noisy = seen.keypoints + rng.normal(0, 0.5, seen.keypoints.shape).astype(np.float32)
        tracker.update(Poses(noisy, seen.scores, seen.bboxes, [1], [1.0]), SIZE)
    np.testing.assert_array_equal(tracker.bboxes[0], box)

    one_arm = people([(200.0, 100, 300, 300)], [1])
    one_arm.scores[0, [7, 9]] = 0.1
    tracker.update(one_arm, SIZE)
    full, first = box[2] - box[0], tracker.bboxes[0, 2] - tracker.bboxes[0, 0]
    assert 0.9 * full < first < full
    for _ in range(30):
        tracker.update(one_arm, SIZE)
    assert tracker.bboxes[0, 2] - tracker.bboxes[0, 0] < 0.9 * full
    tracker.update(people([(200.0, 100, 300, 300)], [1]), SIZE)
    np.testing.assert_allclose(tracker.bboxes[0], box, atol=4)  # a limb that comes back is inside at once


def together(*poses: Poses) -> Poses:
    columns = zip(*((p.keypoints, p.scores, p.bboxes, p.track_ids, p.bbox_scores) for p in poses), strict=True)
    return Poses(*(np.concatenate(column) for column in columns))


WEAK = 0.25  # of thresholds of 0.3: a known person is believed so, but no point speaks for itself


def meeting() -> Tracker:
    """1 walks to the right by 6 px a frame, up to 160; 2 stands in the way. They are about to cover each other."""
    tracker = Tracker(SKELETON)
    for left in range(100, 166, 6):
        tracker.update(people([(left, 100.0, left + 100, 300), (230.0, 100, 330, 300)], tracker.ids.tolist()), SIZE)
    assert tracker.ids.tolist() == [1, 2]
    return tracker


def test_weak_poses_do_not_drag_who_is_hidden() -> None:
    tracker = meeting()
    front = people([(230.0, 100, 330, 300)], [2])
    places = []
    for back in range(12):
        mixed = people([(160.0 - 6 * back, 100, 260 - 6 * back, 300)], [1], score=WEAK)
        found = tracker.update(together(mixed, front), SIZE)
        assert found.track_ids.tolist() == ([1, 2] if back == 0 else [2])  # the first may still be the own
        places.append(float(tracker.bboxes[0, 0]))
    assert (np.diff(places) > 3).all()


def test_who_is_half_hidden_lives_while_every_look_finds_them() -> None:
    tracker = meeting()
    box, front = (166.0, 100, 266, 300), (230.0, 100, 330, 300)
    tracker.update(people([box, front], [1, 2]), SIZE)
    for _ in range(10):
        assert tracker.unmatched(np.float32([box, front])).tolist() == []
        found = tracker.update(together(people([box], [1], score=WEAK), people([front], [2])), SIZE)
        assert found.track_ids.tolist() == [1, 2]
        assert not tracker.complete  # reason to look again


def test_who_is_revived_in_a_crowd_jumps_there() -> None:
    tracker = meeting()
    front = people([(230.0, 100, 330, 300)], [2])
    for _ in range(5):
        tracker.update(front, SIZE)  # 1 is hidden and moves on
    there = (160.0, 90, 240, 310)
    found = tracker.update(together(front, people([there])), SIZE)
    assert found.track_ids.tolist() == [2, 1]
    np.testing.assert_array_equal(
        tracker.bboxes[0], tracker.pose_boxes(people([there]), np.ones((1, 17), bool), SIZE)[0]
    )


def test_who_was_in_sight_has_the_first_right_to_a_pose() -> None:
    """The box of a hidden person shows the one in front, even a little better."""
    tracker = meeting()
    front = (230.0, 100, 330, 300)
    for _ in range(8):
        tracker.update(people([front], [2]), SIZE)
    for _ in range(5):
        both = together(people([front], [1], score=0.9), people([front], [2], score=0.8))
        assert tracker.update(both, SIZE).track_ids.tolist() == [2]


def test_what_no_look_finds_and_no_clear_pose_shows_is_nobody() -> None:
    """A coat keeps a few points of a person who has left."""
    box, nothing = (50.0, 100, 150, 300), np.zeros((0, 4), np.float32)
    tracker = Tracker(SKELETON)
    tracker.update(people([box]), SIZE)
    weak, clear = people([box], [1], score=WEAK), people([box], [1])
    assert tracker.update(weak, SIZE).track_ids.tolist() == [1]
    for look in range(1, tracker.config.max_missed_detections + 3):
        tracker.unmatched(nothing)
        assert not tracker.complete
        assert len(tracker.update(weak, SIZE)) == (look < tracker.config.max_missed_detections)
    assert len(tracker.update(weak, SIZE)) == 0  # nor between looks
    assert tracker.update(clear, SIZE).track_ids.tolist() == [1]


def test_a_clear_pose_needs_no_detection_and_a_weak_one_only_now_and_then() -> None:
    box, nothing = (50.0, 100, 150, 300), np.zeros((0, 4), np.float32)
    tracker = Tracker(SKELETON)
    tracker.update(people([box]), SIZE)
    for _ in range(20):
        tracker.unmatched(nothing)
        assert tracker.update(people([box], [1]), SIZE).track_ids.tolist() == [1]
    assert tracker.complete
    assert tracker.clear
    for look in range(20):
        tracker.unmatched(nothing if look % 3 else np.float32([box]))
        assert tracker.update(people([box], [1], score=WEAK), SIZE).track_ids.tolist() == [1]
    assert not tracker.clear


def vote(agree: bool, sure: bool = False) -> Votes:
    return Votes(np.array([agree]), np.array([sure]))


PLACE = (50.0, 100, 150, 300)


def looks(tracker: Tracker, votes: list[bool], elapsed: float = 1 / 30) -> list[int]:
    """How many people are shown after each look at one place."""
    return [
        len(tracker.update(people([PLACE], tracker.ids.tolist() or [-1]), SIZE, None, vote(agree), elapsed))
        for agree in votes
    ]


@pytest.mark.parametrize(
    ("votes", "shown"),
    [
        ([True, True, True, False, False], [0, 0, 1, 1, 1]),
        ([True, False, True, False, True], [0, 0, 0, 0, 1]),
        ([False, False, False], [0, 0, 0]),
    ],
)
def test_a_newcomer_is_shown_once_enough_looks_agree(votes: list[bool], shown: list[int]) -> None:
    tracker = Tracker(SKELETON, config=TrackerConfig(confirm=3, confirm_of=5))
    assert looks(tracker, votes) == shown


def test_who_is_doubted_is_given_up_and_keeps_the_search_going() -> None:
    tracker = Tracker(SKELETON, config=TrackerConfig(confirm=3, confirm_of=5))
    assert looks(tracker, [True, True, False, False]) == [0] * 4
    assert tracker.ids.tolist() == [1]
    assert not tracker.complete
    assert looks(tracker, [False]) == [0]
    assert tracker.ids.tolist() == []
    assert looks(tracker, [True, True, True]) == [0, 0, 1]  # and may be somebody after all, from the start


def test_who_is_unseen_before_being_shown_was_nobody() -> None:
    tracker = Tracker(SKELETON, config=TrackerConfig(confirm=3, confirm_of=5))
    looks(tracker, [True])
    for _ in range(4):
        assert len(tracker.update(Poses.empty(17), SIZE)) == 0
    assert tracker.ids.tolist() == []


def test_one_sure_look_is_enough() -> None:
    tracker = Tracker(SKELETON)
    assert len(tracker.update(people([PLACE]), SIZE, None, vote(True, sure=True))) == 1


@pytest.mark.parametrize("fps", [2, 4, 5, 8, 10, 15, 25, 30, 60, 120])
def test_a_newcomer_is_shown_in_time_at_any_frame_rate(fps: int) -> None:
    tracker = Tracker(SKELETON)
    first = looks(tracker, [True] * 30, 1 / fps).index(1)
    assert first / fps <= 0.2


def test_who_comes_back_does_not_blink() -> None:
    """Shown from the first look on, though that is not sure."""
    tracker = Tracker(SKELETON)
    assert looks(tracker, [True] * 3) == [0, 0, 1]
    for _ in range(10):
        tracker.update(Poses.empty(17), SIZE)
    shown = [
        len(tracker.update(people([(60.0, 100, 160, 300)], [n]), SIZE, None, vote(True))) for n in (-1, 1, 1, 1, 1, 1)
    ]
    assert shown == [1] * 6


@pytest.mark.parametrize(("count", "enough"), [(1, 1), (2, 1), (3, 2), (5, 3), (6, 3), (7, 4), (17, 4), (133, 8)])
def test_few_points_are_enough_for_a_person_of_few_points(count: int, enough: int) -> None:
    skeleton = Skeleton.from_dict({"keypoints": [f"point-{i}" for i in range(count)]})
    tracker = Tracker(skeleton, config=TrackerConfig(confirm=1, confirm_of=1))
    box = np.float32([[100, 100, 200, 300]])
    for confident, people_there in ((enough, 1), (enough - 1, 0)):
        tracker.reset()
        scores = np.where(np.arange(count) < confident, 0.9, 0.0)[None]
        points = np.linspace((110, 110), (190, 290), count)[None].astype(np.float32)
        poses = Poses(points, scores.astype(np.float32), box, [-1], np.ones(1))
        assert len(tracker.update(poses, SIZE)) == people_there
