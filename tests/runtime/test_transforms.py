"""Boxes to crops and back; images of every kind."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose.transforms import (
    apply_affine,
    bbox_to_center_scale,
    crop_affine,
    invert_affine,
    to_bgr8,
)

SIZE = (192, 256)


@pytest.mark.parametrize(
    ("bbox", "center", "scale"),
    [
        ((100, 50, 300, 350), (200, 200), (281.25, 375)),  # taller than 3:4: the width grows
        ((0, 0, 400, 100), (200, 50), (500, 500 / 0.75)),  # wider: the height grows
        ((10, 10, 10, 10), (10, 10), (0, 0)),
    ],
)
def test_center_and_scale(bbox, center, scale) -> None:
    found = bbox_to_center_scale([bbox], aspect=0.75)
    np.testing.assert_allclose(found[0], [center], rtol=1e-6)
    np.testing.assert_allclose(found[1], [scale], rtol=1e-6)


def test_the_center_falls_on_the_middle_and_corners_on_corners() -> None:
    affine = crop_affine([[200, 200]], [[281.25, 375]], SIZE)
    corners = [[[200, 200], [200 - 140.625, 200 - 187.5], [200 + 140.625, 200 + 187.5]]]
    np.testing.assert_allclose(apply_affine(affine, corners), [[[96, 128], [0, 0], [192, 256]]], atol=1e-3)


def test_rotation_turns_about_the_center() -> None:
    """R(−θ): what lies to the right of the center at 90° comes to lie above it."""
    affine = crop_affine([[50, 50]], [[192, 256]], SIZE, rotation_deg=90)
    np.testing.assert_allclose(apply_affine(affine, [[[60, 50]]]), [[[96, 118]]], atol=1e-4)


def test_round_trip() -> None:
    rng = np.random.default_rng(7)
    center, size = rng.uniform(-100, 2000, (20, 2)), rng.uniform(5, 1500, 20)
    scale = np.stack([size, size / 0.75], axis=1)
    affine = crop_affine(center, scale, SIZE, rotation_deg=rng.uniform(-80, 80, 20))
    points = center[:, None] + rng.uniform(-0.5, 0.5, (20, 133, 2)) * scale[:, None]
    back = apply_affine(invert_affine(affine), apply_affine(affine, points))
    assert np.abs(back - points).max() < 2e-2  # float32 at coordinates of a thousand, zoomed by up to 38
    np.testing.assert_allclose(invert_affine(invert_affine(affine)), affine, rtol=1e-4, atol=1e-2)


def test_nobody_is_legal() -> None:
    center, scale = bbox_to_center_scale([], aspect=0.75)
    affine = invert_affine(crop_affine(center, scale, SIZE))
    assert apply_affine(affine, np.zeros((0, 133, 2))).shape == (0, 133, 2)


def test_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"bbox_to_center_scale: bboxes expected \[N, 4\], got \[4\]"):
        bbox_to_center_scale([1, 2, 3, 4], aspect=1)
    with pytest.raises(ValueError, match=r"apply_affine: points expected \[N=1, K, 2\]"):
        apply_affine([[[1, 0, 0], [0, 1, 0]]], np.zeros((2, 5, 2)))


IMAGES = [
    (np.full((4, 5), 7, np.uint8), (7, 7, 7)),
    (np.full((4, 5, 1), 7, np.uint8), (7, 7, 7)),
    (np.full((4, 5, 3), (1, 2, 3), np.uint8), (1, 2, 3)),
    (np.full((4, 5, 4), (1, 2, 3, 0), np.uint8), (1, 2, 3)),
    (np.full((4, 5, 3), (65535, 32768, 255), np.uint16), (255, 128, 0)),
    (np.full((4, 5), 0.5, np.float64), (128, 128, 128)),
    (np.ones((4, 5), bool), (255, 255, 255)),
]


@pytest.mark.parametrize(("image", "expected"), IMAGES)
def test_any_image(image: np.ndarray, expected: tuple[int, ...]) -> None:
    image = to_bgr8(image)
    assert (image.dtype, image.shape, image.flags.c_contiguous) == (np.uint8, (4, 5, 3), True)
    assert image[2, 3].tolist() == list(expected)


NO_IMAGES = [np.zeros(5), np.zeros((0, 5, 3)), np.zeros((4, 5, 2)), np.zeros((4, 5), np.int32),
               np.full((4, 5), 200.0), np.full((4, 5), np.nan)]  # fmt: skip


@pytest.mark.parametrize("image", NO_IMAGES)
def test_no_image(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="to_bgr8: image"):
        to_bgr8(image)


def test_a_file_that_could_not_be_read_is_named_as_such() -> None:
    with pytest.raises(ValueError, match="to_bgr8: image expected an array, got None: is the image's path right"):
        to_bgr8(None)  # type: ignore[arg-type]
