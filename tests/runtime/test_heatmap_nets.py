"""Nets that answer with maps: against literal pixels, refined and mirrored, and with cards that do not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgepose import EdgeposeError, ModelCard, Skeleton, TopdownEstimator
from edgepose.codecs import Heatmap

PAIR = Skeleton.from_dict({"name": "pair", "keypoints": ["left", "right"], "swap": [[0, 1]]})
CARD = ModelCard("maps", input_size=(48, 64), codec="heatmap", split_ratio=0.25, sigma=(2.0, 2.0), beta=None,
                 score="max", refine="none", skeleton=PAIR)  # fmt: skip
FRAME, BOX = np.zeros((64, 48, 3), np.uint8), [[4.8, 6.4, 43.2, 57.6]]  # × 1.25: the whole frame, pixel for pixel


def peaks(left: tuple[int, int] = (5, 9), right: tuple[int, int] = (2, 3), height: float = 0.8) -> np.ndarray:
    """Maps [1, 2, 16, 12] with one cell (x, y) each, and a smaller one to the right of it and below."""
    maps = np.zeros((1, 2, 16, 12), np.float32)
    for point, (x, y) in enumerate((left, right)):
        maps[0, point, y, x] = height
        maps[0, point, y, x + 1] = maps[0, point, y + 1, x] = height / 2
    return maps


@pytest.mark.parametrize(
    ("refine", "points"),
    [("none", [(20, 36), (8, 12)]), ("quarter", [(21, 37), (9, 13)]), (None, [(20, 36), (8, 12)])],
)
def test_expected_pixels(constant_net, refine, points) -> None:
    net = constant_net({"heatmaps": peaks()}, (1, 3, 64, 48), CARD)
    poses = TopdownEstimator(net, "cpu", detector="none", refine=refine)(FRAME, BOX * 2)
    np.testing.assert_allclose(poses.keypoints, [points] * 2, atol=1e-3)
    np.testing.assert_allclose(poses.scores, 0.8, rtol=1e-5)


def test_dark_finds_what_lies_between_the_cells(constant_net) -> None:
    rows, columns = np.mgrid[:16, :12]
    places = [(5.3, 8.6), (6.7, 7.2)]  # cells
    maps = [np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8) for x, y in places]
    net = constant_net({"heatmaps": np.array([maps])}, (1, 3, 64, 48), replace(CARD, refine="dark"))
    poses = TopdownEstimator(net, "cpu", detector="none")(FRAME, BOX)
    np.testing.assert_allclose(poses.keypoints[0], 4 * np.array(places), atol=0.15)


def test_scores_lie_between_0_and_1(constant_net) -> None:
    maps = peaks(height=3)
    maps[0, 1] = -1
    net = constant_net({"heatmaps": maps}, (1, 3, 64, 48), CARD)
    poses = TopdownEstimator(net, "cpu", detector="none")(FRAME, BOX)
    np.testing.assert_array_equal(poses.scores, [[1, 0]])
    assert np.isfinite(poses.keypoints).all()


@pytest.mark.parametrize(("offset", "stride"), [(0.0, 4), (1.5, 4), (0.0, 2), (0.5, 8)])
def test_the_flip_test_has_no_bias_in_any_convention(offset: float, stride: int) -> None:
    """Maps of points, and maps of the mirrored points, left and right exchanged: their mean gives the points back."""
    width, height = 96 // stride, 128 // stride
    rows, columns = np.mgrid[:height, :width]

    def maps_of(points: np.ndarray) -> np.ndarray:  # [2, 2] px
        cells = (points - offset) / stride
        return np.array([np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8) for x, y in cells], np.float32)[None]

    points = np.array([[41.3, 60.8], [52.9, 71.4]])
    mirrored = np.array([95, 0]) + [-1, 1] * points[::-1]
    codec = Heatmap((96, 128), cell_offset=offset)
    swap = np.array([1, 0])
    flipped, _ = codec.decode(maps_of(points), refine="dark", flipped=(maps_of(mirrored), swap))
    np.testing.assert_allclose(flipped[0], points, atol=0.05 * stride)
    # Through an affine that turns by a right angle and doubles, as through the identity.
    affine = np.array([[[0, -2, 7], [2, 0, -5]]], np.float32)
    turned, _ = codec.decode(maps_of(points), affine, "dark", (maps_of(mirrored), swap))
    np.testing.assert_allclose(turned[0], flipped[0] @ affine[0, :, :2].T + affine[0, :, 2], atol=1e-3)


def test_the_estimator_takes_the_flip_test(constant_net) -> None:
    """A net that always says the same: cells 5 and 7 of the mean are alike, the first counts, less half a pixel."""
    net = constant_net({"heatmaps": peaks((5, 9), (5, 9))}, (1, 3, 64, 48), CARD)
    poses = TopdownEstimator(net, "cpu", detector="none", flip_test=True)(FRAME, BOX)
    np.testing.assert_allclose(poses.keypoints[0], [(19.5, 36)] * 2, atol=1e-3)
    np.testing.assert_allclose(poses.scores, 0.4, rtol=1e-5)


@pytest.mark.parametrize(("options", "complaint"), [
    ({"score": "entropy"}, "The score 'entropy' is unknown for heat maps: use one of max."),
    ({"refine": "best"}, "The refinement 'best' is unknown for heat maps: use one of none, quarter, dark."),
])  # fmt: skip
def test_what_maps_do_not_have(constant_net, options, complaint) -> None:
    net = constant_net({"heatmaps": peaks()}, (1, 3, 64, 48), CARD)
    with pytest.raises(EdgeposeError, match=complaint):
        TopdownEstimator(net, "cpu", detector="none", **options)


def test_a_card_of_other_maps(constant_net, peaks) -> None:
    small = constant_net({"heatmaps": np.zeros((1, 2, 8, 6))}, (1, 3, 64, 48), CARD)
    with pytest.raises(
        EdgeposeError, match=r"heatmaps is \['N', 2, 8, 6\], but the card says 2 points and maps of 12 × 16"
    ):
        TopdownEstimator(small, "cpu", detector="none")
    vectors = constant_net({"simcc_x": peaks(96, [1, 2]), "simcc_y": peaks(128, [1, 2])}, (1, 3, 64, 48), CARD)
    with pytest.raises(
        EdgeposeError, match=r"not a heat-map pose model: outputs expected heatmaps \[N, K, h, w\], got simcc_x"
    ):
        TopdownEstimator(vectors, "cpu", detector="none")


@pytest.mark.parametrize(("name", "value"), [
    ("codec", "regression"), ("score", "entropy"), ("refine", "newton"), ("cell_offset", -1.0), ("cell_offset", "1"),
])  # fmt: skip
def test_nonsense_in_a_card_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        replace(CARD, **{name: value})


def test_there_and_back() -> None:
    assert ModelCard.from_json(CARD.to_json()) == CARD
    assert CARD.bins == (12, 16)


@pytest.mark.parametrize(("sigma", "blur"), [(2.0, 11), (3.0, 17), (0.1, 3), (50.0, 127)])
def test_dark_blurs_as_far_as_the_labels_reach(sigma: float, blur: int) -> None:
    assert Heatmap(sigma=sigma).blur == blur
