"""From given boxes to points and scores: crop, net, decode, against literal pixels."""

from __future__ import annotations

import numpy as np
import pytest

import edgepose
from edgepose import EdgeposeError, ModelCard, Skeleton, TopdownEstimator
from edgepose.posemodel import PoseModel
from edgepose.runtime import Session

AT_X = [0, 383, 100, 192, 200, 250] + [192] * 11
AT_Y = [0, 511, 200, 256, 300, 100] + [256] * 11


@pytest.fixture
def body_net(constant_net, peaks):
    """No card, 17 points: as a third party exports RTMPose."""
    return constant_net({"simcc_x": peaks(384, AT_X), "simcc_y": peaks(512, AT_Y)})


# Box (100, 50, 300, 350): center (200, 200), padded 250 × 375, brought to 3:4 as 281.25 × 375. A crop pixel is
# 375 / 256 = 1.46484375 pixels of the frame, a bin half of it; the center is at bins (192, 256).
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


def test_unsupervised_keypoints_leave_with_score_zero(constant_net, ideal_answers) -> None:
    net = constant_net(ideal_answers, card=_carded(unsupervised_keypoints=(3, 16)))
    poses = TopdownEstimator(net, "cpu", detector="none")(np.zeros((480, 640, 3), np.uint8), [[100, 50, 300, 350]])
    assert np.flatnonzero(poses.scores[0] == 0).tolist() == [3, 16]
    assert np.isfinite(poses.keypoints).all()


@pytest.mark.parametrize("score", ["calibrated", "entropy"])
def test_the_cards_calibration_is_applied_to_the_cards_score(constant_net, ideal_answers, score: str) -> None:
    """The other relative score is what it is: the card's map says nothing about it."""
    card = _carded(score=score, calibration={"body": [[0, 0.5, 1], [0, 0.1, 0.8]]})
    net, frame = constant_net(ideal_answers, card=card), np.zeros((480, 640, 3), np.uint8)
    other = "entropy" if score == "calibrated" else "calibrated"
    for asked, expected in ((None, 0.8), (score, 0.8), (other, 1.0)):
        poses = TopdownEstimator(net, "cpu", detector="none", score=asked)(frame, [[100, 50, 300, 350]])
        np.testing.assert_allclose(poses.scores[0, 2:], expected, atol=2e-3)


def test_a_card_with_knots_says_what_the_spread_of_each_axis_scores(constant_net) -> None:
    """Two bins of equal height are e^(−entropy) = ½ at β = 1, four are ¼; the less certain axis counts."""
    spread = {"simcc_x": np.full((1, 17, 384), -50.0), "simcc_y": np.full((1, 17, 512), -50.0)}
    spread["simcc_x"][..., 100:102], spread["simcc_y"][..., 200:204] = 0, 0
    knots = {"x": [[0.0, 0.5, 1.0], [0.0, 0.3, 1.0]], "y": [[0.0, 0.25, 1.0], [0.0, 0.6, 1.0]]}
    card = _carded(score="entropy", beta=1.0, score_knots=knots, calibration={"body": [[0, 0.3, 1], [0, 0.7, 1]]})
    frame, box = np.zeros((480, 640, 3), np.uint8), [[100, 50, 300, 350]]
    net = constant_net(spread, card=card)
    np.testing.assert_allclose(TopdownEstimator(net, "cpu", detector="none")(frame, box).scores, 0.7, atol=1e-5)
    with pytest.raises(EdgeposeError, match="has no scores called 'calibrated': its card knows 'entropy'"):
        TopdownEstimator(net, "cpu", detector="none", score="calibrated")


@pytest.mark.parametrize(("order", "expected"), [("rgb", (0.0, 0.5, 1.0)), ("bgr", (1.0, 0.5, 0.0))])
def test_the_net_sees_the_cards_colors(constant_net, ideal_answers, order: str, expected: tuple[float, ...]) -> None:
    """A blue frame: BGR 255, 127.5, 0."""
    card = _carded(channel_order=order, mean=(0, 0, 0), std=(254, 254, 254))
    net = PoseModel(Session(constant_net(ideal_answers, card=card), "cpu", 1), None)
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
