"""Track ids on generated clips with known paths: two people cross, one leaves and comes back."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from figures import DOTS, FIGURE

from edgepose import Detector, TopdownEstimator
from edgepose.appearance import appearance, similarity
from edgepose.boxes import containment_matrix

WIDTH, HEIGHT = 480, 240
SHIRTS = [(40, 60, 160), (120, 110, 20), (90, 90, 90)]  # BGR, none of the colors that the dot net looks for
Place = tuple[float, float]  # left, top
Boxes = np.ndarray


def boxes_of(places: list[Place]) -> Boxes:  # [N, 4]
    return np.array([(x, y, x + 80, y + 140) for x, y in places], np.float32)


def paint(boxes: Boxes) -> np.ndarray:
    """Figures in shirts; the later ones stand in front."""
    frame = np.full((HEIGHT, WIDTH, 3), 15, np.uint8)
    for box, shirt in zip(boxes, SHIRTS, strict=False):
        low, high = box[:2], box[2:]
        corners = [tuple(int(v) for v in low + share * (high - low)) for share in ((0.05, 0.02), (0.95, 0.98))]
        cv2.rectangle(frame, *corners, (15, 15, 15), -1)  # hides who stands behind
        corners = [tuple(int(v) for v in low + share * (high - low)) for share in ((0.2, 0.15), (0.8, 0.8))]
        cv2.rectangle(frame, *corners, shirt, -1)
        for (x, y), rgb in zip(low + FIGURE * (high - low), DOTS.values(), strict=True):
            cv2.circle(frame, (round(x * 16), round(y * 16)), 7 * 16, rgb[::-1], -1, cv2.LINE_AA, 4)
    return frame


class SeesThroughPaths(Detector):
    """A detector that knows where everybody is, but sees nobody who is mostly hidden or out of the image."""

    def __init__(self) -> None:
        self.boxes: Boxes = np.zeros((0, 4), np.float32)
        self.calls = 0

    def __call__(self, _: np.ndarray) -> tuple[Boxes, np.ndarray]:
        self.calls += 1
        return self.boxes, np.full(len(self.boxes), 0.9, np.float32)


def visible(boxes: Boxes) -> np.ndarray:  # [N] bool
    middle = boxes[:, [0, 2]].mean(axis=1)
    inside = (middle > 0) & (middle < WIDTH)
    hidden = np.triu(containment_matrix(boxes, boxes), 1).max(axis=1, initial=0) > 0.5
    return inside & ~hidden


def play(estimator: TopdownEstimator, detector: SeesThroughPaths, paths: Callable[[int], list[Place]], frames: int):
    """Ids [frames, N] of the people by the paths; 0 where nobody was found on them."""
    ids = []
    for t in range(frames):
        boxes = boxes_of(paths(t))
        detector.boxes = boxes[visible(boxes)]
        poses = estimator(paint(boxes))
        true = boxes[:, None, :2] + FIGURE * (boxes[:, 2:] - boxes[:, :2])[:, None]
        row = [0] * len(boxes)
        for points, track in zip(poses.keypoints, poses.track_ids, strict=True):
            nearest = np.linalg.norm(true - points, axis=2).mean(axis=1)
            if nearest.min() < 15:
                row[int(nearest.argmin())] = int(track)
        ids.append(row)
    return np.array(ids)


@pytest.mark.parametrize("speed", [3, 6, 9])
@pytest.mark.parametrize("front", [0, 1])
def test_ids_stay_when_people_cross(dot_net, speed: int, front: int) -> None:
    def paths(t: int) -> list[Place]:
        walkers = [(20.0 + speed * t, 50.0), (380.0 - speed * t, 60.0)]
        return walkers if front else walkers[::-1]

    detector = SeesThroughPaths()
    ids = play(TopdownEstimator(dot_net, "cpu", detector=detector), detector, paths, 360 // speed)
    start, end = ids[0], ids[-1]
    assert sorted(start) == [1, 2]
    np.testing.assert_array_equal(end, start)
    # Where they cover each other, nobody can say whose a point is; before and after, nobody bears another's id.
    apart = [abs(a[0] - b[0]) > 50 for a, b in map(paths, range(len(ids)))]
    for person in (0, 1):
        assert set(ids[apart][:, person]) <= {0, start[person]}
    assert (ids[apart] > 0).mean() > 0.8
    assert detector.calls < len(ids)  # between its runs people are followed by their points


def test_who_leaves_and_returns_is_known_again(dot_net) -> None:
    """One stays; one walks out at the left, is away for two seconds and comes back at another height."""

    def paths(t: int) -> list[Place]:
        if t < 40:
            return [(300.0, 50.0), (150.0 - 7 * t, 40.0)]
        if t < 100:
            return [(300.0 - t / 4, 50.0), (-500.0, 0.0)]
        return [(275.0, 50.0), (min(-90.0 + 7 * (t - 100), 120.0), 80.0)]

    detector = SeesThroughPaths()
    estimator = TopdownEstimator(dot_net, "cpu", detector=detector)
    ids = play(estimator, detector, paths, 150)
    stays, leaves = ids[0]
    assert {stays, leaves} == {1, 2}
    assert set(ids[:, 0]) == {stays}
    assert set(ids[45:100, 1]) == {0}
    assert set(ids[:, 1]) == {0, leaves}
    assert (ids[130:, 1] == leaves).all()


def test_a_stranger_is_somebody_new(dot_net) -> None:
    """After one has left, another comes in who is dressed differently."""

    def paths(t: int) -> list[Place]:
        gone, away = (-500.0, 0.0), t >= 20
        return [(200.0, 50.0), gone if away else (60.0, 40.0), (60.0, 40.0) if t > 90 else gone]

    detector = SeesThroughPaths()
    ids = play(TopdownEstimator(dot_net, "cpu", detector=detector), detector, paths, 110)
    assert set(ids[:, 0]) == {ids[0, 0]}
    assert set(ids[91:, 2]) - {0} == {3}


def test_an_empty_room_is_looked_at_now_and_then(dot_net) -> None:
    detector = SeesThroughPaths()
    estimator = TopdownEstimator(dot_net, "cpu", detector=detector)
    room = paint(boxes_of([]).reshape(0, 4))
    assert [len(estimator(room)) for _ in range(30)] == [0] * 30
    assert 8 <= detector.calls <= 11


def test_colors_tell_people_apart() -> None:
    boxes = boxes_of([(20, 50), (300, 60), (-400, 0)])
    looks = appearance(paint(boxes), boxes)
    np.testing.assert_allclose(looks.sum(axis=1), [1, 1, 0], rtol=1e-5)
    moved = boxes_of([(100, 40), (200, 80), (0, 0)])
    darker = (paint(moved) * 0.85).astype(np.uint8)
    alike = similarity(looks, appearance(darker, moved))
    assert alike[0, 0] > 0.5
    assert alike[1, 1] > 0.5
    assert alike[0, 1] < 0.45
    assert alike[1, 0] < 0.45
    assert alike[2].max() == 0
