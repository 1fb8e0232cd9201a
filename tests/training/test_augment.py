"""What augmentation does to points and picture must be the same thing, however it is painted."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgepose.skeletons import Skeleton  # noqa: E402
from edgepose.transforms import bbox_to_center_scale, crop_affine  # noqa: E402
from edgepose_training import augment  # noqa: E402
from edgepose_training.augment import Labels, Strength  # noqa: E402
from edgepose_training.data import Crops, DeviceCrops, EpochSampler, draws, labels_of, loader  # noqa: E402
from edgepose_training.drawn import draw_person  # noqa: E402
from edgepose_training.render import render_cv2, render_torch  # noqa: E402

SKELETON = Skeleton.load("coco_wholebody")
SIZE = (96, 128)
STRONG = Strength(flip=0.5, half_body=0.3, scale=(0.7, 1.3), rotation=60, shift=0.16)


def people(count: int = 8, seed: int = 0, **changes: np.ndarray) -> tuple[list[np.ndarray], Labels]:
    rng = np.random.default_rng(seed)
    crops = [replace(draw_person(rng), **changes) for _ in range(count)]
    fields = ("bbox", "keypoints", "visible", "weights")
    tensors = [torch.from_numpy(np.stack([getattr(c, f) for c in crops])) for f in fields]
    size = torch.tensor([c.image.shape[1::-1] for c in crops], dtype=torch.float32)
    return [c.image for c in crops], Labels(*tensors, size)


def centroid(channel: np.ndarray) -> np.ndarray:
    ys, xs = np.mgrid[: channel.shape[0], : channel.shape[1]]
    return np.array([(xs * channel).sum(), (ys * channel).sum()]) / channel.sum()


def test_points_follow_the_picture():
    """The nose stays on its dot; a mirrored left wrist is labelled as the right one."""
    images, labels = people(24)
    dotted = [np.zeros_like(image) for image in images]
    for image, points in zip(dotted, labels.keypoints.tolist(), strict=True):
        for index, colour in ((0, (0, 0, 255)), (9, (0, 255, 0))):
            cv2.circle(image, (round(points[index][0]), round(points[index][1])), 5, colour, -1)
    plan = augment.plan(labels, SKELETON, SIZE, STRONG, draws(range(24)))
    keypoints, _, inside = augment.targets(labels, plan, SKELETON, SIZE)
    painted = render_cv2(dotted, plan, SIZE).astype(np.float64)
    checked = {"nose": 0, "wrist": 0}
    for i, image in enumerate(painted):
        for name, index, channel in (("nose", 0, 2), ("wrist", 10 if plan.flip[i] else 9, 1)):
            point = keypoints[i, index].numpy()
            if inside[i, index] and (point > 6).all() and (point < np.array(SIZE) - 7).all():
                np.testing.assert_allclose(point, centroid(image[..., channel]), atol=1.0)
                checked[name] += 1
    assert min(checked.values()) > 6
    assert 4 < int(plan.flip.sum()) < 20


def test_nothing_drawn_is_the_crop_of_inference():
    """Training without augmentation and the runtime map the box to the same pixels."""
    images, labels = people(3)
    size = (192, 256)  # enlarges the drawn people: no anti-aliasing
    plan = augment.plan(labels, SKELETON, size, Strength(), draws(range(3)))
    center, scale = bbox_to_center_scale(labels.bbox.numpy(), aspect=size[0] / size[1], padding=1.25)
    np.testing.assert_allclose(plan.affine.numpy(), crop_affine(center, scale, size), atol=1e-3)
    painted = render_cv2(images, plan, size)
    expected = cv2.warpAffine(images[0], crop_affine(center, scale, size)[0], size)
    assert np.abs(painted[0].astype(int) - expected).max() <= 1


def test_rotation_turns_like_the_runtime():
    center, size = torch.tensor([[50.0, 60.0]]), torch.tensor([[90.0, 120.0]])
    ours = augment.similarity(center, size, torch.tensor([30.0]), SIZE, torch.tensor([False]))
    np.testing.assert_allclose(
        ours.numpy(), crop_affine(center.numpy(), size.numpy(), SIZE, rotation_deg=30.0), atol=1e-4
    )


def test_both_painters_paint_the_same():
    """OpenCV one by one and torch from the flat buffer, with everything switched on."""
    images, labels = people(30, seed=3)
    strength = replace(STRONG, cut=0.5, erase=0.7, colour=1.0, scale=(0.5, 0.9))  # enlarging: no anti-aliasing blur
    plan = augment.plan(labels, SKELETON, SIZE, strength, draws(range(100, 130)))
    by_cv2 = render_cv2(images, plan, SIZE).astype(int)
    flat = torch.from_numpy(np.concatenate([image.ravel() for image in images]))
    lengths = torch.tensor([image.size for image in images])
    by_torch = render_torch(flat, lengths.cumsum(0) - lengths, labels.size, plan, SIZE).numpy().astype(int)
    # OpenCV works with 1/32 px, torch with floats: noisy pictures differ a little everywhere, by much nowhere.
    difference = np.abs(by_cv2 - by_torch)
    assert np.median(difference) <= 1
    assert (difference > 12).mean() < 0.01
    assert plan.blur.any()
    assert (plan.erase[:, 0] != plan.erase[:, 2]).any()


def test_what_a_person_gets_depends_on_its_seed_alone():
    _, labels = people(4)
    strength = replace(STRONG, cut=0.5, erase=1.0, colour=1.0)
    together = augment.plan(labels, SKELETON, SIZE, strength, draws([1, 2, 3, 4]))
    alone = augment.plan(Labels(*(t[2:3] for t in vars(labels).values())), SKELETON, SIZE, strength, draws([3]))
    for ours, theirs in zip(vars(together).values(), vars(alone).values(), strict=True):
        torch.testing.assert_close(ours[2:3], theirs)


def test_draws_reach_their_bounds_and_no_further():
    n = 4000
    _, labels = people(1)
    labels = Labels(*(t.expand(n, *t.shape[1:]) for t in vars(labels).values()))
    strength = Strength(scale=(0.6, 1.4), rotation=80)
    plan = augment.plan(labels, SKELETON, SIZE, strength, draws(range(n)))
    base = augment.plan(labels, SKELETON, SIZE, Strength(), draws(range(n)))
    factor = (torch.linalg.det(base.affine[:, :, :2]) / torch.linalg.det(plan.affine[:, :, :2])).sqrt()
    assert 0.6 <= factor.min() < 0.65
    assert 1.35 < factor.max() <= 1.4 + 1e-4
    angle = torch.rad2deg(torch.atan2(plan.affine[:, 0, 1], plan.affine[:, 0, 0])).abs()
    assert 70 < angle.max() <= 80 + 1e-3
    assert (angle < 1e-3).float().mean() == pytest.approx(0.4, abs=0.04)


def test_a_cut_makes_what_is_below_absent():
    images, labels = people(6)
    plan = augment.plan(labels, SKELETON, SIZE, Strength(cut=1.0), draws(range(6)))
    _, weights, inside = augment.targets(labels, plan, SKELETON, SIZE)
    cut = plan.bottom < labels.size[:, 1]
    assert cut.sum() >= 4
    assert (weights[:, 15:17] > 0).all()  # still labelled: the label says "not here"
    assert not inside[cut][:, 15:17].any()
    assert inside[cut][:, 0].all()
    lit = render_cv2([np.full_like(image, 255) for image in images], plan, SIZE)
    assert not lit[int(cut.nonzero()[0]), -1].any()  # black below the end of the picture


def test_a_cut_leaves_people_without_hips_alone():
    visible = np.full(133, 2, np.uint8)
    visible[[11, 12]] = 0
    _, labels = people(4, visible=visible)
    plan = augment.plan(labels, SKELETON, SIZE, Strength(cut=1.0), draws(range(4)))
    assert torch.equal(plan.bottom, labels.size[:, 1])


def test_unlabelled_points_are_never_inside():
    visible, weights = np.full(133, 2, np.uint8), np.ones(133, np.float32)
    visible[5:40], weights[5:40] = 0, 0
    _, labels = people(10, visible=visible, weights=weights)
    plan = augment.plan(labels, SKELETON, SIZE, STRONG, draws(range(10)))
    _, weights_out, inside = augment.targets(labels, plan, SKELETON, SIZE)
    assert not inside[weights_out == 0].any()


def test_half_bodies_show_one_half():
    _, labels = people(30)
    plan = augment.plan(labels, SKELETON, SIZE, Strength(half_body=1.0), draws(range(30)))
    _, _, inside = augment.targets(labels, plan, SKELETON, SIZE)
    upper, lower = inside[:, list(SKELETON.upper)].all(1), inside[:, list(SKELETON.lower)].all(1)
    assert (upper | lower).all()
    assert 0.5 < upper.float().mean() < 0.95


def test_the_loader_and_the_device_give_the_same_people(store):
    sampler = EpochSampler(len(store), 1, 0)
    (batch, *_), crops = (
        list(loader(Crops(store, SKELETON, SIZE), 4, 0, sampler)),
        DeviceCrops(store, SKELETON, torch.device("cpu")),
    )
    other = next(crops.batches(SIZE, Strength(), 4, sampler))
    torch.testing.assert_close(batch.keypoints, other.keypoints)
    torch.testing.assert_close(batch.weights, other.weights)
    assert (batch.images.int() - other.images.int()).abs().float().mean() < 6
    assert len(labels_of(store, [0, 1]).bbox) == 2
