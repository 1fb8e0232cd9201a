"""What augmentation does to points and picture must be the same thing."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from edgepose.skeletons import Skeleton
from edgepose.transforms import bbox_to_center_scale, crop_affine
from edgepose_training.augment import Strength, augment, cut_below, plain, similarity
from edgepose_training.drawn import draw_person
from edgepose_training.shards import Crop

SKELETON = Skeleton.load("coco_wholebody")
SIZE = (96, 128)
STRONG = Strength(flip=0.5, half_body=0.3, scale=(0.7, 1.3), rotation=60, shift=0.16)


def dotted(seed: int) -> Crop:
    """A crop whose nose is a red dot and whose left wrist is a green one, on black."""
    crop = draw_person(np.random.default_rng(seed))
    image = np.zeros_like(crop.image)
    for index, colour in ((0, (0, 0, 255)), (9, (0, 255, 0))):
        cv2.circle(image, tuple(round(v) for v in crop.keypoints[index].tolist()), 5, colour, -1)
    return replace(crop, image=image)


def centroid(channel: np.ndarray) -> np.ndarray:
    ys, xs = np.mgrid[: channel.shape[0], : channel.shape[1]]
    return np.array([(xs * channel).sum(), (ys * channel).sum()]) / channel.sum()


@pytest.mark.parametrize("seed", range(12))
def test_points_follow_the_picture(seed):
    """The nose stays on its dot; a mirrored left wrist is labelled as the right one."""
    crop = dotted(seed)
    sample = augment(crop, SKELETON, SIZE, STRONG, np.random.default_rng(seed))
    red, green = sample.image[..., 2].astype(float), sample.image[..., 1].astype(float)
    if sample.inside[0] and 6 < sample.keypoints[0, 0] < SIZE[0] - 7 and 6 < sample.keypoints[0, 1] < SIZE[1] - 7:
        np.testing.assert_allclose(sample.keypoints[0], centroid(red), atol=1.0)
    if green.sum() > 2000:
        gaps = [np.linalg.norm(sample.keypoints[wrist] - centroid(green)) for wrist in (9, 10)]
        assert min(gaps) < 2.0


def test_plain_is_the_crop_of_inference():
    """Training without augmentation and the runtime map the box to the same pixels."""
    crop = draw_person(np.random.default_rng(0))
    center, scale = bbox_to_center_scale(crop.bbox[None], aspect=SIZE[0] / SIZE[1], padding=1.25)
    affine = crop_affine(center, scale, SIZE)[0]
    expected = crop.keypoints @ affine[:, :2].T + affine[:, 2]
    np.testing.assert_allclose(plain(crop, SKELETON, SIZE).keypoints, expected, atol=1e-3)


def test_rotation_turns_like_the_runtime():
    center, size = np.array([50.0, 60.0]), np.array([90.0, 120.0])
    ours = similarity(center, size, 30.0, SIZE, flip=False)
    theirs = crop_affine(center[None], size[None], SIZE, rotation_deg=30.0)[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_same_seed_draws_the_same_sample():
    crop = draw_person(np.random.default_rng(1))
    strength = replace(STRONG, cut=0.5, erase=1.0, colour=1.0)
    one, two, other = (augment(crop, SKELETON, SIZE, strength, np.random.default_rng(s)) for s in (3, 3, 4))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.keypoints, two.keypoints)
    assert not np.array_equal(one.image, other.image)


def test_a_cut_makes_what_is_below_absent():
    crop = draw_person(np.random.default_rng(2))
    sample = augment(crop, SKELETON, SIZE, Strength(cut=1.0), np.random.default_rng(0))
    ankles = [15, 16]
    assert (sample.weights[ankles] > 0).all()  # still labelled: the label says "not here"
    assert not sample.inside[ankles].any()
    assert sample.inside[0]


def test_a_cut_leaves_people_without_shoulders_or_hips_alone():
    crop = draw_person(np.random.default_rng(2))
    hidden = crop.visible.copy()
    hidden[[11, 12]] = 0
    image, bbox = cut_below(crop.image, crop.bbox, replace(crop, visible=hidden), np.random.default_rng(0))
    assert image is crop.image
    assert bbox is crop.bbox


def test_unlabelled_points_are_never_inside():
    crop = draw_person(np.random.default_rng(3))
    visible, weights = crop.visible.copy(), crop.weights.copy()
    visible[5:40], weights[5:40] = 0, 0
    crop = replace(crop, visible=visible, weights=weights)
    for seed in range(10):
        sample = augment(crop, SKELETON, SIZE, STRONG, np.random.default_rng(seed))
        assert not sample.inside[sample.weights == 0].any()
