"""Drawing: what is shown and what is not, scaled with the image."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose import Poses, Skeleton, draw_poses
from edgepose.draw import visible_points

WHOLE = Skeleton.load("coco_wholebody")
STICK = Skeleton.from_dict({"name": "stick", "keypoints": ["left_a", "left_b", "right_c"], "links": [[0, 1], [1, 2]]})


def stick(points: list[tuple[float, float]], scores: list[float]) -> Poses:
    return Poses([points], [scores], [[0, 0, 100, 100]], [4], [1.0])


def touched(image: np.ndarray) -> np.ndarray:  # [H, W] whether a pixel is no longer black
    return image.any(axis=2)


def test_a_copy_unless_told_otherwise() -> None:
    frame = np.zeros((100, 100, 3), np.uint8)
    poses = stick([(20, 20), (80, 20), (80, 80)], [1, 1, 1])
    assert not frame.any()
    drawn = draw_poses(frame, poses, STICK)
    assert drawn.any()
    assert not frame.any()
    assert draw_poses(frame, poses, STICK, inplace=True) is frame
    np.testing.assert_array_equal(frame, drawn)


def test_limbs_have_the_color_of_their_side() -> None:
    frame = np.zeros((1000, 1000, 3), np.uint8)
    drawn = draw_poses(frame, stick([(200, 200), (800, 200), (800, 800)], [1, 1, 1]), STICK)
    left, right, center = (STICK.color(key)[::-1] for key in ("left", "right", "center"))
    assert tuple(drawn[200, 500]) == left
    assert tuple(drawn[500, 800]) == center  # it joins the sides
    assert tuple(drawn[800, 800]) == right


@pytest.mark.parametrize(
    ("points", "scores"),
    [
        ([(20, 20), (80, 20), (80, 80)], [1, 1, 0.29]),
        ([(20, 20), (80, 20), (80, 180)], [1, 1, 1]),
        ([(20, 20), (80, 20), (-40, 20)], [1, 1, 1]),
    ],
    ids=["unsure", "below the image", "left of the image"],
)
def test_what_is_not_drawn(points, scores) -> None:
    drawn = draw_poses(np.zeros((100, 100, 3), np.uint8), stick(points, scores), STICK)
    assert touched(drawn)[20, 50]  # the first limb
    assert not touched(drawn)[30:, :].any()
    assert not touched(drawn)[:, :14].any()


def test_a_point_whose_lines_all_end_out_of_sight_is_not_drawn() -> None:
    """A wrist without its elbow; but a point that no line ever leads to stands for itself."""
    lonely = Skeleton.from_dict({"name": "lonely", "keypoints": ["a", "b", "c", "d"], "links": [[0, 1], [1, 2]]})
    points = [(20, 20), (80, 20), (80, 80), (20, 80)]
    poses = Poses([points], [[1, 0, 1, 1]], [[0, 0, 100, 100]], [4], [1.0])
    drawn = touched(draw_poses(np.zeros((100, 100, 3), np.uint8), poses, lonely))
    assert drawn[80, 20]
    assert not drawn[20, 20]
    assert not drawn[80, 80]


def test_thresholds_of_parts() -> None:
    scores = np.full((1, 133), 0.2, np.float32)
    poses = Poses(np.full((1, 133, 2), 5.0), scores, np.zeros((1, 4)), [1], [1.0])
    shown = visible_points(poses, WHOLE, (10, 10), {"face": 0.1, "body": 0.25})
    assert np.flatnonzero(shown[0]).tolist() == list(range(23, 91))
    assert not visible_points(poses, WHOLE, (10, 10), 0.3).any()


def test_score_zero_is_never_shown() -> None:
    poses = stick([(20, 20), (80, 20), (80, 80)], [0, 0, 0])
    assert not draw_poses(np.zeros((100, 100, 3), np.uint8), poses, STICK, threshold=0).any()


def test_lines_grow_with_the_image() -> None:
    widths = []
    for size in (100, 400, 1600):
        frame = np.zeros((size, size, 3), np.uint8)
        points = [(0.2 * size, 0.2 * size), (0.8 * size, 0.2 * size), (0.8 * size, 0.8 * size)]
        widths.append(int(touched(draw_poses(frame, stick(points, [1, 1, 1]), STICK))[:, size // 2].sum()))
    assert widths[0] < widths[1] < widths[2] < 60


def test_nobody_and_boxes() -> None:
    frame = np.zeros((100, 100, 3), np.uint8)
    assert not draw_poses(frame, Poses.empty(133), WHOLE).any()
    poses = stick([(20, 20), (80, 20), (80, 80)], [0, 0, 0])
    boxed = draw_poses(frame, poses, STICK, bboxes=True)
    assert touched(boxed)[0, 50]
    assert touched(boxed)[5:40, 1:30].any()  # the id


def test_the_image_can_be_dimmed() -> None:
    frame = np.full((10, 10, 3), 200, np.uint8)
    assert (draw_poses(frame, Poses.empty(133), WHOLE, background=0.25) == 50).all()
