"""The whole runtime: frame → crop → net → decode → frame, against literal pixels and drawn figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import edgepose
from edgepose import EdgeposeError, ModelCard, Skeleton, TopdownEstimator
from edgepose.detectors import Detector
from edgepose.posenet import PoseNet
from edgepose.runtime import Session

AT_X = [0, 383, 100, 192, 200, 250] + [192] * 11
AT_Y = [0, 511, 200, 256, 300, 100] + [256] * 11


@pytest.fixture
def body_net(constant_net, peaks):
    """No card, 17 points: as a third party exports RTMPose."""
    return constant_net({"simcc_x": peaks(384, AT_X), "simcc_y": peaks(512, AT_Y)})


# Box (100, 50, 300, 350): centre (200, 200), padded 250 × 375, brought to 3:4 as 281.25 × 375. A crop pixel is
# 375 / 256 = 1.46484375 pixels of the frame, a bin half of it; the centre is at bins (192, 256).
EXPECTED = [
    (0, (59.375, 12.5)),
    (1, (200 + 95.5 * 1.46484375, 200 + 127.5 * 1.46484375)),
    (2, (132.6171875, 158.984375)),
    (3, (200.0, 200.0)),
    (4, (205.859375, 232.2265625)),
    (5, (242.48046875, 85.7421875)),
]


@pytest.mark.parametrize(("point", "pixel"), EXPECTED)
def test_table_of_expected_pixels(body_net, point: int, pixel: tuple[float, float]) -> None:
    poses = TopdownEstimator(body_net, "cpu", detector="none")(np.zeros((480, 640, 3), np.uint8), [[100, 50, 300, 350]])
    np.testing.assert_allclose(poses.keypoints[0, point], pixel, atol=2e-3)


def test_a_second_person_has_the_own_affine(body_net) -> None:
    boxes = [[100, 50, 300, 350], [400, 50, 600, 350], [0, 0, 75, 100]]
    poses = TopdownEstimator(body_net, "cpu", detector="none")(np.zeros((480, 640, 3), np.uint8), boxes)
    np.testing.assert_allclose(poses.keypoints[1] - poses.keypoints[0], np.full((17, 2), (300, 0)), atol=2e-3)
    # 75 × 100 is 3:4 already: padded 93.75 × 125, so bin (0, 0) is its corner.
    np.testing.assert_allclose(poses.keypoints[2, 0], (37.5 - 46.875, 50 - 62.5), atol=2e-3)
    np.testing.assert_array_equal(poses.bboxes, np.float32(boxes))
    np.testing.assert_array_equal(poses.track_ids, [-1, -1, -1])


def test_a_file_without_a_card_is_taken_for_rtmpose(body_net) -> None:
    estimator = TopdownEstimator(body_net, "cpu", detector="none")
    card = estimator.card
    assert (card.input_size, card.split_ratio, card.channel_order, card.score) == (
        (192, 256),
        2.0,
        "rgb",
        "min",
    )
    assert estimator.skeleton.name == "coco17"
    poses = estimator(np.zeros((480, 640, 3), np.uint8), [[0, 0, 100, 100]])
    np.testing.assert_allclose(poses.scores, 0.9, rtol=1e-6)  # the raw smaller maximum


def test_symbolic_output_sizes_are_found_out(constant_net, peaks) -> None:
    """Common exporters name the last axes; a trial run tells their sizes."""
    symbols = {"simcc_x": ("N", "a", "b"), "simcc_y": ("N", "c", "d")}
    answers = {"simcc_x": peaks(288, [5] * 26), "simcc_y": peaks(384, [7] * 26)}
    net = constant_net(answers, ("N", 3, 192, 144), output_shapes=symbols)
    estimator = TopdownEstimator(net, "cpu", detector="none")
    assert (estimator.card.input_size, estimator.skeleton.name) == ((144, 192), "halpe26")


def test_a_fixed_batch_of_one_serves_several_people(constant_net, peaks) -> None:
    net = constant_net({"simcc_x": peaks(384, AT_X), "simcc_y": peaks(512, AT_Y)}, batch=1)
    boxes = [[100, 50, 300, 350], [400, 50, 600, 350]]
    poses = TopdownEstimator(net, "cpu", detector="none")(np.zeros((480, 640, 3), np.uint8), boxes)
    np.testing.assert_allclose(poses.keypoints[1, 3], (500, 200), atol=2e-3)


def _carded(**changes) -> ModelCard:
    return ModelCard("made-up", skeleton=Skeleton.load("coco17"), **changes)


def _ideal(bins: int, at: list[int], sigma: float) -> np.ndarray:
    return np.exp(-0.5 * ((np.arange(bins) - np.array(at)[:, None]) / sigma) ** 2)[None]


@pytest.fixture
def ideal_answers():
    return {"simcc_x": _ideal(384, AT_X, 4.9), "simcc_y": _ideal(512, AT_Y, 5.66)}


def test_scores_are_one_for_ideal_labels_and_small_for_flat_logits(constant_net, ideal_answers) -> None:
    frame, box = np.zeros((480, 640, 3), np.uint8), [[100, 50, 300, 350]]
    sure = TopdownEstimator(constant_net(ideal_answers, card=_carded()), "cpu")(frame, box)
    np.testing.assert_allclose(sure.scores[0, 2:], 1, atol=1e-4)  # 0 and 1 lose half of their bell at the border
    flat = {name: np.zeros_like(rows) for name, rows in ideal_answers.items()}
    unsure = TopdownEstimator(constant_net(flat, card=_carded()), "cpu")(frame, box)
    assert unsure.scores.max() < 0.1
    assert (unsure.scores >= 0).all()


def test_scores_by_name(constant_net, ideal_answers) -> None:
    net = constant_net({name: 3 * rows for name, rows in ideal_answers.items()}, card=_carded())
    frame, box = np.zeros((480, 640, 3), np.uint8), [[100, 50, 300, 350]]
    assert TopdownEstimator(net, "cpu", detector="none")(frame, box).scores.max() <= 1
    np.testing.assert_allclose(
        TopdownEstimator(net, "cpu", detector="none", score="min")(frame, box).scores, 3, rtol=1e-5
    )


def test_untrained_points_leave_with_score_zero(constant_net, ideal_answers) -> None:
    net = constant_net(ideal_answers, card=_carded(untrained=(3, 16)))
    poses = TopdownEstimator(net, "cpu", detector="none")(np.zeros((480, 640, 3), np.uint8), [[100, 50, 300, 350]])
    assert np.flatnonzero(poses.scores[0] == 0).tolist() == [3, 16]
    assert np.isfinite(poses.keypoints).all()


def test_the_cards_calibration_is_applied(constant_net, ideal_answers) -> None:
    net = constant_net(ideal_answers, card=_carded(calibration={"body": [[0, 0.5, 1], [0, 0.1, 0.8]]}))
    poses = TopdownEstimator(net, "cpu", detector="none")(np.zeros((480, 640, 3), np.uint8), [[100, 50, 300, 350]])
    np.testing.assert_allclose(poses.scores[0, 2:], 0.8, atol=1e-3)


@pytest.mark.parametrize(("order", "expected"), [("rgb", (0.0, 0.5, 1.0)), ("bgr", (1.0, 0.5, 0.0))])
def test_the_net_sees_the_cards_colours(constant_net, ideal_answers, order: str, expected: tuple[float, ...]) -> None:
    """A blue frame: BGR 255, 127.5, 0."""
    card = _carded(channel_order=order, mean=(0, 0, 0), std=(254, 254, 254))
    net = PoseNet(Session(constant_net(ideal_answers, card=card), "cpu", 1), None)
    crops, _ = net.crop(np.full((400, 300, 3), (254, 127, 0), np.uint8), np.float32([[100, 100, 200, 250]]))
    np.testing.assert_allclose(crops[0, :, 128, 96], expected, atol=1e-6)


def test_nobody_is_an_empty_result(body_net) -> None:
    poses = TopdownEstimator(body_net, "cpu", detector="none")(np.zeros((48, 64, 3), np.uint8), [])
    assert (len(poses), poses.keypoints.shape) == (0, (0, 17, 2))


@pytest.mark.parametrize("bad", [[[1, 2, 3]], [1, 2, 3, 4, 5], [[0, 0, np.nan, 5]], [[0, 0, 3e38, 5]]])
def test_bad_boxes_are_refused(body_net, bad: list) -> None:
    with pytest.raises(ValueError, match="TopdownEstimator: bboxes expected"):
        TopdownEstimator(body_net, "cpu", detector="none")(np.zeros((48, 64, 3), np.uint8), bad)


@pytest.mark.parametrize("name", ["max_people", "threads"])
@pytest.mark.parametrize("value", [0, -1])
def test_counts_below_one_are_refused(body_net, name: str, value: int) -> None:
    with pytest.raises(EdgeposeError, match=f"{name} is {value}"):
        TopdownEstimator(body_net, "cpu", detector="none", **{name: value})


def test_the_one_decoder(body_net, monkeypatch) -> None:
    """No second decoder hides anywhere on the estimator's way."""

    def refuse(*_args, **_kwargs):
        raise RuntimeError("the decoder was called")

    estimator = TopdownEstimator(body_net, "cpu", detector="none")
    monkeypatch.setattr(edgepose.ops, "simcc_decode", refuse)
    with pytest.raises(RuntimeError, match="the decoder was called"):
        estimator(np.zeros((48, 64, 3), np.uint8), [[0, 0, 10, 10]])
    with pytest.raises(RuntimeError, match="the decoder was called"):
        estimator(np.zeros((48, 64, 3), np.uint8))


# With a net that really looks -----------------------------------------------------------------------------


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


def test_an_empty_picture_holds_nobody(dot_net) -> None:
    estimator = TopdownEstimator(dot_net, "cpu", detector="none")
    assert [len(estimator(np.zeros((240, 320, 3), np.uint8))) for _ in range(8)] == [0] * 8


def test_a_person_is_followed_across_the_picture(dot_net, draw_figures) -> None:
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


def test_unrelated_pictures_have_no_past(dot_net, draw_figures) -> None:
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
def test_pictures_of_other_kinds(dot_net, draw_figures, convert) -> None:
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


@pytest.mark.parametrize(("clear", "looks"), [(0.5, 1), (1.1, 4)])
def test_a_full_house_is_looked_at_only_while_somebody_is_in_doubt(dot_net, draw_figures, clear, looks) -> None:
    box = (30.0, 40, 120, 180)
    calls: list[int] = []

    class One(Detector):
        def __init__(self) -> None:
            pass

        def __call__(self, _):
            calls.append(1)
            return np.float32([box]), np.float32([0.9])

    estimator = TopdownEstimator(dot_net, "cpu", detector=One(), max_people=1)
    estimator._tracker.config = replace(estimator._tracker.config, clear=clear)
    frame, _ = draw_figures((320, 240), [box])
    assert [estimator(frame).track_ids.tolist() for _ in range(31)] == [[1]] * 31
    assert len(calls) == looks


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
