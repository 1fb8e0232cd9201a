"""Detecting and tracking people with a net that reads the image: drawn figures in, their true points out."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose import EdgeposeError, TopdownConfig, TopdownEstimator
from edgepose.detectors import Detector
from edgepose.smoothing import SmoothingConfig
from edgepose.tracks import TrackerConfig


def _error(poses, points) -> float:
    """Largest distance of the found points to the true ones, people in any order."""
    apart = np.linalg.norm(poses.keypoints[:, None] - points[None], axis=3).max(axis=2)  # [found, true]
    return float(apart.min(axis=0).max())


def test_given_box(dot_net, draw_figures) -> None:
    frame, points = draw_figures((320, 240), [(100, 40, 190, 180)])
    poses = TopdownEstimator(dot_net, "cpu", detector="none")(frame, [[100, 40, 190, 180]])
    assert _error(poses, points) < 3
    assert poses.scores.min() > 0.5


def test_one_network_call_for_everybody(dot_net, draw_figures, monkeypatch) -> None:
    boxes = [(20.0, 40, 110, 180), (220.0, 40, 310, 180), (420.0, 30, 490, 200)]
    frame, points = draw_figures((520, 240), boxes)
    estimator = TopdownEstimator(dot_net, "cpu", detector="none")
    calls: list[int] = []
    run = estimator._net.session.run
    monkeypatch.setattr(estimator._net.session, "run", lambda batch: calls.append(len(batch)) or run(batch))
    poses = estimator(frame, boxes)
    assert calls == [3]
    assert np.linalg.norm(poses.keypoints - points, axis=2).max() < 3


@pytest.mark.parametrize("size", [(320, 240), (640, 240), (240, 480), (200, 200)])
def test_a_person_is_found_without_box_or_detector(dot_net, draw_figures, size) -> None:
    w, h = size
    frame, points = draw_figures(size, [(w / 2 + 10, h / 2 - 60, w / 2 + 80, h / 2 + 50)])
    poses = TopdownEstimator(dot_net, "cpu", detector="none")(frame)
    assert len(poses) == 1
    assert _error(poses, points) < 4


def test_an_empty_image_holds_nobody(dot_net) -> None:
    estimator = TopdownEstimator(dot_net, "cpu", detector="none")
    assert [len(estimator(np.zeros((240, 320, 3), np.uint8))) for _ in range(8)] == [0] * 8


def test_a_person_is_followed_across_the_image(dot_net, draw_figures) -> None:
    estimator = TopdownEstimator(dot_net, "cpu", detector="none")
    for step in range(40):
        frame, points = draw_figures((480, 240), [(20 + 8 * step, 40, 110 + 8 * step, 180)])
        poses = estimator(frame)
        assert poses.track_ids.tolist() == [1]
        assert _error(poses, points) < 4, step


def test_a_track_is_lost_and_found_again(dot_net, draw_figures) -> None:
    estimator = TopdownEstimator(dot_net, "cpu", detector="none")
    here, _ = draw_figures((320, 240), [(40, 40, 130, 180)])
    away, others = draw_figures((320, 240), [(210, 60, 280, 160)])
    empty = np.zeros_like(here)
    assert estimator(here).track_ids.tolist() == [1]
    assert [len(estimator(empty)) for _ in range(4)] == [0] * 4
    assert estimator(here).track_ids.tolist() == [1]  # back at the same place soon: the same person
    for _ in range(60):
        assert len(estimator(empty)) == 0
    found = [estimator(away) for _ in range(7)]
    assert found[-1].track_ids.tolist() == [1]  # elsewhere and later, but nobody else looks like that
    assert _error(found[-1], others) < 4


@pytest.mark.parametrize(("max_people", "ids"), [(None, [1, 2]), (1, [1])])
def test_a_second_person_walks_in(dot_net, draw_figures, max_people, ids) -> None:
    estimator = TopdownEstimator(dot_net, "cpu", detector="none", max_people=max_people)
    alone, _ = draw_figures((480, 240), [(40, 40, 130, 180)])
    both, points = draw_figures((480, 240), [(40, 40, 130, 180), (300, 50, 380, 190)])
    assert estimator(alone).track_ids.tolist() == [1]
    found = [estimator(both) for _ in range(61)]
    assert all(1 in poses.track_ids for poses in found)
    assert found[-1].track_ids.tolist() == ids
    assert _error(found[-1], points[: len(ids)]) < 4


def test_a_lost_person_is_searched_for_at_once_and_then_patiently(dot_net, draw_figures) -> None:
    estimator = TopdownEstimator(dot_net, "cpu", detector="none")
    here, _ = draw_figures((480, 240), [(40, 40, 130, 180)])
    there, points = draw_figures((480, 240), [(300, 50, 380, 190)])
    for frame in (here, here, there):
        poses = estimator(frame)
    assert len(poses) == 0  # the loss is noticed
    poses = estimator(there)
    assert _error(poses, points) < 4
    calls = [0]
    look = estimator._search
    estimator._search = lambda *args: calls.__setitem__(0, calls[0] + 1) or look(*args)
    for _ in range(40):
        estimator(np.zeros_like(here))
    assert 6 <= calls[0] <= 9


def test_unrelated_images_have_no_past(dot_net, draw_figures) -> None:
    estimator = TopdownEstimator(dot_net, "cpu", detector="none", sequence=False)
    for box in ((40, 40, 130, 180), (210, 60, 280, 160), (100, 20, 200, 200)):
        frame, points = draw_figures((320, 240), [box])
        poses = estimator(frame)
        assert poses.track_ids.tolist() == [-1]
        assert _error(poses, points) < 4


KINDS = {
    "alpha": lambda frame: np.dstack([frame, frame[..., :1]]),
    "16 bit": lambda frame: frame.astype(np.uint16) * 257,
    "float": lambda frame: (frame / 255).astype(np.float32),
}


@pytest.mark.parametrize("convert", KINDS.values(), ids=KINDS)
def test_images_of_other_kinds(dot_net, draw_figures, convert) -> None:
    frame, points = draw_figures((320, 240), [(100, 40, 190, 180)])
    assert _error(TopdownEstimator(dot_net, "cpu", detector="none")(convert(frame), [[100, 40, 190, 180]]), points) < 3


def test_timings_name_every_stage(dot_net, draw_figures) -> None:
    estimator = TopdownEstimator(dot_net, "cpu", detector="none")
    estimator(draw_figures((320, 240), [(40, 40, 130, 180)])[0])
    assert set(estimator.last_timings_ms) == {"detect", "crop", "network", "decode", "track"}
    assert estimator.last_timings_ms["network"] > 0


def test_with_a_detector(dot_net, constant_net, draw_figures) -> None:
    """Two people of a detector, more of them than are wanted, followed between its runs."""
    boxes = [(30.0, 40, 120, 180), (190.0, 40, 280, 180)]
    frame, points = draw_figures((320, 240), boxes)
    dets = np.array([[[*boxes[0], 0.9], [*boxes[1], 0.8], [0, 0, 9, 9, 0.1]]], np.float32)
    net = constant_net({"dets": dets, "labels": np.zeros((1, 3), np.float32)}, ("N", 3, 240, 320))
    detector = Detector(net, "cpu")
    estimator = TopdownEstimator(dot_net, "cpu", detector=detector)
    for _ in range(15):
        poses = estimator(frame)
        assert poses.track_ids.tolist() == [1, 2]
        assert _error(poses, points) < 3
    assert len(TopdownEstimator(dot_net, "cpu", detector=detector, max_people=1)(frame)) == 1


class Counting(Detector):
    """Finds one person, and counts how often it is asked."""

    def __init__(self, box: tuple[float, ...]) -> None:
        self.box, self.calls = box, 0

    def __call__(self, _):
        self.calls += 1
        return np.float32([self.box]), np.float32([0.9])


@pytest.mark.parametrize(
    ("config", "fps", "looks"),
    [
        (TopdownConfig(), 30, 6),  # every tenth frame
        (TopdownConfig(), 10, 6),  # whatever their rate
        (TopdownConfig(detect_every=20), 30, 3),
        (TopdownConfig(detect_every_ms=1000 / 3), 30, 6),
        (TopdownConfig(detect_every_ms=1000), 30, 2),
        (TopdownConfig(detect_every_ms=1000), 10, 6),
        (TopdownConfig(detect_every_ms=1), 30, 60),
    ],
)
def test_the_detector_runs_as_often_as_the_config_says(dot_net, draw_figures, config, fps, looks) -> None:
    box = (30.0, 40, 120, 180)
    detector = Counting(box)
    estimator = TopdownEstimator(dot_net, "cpu", detector=detector, config=config)
    frame, _ = draw_figures((320, 240), [box])
    for n in range(60):
        assert estimator(frame, timestamp=round(n / fps, 3)).track_ids.tolist() == [1]
    assert detector.calls == looks


def test_a_clock_that_starts_anew_does_not_stop_the_search(dot_net, draw_figures) -> None:
    box = (30.0, 40, 120, 180)
    detector = Counting(box)
    estimator = TopdownEstimator(dot_net, "cpu", detector=detector, config=TopdownConfig(detect_every_ms=500))
    frame, _ = draw_figures((320, 240), [box])
    for timestamp in (1000.0, 1000.1, 0.0, 0.1, 0.6):
        estimator(frame, timestamp=timestamp)
    assert detector.calls == 3


def test_settings_reach_tracker_smoother_and_detector(dot_net, constant_net) -> None:
    net = constant_net({"dets": np.zeros((1, 3, 5), np.float32), "labels": np.zeros((1, 3), np.float32)})
    config = TopdownConfig(
        tracker=TrackerConfig(keep=0.5), smoothing=SmoothingConfig(min_cutoff=2.0), person_threshold=0.7
    )
    estimator = TopdownEstimator(dot_net, "cpu", detector=net, smooth=True, config=config)
    assert estimator._tracker.config.keep == 0.5
    assert estimator._smoother is not None
    assert estimator._smoother.min_cutoff == 2.0
    assert estimator.detector is not None
    assert estimator.detector.threshold == 0.7


@pytest.mark.parametrize(
    "wrong", [{"detect_every_ms": 0}, {"detect_every": -1}, {"search_every": float("nan")}, {"person_threshold": 2}]
)
def test_settings_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(EdgeposeError, match=next(iter(wrong))):
        TopdownConfig(**wrong)


@pytest.mark.parametrize(("clear", "looks"), [(0.5, 1), (1.1, 4)])
def test_a_full_house_is_looked_at_only_while_somebody_is_in_doubt(dot_net, draw_figures, clear, looks) -> None:
    box = (30.0, 40, 120, 180)
    detector = Counting(box)
    config = TopdownConfig(tracker=TrackerConfig(clear=clear, confirm=1))
    estimator = TopdownEstimator(dot_net, "cpu", detector=detector, max_people=1, config=config)
    frame, _ = draw_figures((320, 240), [box])
    assert [estimator(frame).track_ids.tolist() for _ in range(31)] == [[1]] * 31
    assert detector.calls == looks


def test_a_detector_is_no_pose_model(constant_net) -> None:
    net = constant_net({"dets": np.zeros((1, 3, 5)), "labels": np.zeros((1, 3))})
    with pytest.raises(EdgeposeError, match=r"not a SimCC pose model.*dets \['N', 3, 5\]"):
        TopdownEstimator(net, "cpu", detector="none")


def test_windows_of_a_person_already_found_are_no_new_people(constant_net, peaks) -> None:
    """Without a detector every window of the frame shows this net a person; the whole frame's contains the others."""
    at = np.random.default_rng(0).integers((96, 60), (286, 440), (17, 2)).T.tolist()
    net = constant_net({"simcc_x": peaks(384, at[0]), "simcc_y": peaks(512, at[1])})
    assert len(TopdownEstimator(net, "cpu", detector="none")(np.zeros((480, 640, 3), np.uint8))) == 1


def test_the_large_people_come_before_the_sure_ones(constant_net, peaks) -> None:
    class Crowd(Detector):
        def __init__(self) -> None: ...

        def __call__(self, frame):  # noqa: ARG002
            return np.float32([[10, 10, 40, 60], [100, 20, 400, 460]]), np.float32([0.9, 0.5])

    at = np.random.default_rng(0).integers((96, 60), (286, 440), (17, 2)).T.tolist()
    net = constant_net({"simcc_x": peaks(384, at[0]), "simcc_y": peaks(512, at[1])})
    estimator = TopdownEstimator(net, "cpu", detector=Crowd(), max_people=1)
    poses = estimator(np.zeros((480, 640, 3), np.uint8))
    assert poses.bboxes.tolist() == [[100, 20, 400, 460]]
