"""The SimCC codec: labels by literals, and what was encoded comes back."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose import ModelCard, SimCC, ops

CODEC = SimCC()


def test_bins_and_the_rule_behind_sigma() -> None:
    for size in ((192, 256), (288, 384), (256, 256)):
        sigma = tuple(round((2 * side / 16) ** 0.5, 2) for side in size)
        codec = SimCC(size, 2.0, sigma)
        assert codec.bins == (2 * size[0], 2 * size[1])
    assert SimCC.from_card(ModelCard("x")) == CODEC


def test_labels_by_literals() -> None:
    x, y, weight = CODEC.encode([[[10.0, 20.25]]], [[1.0]])
    assert (x.shape, y.shape) == ((1, 1, 384), (1, 1, 512))
    assert (x[0, 0].argmax(), y[0, 0].argmax()) == (20, 40)  # 40.5 rounds to the even bin
    assert x[0, 0, 20] == 1  # peak 1, not normalized
    np.testing.assert_allclose(x[0, 0, 24], np.exp(-16 / (2 * 4.9**2)), rtol=1e-5)
    assert weight.tolist() == [[1]]


# Visible weight, x in pixels → kept weight, whether a label is drawn. σ = 4.9, so 3σ = 14.7 bins.
EDGES = [
    (0.49, 50, 0.49, False),  # unlabeled: no label, the weight stays as it is
    (0.5, 50, 0.5, True),
    (2.0, 50, 2.0, True),
    (1.0, -7.5, 1.0, True),  # μ = −15: −15 + 14.7 + 1 ≥ 0
    (1.0, -8.0, 0.0, False),  # μ = −16
    (1.0, 199.0, 1.0, True),  # μ = 398: 398 − 14.7 < 384
    (1.0, 199.5, 0.0, False),  # μ = 399: 384.3 ≥ 384
]


@pytest.mark.parametrize(("visible", "x", "weight", "drawn"), EDGES)
def test_edges(visible: float, x: float, weight: float, drawn: bool) -> None:
    label_x, label_y, kept = CODEC.encode([[[x, 100.0]]], [[visible]])
    assert kept[0, 0] == pytest.approx(weight)
    assert bool(label_x.any()) == bool(label_y.any()) == drawn


def test_round_trip_is_within_a_quarter_pixel() -> None:
    points = np.random.default_rng(3).uniform((0, 0), (191.7, 255.7), (7, 133, 2)).astype(np.float32)
    x, y, _ = CODEC.encode(points, np.ones((7, 133)))
    found, scores = CODEC.decode(x, y)
    assert np.abs(found - points).max() <= 0.25 + 1e-5
    assert ((scores >= 0) & (scores <= 1)).all()


def test_the_input_is_left_alone() -> None:
    visible = np.ones((1, 1), np.float32)
    CODEC.encode([[[-500.0, 0]]], visible)
    assert visible[0, 0] == 1


def test_raw_scores_and_affine() -> None:
    x, y, _ = CODEC.encode([[[10.0, 20.0]]], [[1.0]])
    shift = np.array([[[2, 0, 100], [0, 2, 200]]], np.float32)
    found, scores = CODEC.decode(3 * x, 2 * y, shift, "mean")
    np.testing.assert_allclose(found, [[[120, 240]]])
    np.testing.assert_allclose(scores, [[2.5]])


def test_nonsense_is_named() -> None:
    with pytest.raises(ValueError, match=r"simcc_encode: keypoints expected"):
        CODEC.encode(np.zeros((3, 2)), np.zeros(3))
    with pytest.raises(ValueError, match="simcc_encode: visible has K=2 but keypoints has K=3"):
        CODEC.encode(np.zeros((1, 3, 2)), np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"SimCC.decode: score expected"):
        CODEC.decode(np.zeros((1, 1, 384)), np.zeros((1, 1, 512)), score="best")
    with pytest.raises(ValueError, match="beta and sigma"):
        SimCC(beta=None).decode(np.zeros((1, 1, 384)), np.zeros((1, 1, 512)))


@pytest.mark.parametrize("refine", ["none", "dark"])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("split_ratio", [2.0, 1.5])
def test_knots_change_scores_alone(split_ratio: float, mirrored: bool, refine: str) -> None:
    """Points are the op's, under the flip test and DARK together, too; knots that change nothing leave its scores."""
    rng = np.random.default_rng(0)
    bins = int(64 * split_ratio), int(96 * split_ratio)
    x, y, other_x, other_y = (2 * rng.standard_normal((3, 4, bins[axis]), np.float32) for axis in (0, 1, 0, 1))
    flipped = (other_x, other_y, np.array([0, 2, 1, 3])) if mirrored else None
    straight = [[0.0, 1.0], [0.0, 1.0]]
    codec = SimCC((64, 96), split_ratio, (4.0, 5.0), 1.0, {"x": straight, "y": [[0.0, 1.0], [0.0, 0.5]]})
    keypoints, scores = codec.decode(x, y, score="entropy", flipped=flipped, refine=refine)
    sigma = codec.sigma if refine == "dark" else None
    expected, _ = ops.simcc_decode(x, y, split_ratio=split_ratio, sigma=sigma, refine=refine, flipped=flipped)
    np.testing.assert_array_equal(keypoints, expected)
    _, bare = ops.simcc_decode(x, y, split_ratio=split_ratio, score="entropy", beta=1.0, flipped=flipped)
    assert (scores <= bare + 1e-6).all()
    assert (scores >= bare / 2 - 1e-6).all()
    assert np.ptp(scores) > 0
    plain = SimCC((64, 96), split_ratio, (4.0, 5.0), 1.0, {"x": straight, "y": straight})
    again = plain.decode(x, y, score="entropy", flipped=flipped, refine=refine)[1]
    np.testing.assert_allclose(again, bare, atol=1e-6)
