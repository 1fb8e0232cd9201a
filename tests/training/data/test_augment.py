"""What augmentation does to points and image must be the same thing, however it is painted."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgepose import EdgeposeError  # noqa: E402
from edgepose.skeletons import Skeleton  # noqa: E402
from edgepose.transforms import bbox_to_center_scale, crop_affine  # noqa: E402
from edgepose_training.data import augment  # noqa: E402
from edgepose_training.data.augment import CropLabels, Strength, draws  # noqa: E402
from edgepose_training.data.loaders import Crops, DeviceCrops, EpochSampler, labels_of, loader  # noqa: E402
from edgepose_training.data.render import pack_pixels, render_cv2, render_kernel, render_torch  # noqa: E402
from edgepose_training.data.synthetic import synthetic_person  # noqa: E402

SKELETON = Skeleton.load("coco_wholebody")
SIZE = (96, 128)
STRONG = Strength(flip=0.5, half_body=0.3, scale=(0.7, 1.3), rotation=60, shift=0.16)


def people(count: int = 8, seed: int = 0, **changes: np.ndarray) -> tuple[list[np.ndarray], CropLabels]:
    rng = np.random.default_rng(seed)
    crops = [replace(synthetic_person(rng), **changes) for _ in range(count)]
    fields = ("bbox", "keypoints", "visible", "weights")
    tensors = [torch.from_numpy(np.stack([getattr(c, f) for c in crops])) for f in fields]
    size = torch.tensor([c.image.shape[1::-1] for c in crops], dtype=torch.float32)
    return [c.image for c in crops], CropLabels(*tensors, size)


def centroid(channel: np.ndarray) -> np.ndarray:
    ys, xs = np.mgrid[: channel.shape[0], : channel.shape[1]]
    return np.array([(xs * channel).sum(), (ys * channel).sum()]) / channel.sum()


def test_points_follow_the_picture():
    """The nose stays on its dot; a mirrored left wrist is labeled as the right one."""
    images, labels = people(24)
    dotted = [np.zeros_like(image) for image in images]
    for image, points in zip(dotted, labels.keypoints.tolist(), strict=True):
        for index, color in ((0, (0, 0, 255)), (9, (0, 255, 0))):
            cv2.circle(image, (round(points[index][0]), round(points[index][1])), 5, color, -1)
    plan = augment.plan(labels, SKELETON, SIZE, STRONG, draws(torch.arange(24)))
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
    size = (192, 256)  # enlarges the synthetic people: no anti-aliasing
    plan = augment.plan(labels, SKELETON, size, Strength(), draws(torch.arange(3)))
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


def test_all_painters_paint_the_same():
    """OpenCV one by one, torch and the kernel from the flat buffer, with everything switched on."""
    images, labels = people(30, seed=3)
    strength = replace(
        STRONG, truncation_prob=0.5, erase=0.7, color=1.0, scale=(0.5, 0.9)
    )  # enlarging: no anti-aliasing blur
    plan = augment.plan(labels, SKELETON, SIZE, strength, draws(torch.arange(100, 130)))
    by_cv2 = render_cv2(images, plan, SIZE).astype(int)
    flat = torch.from_numpy(np.concatenate([image.ravel() for image in images]))
    lengths = torch.tensor([image.size // 3 for image in images])
    where = lengths.cumsum(0) - lengths, labels.size, plan, SIZE
    by_torch = render_torch(pack_pixels(flat), *where).numpy().astype(int)
    for oversample in (1, 2, 3):
        by_kernel = render_kernel(flat, *where, oversample).numpy().astype(int)
        apart = np.abs(by_kernel - render_torch(pack_pixels(flat), *where, oversample).numpy())
        assert apart.max() <= 1
        assert apart.mean() < 0.01
    # OpenCV works with 1/32 px, torch with floats: noisy images differ a little everywhere, by much nowhere.
    difference = np.abs(by_cv2 - by_torch)
    assert np.median(difference) <= 1
    assert (difference > 12).mean() < 0.01
    assert plan.blur.any()
    assert (plan.erase[:, 0] != plan.erase[:, 2]).any()


def test_what_a_person_gets_depends_on_its_seed_alone():
    _, labels = people(4)
    strength = replace(STRONG, truncation_prob=0.5, erase=1.0, color=1.0)
    together = augment.plan(labels, SKELETON, SIZE, strength, draws(torch.tensor([1, 2, 3, 4])))
    alone = augment.plan(labels[2:3], SKELETON, SIZE, strength, draws(torch.tensor([3])))
    for ours, theirs in zip(vars(together).values(), vars(alone).values(), strict=True):
        torch.testing.assert_close(ours[2:3], theirs)


def test_draws_reach_their_bounds_and_no_further():
    n = 4000
    _, labels = people(1)
    labels = CropLabels(*(t.expand(n, *t.shape[1:]) for t in vars(labels).values()))
    strength = Strength(scale=(0.6, 1.4), rotation=80)
    plan = augment.plan(labels, SKELETON, SIZE, strength, draws(torch.arange(n)))
    base = augment.plan(labels, SKELETON, SIZE, Strength(), draws(torch.arange(n)))
    factor = (torch.linalg.det(base.affine[:, :, :2]) / torch.linalg.det(plan.affine[:, :, :2])).sqrt()
    assert 0.6 <= factor.min() < 0.65
    assert 1.35 < factor.max() <= 1.4 + 1e-4
    angle = torch.rad2deg(torch.atan2(plan.affine[:, 0, 1], plan.affine[:, 0, 0])).abs()
    assert 70 < angle.max() <= 80 + 1e-3
    assert (angle < 1e-3).float().mean() == pytest.approx(0.4, abs=0.04)


def test_a_cut_makes_what_is_below_absent():
    images, labels = people(6)
    plan = augment.plan(labels, SKELETON, SIZE, Strength(truncation_prob=1.0), draws(torch.arange(6)))
    _, weights, inside = augment.targets(labels, plan, SKELETON, SIZE)
    cut = plan.bottom < labels.size[:, 1]
    assert cut.sum() >= 4
    assert (weights[:, 15:17] > 0).all()  # still labeled: the label says "not here"
    assert not inside[cut][:, 15:17].any()
    assert inside[cut][:, 0].all()
    lit = render_cv2([np.full_like(image, 255) for image in images], plan, SIZE)
    assert not lit[int(cut.nonzero()[0]), -1].any()  # black below the end of the image


def test_a_cut_leaves_people_without_hips_alone():
    visible = np.full(133, 2, np.uint8)
    visible[[11, 12]] = 0
    _, labels = people(4, visible=visible)
    plan = augment.plan(labels, SKELETON, SIZE, Strength(truncation_prob=1.0), draws(torch.arange(4)))
    assert torch.equal(plan.bottom, labels.size[:, 1])


def test_unlabeled_points_are_never_inside():
    visible, weights = np.full(133, 2, np.uint8), np.ones(133, np.float32)
    visible[5:40], weights[5:40] = 0, 0
    _, labels = people(10, visible=visible, weights=weights)
    plan = augment.plan(labels, SKELETON, SIZE, STRONG, draws(torch.arange(10)))
    _, weights_out, inside = augment.targets(labels, plan, SKELETON, SIZE)
    assert not inside[weights_out == 0].any()


def test_half_bodies_show_one_half():
    _, labels = people(30)
    plan = augment.plan(labels, SKELETON, SIZE, Strength(half_body=1.0), draws(torch.arange(30)))
    _, _, inside = augment.targets(labels, plan, SKELETON, SIZE)
    upper, lower = inside[:, list(SKELETON.upper)].all(1), inside[:, list(SKELETON.lower)].all(1)
    assert (upper | lower).all()
    assert 0.5 < upper.float().mean() < 0.95


def test_draws_are_uniform_and_independent():
    u = draws(torch.arange(20000))
    assert 0 <= u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    np.testing.assert_allclose(u.mean(0), 0.5, atol=0.01)
    np.testing.assert_allclose(u.var(0), 1 / 12, atol=0.003)
    correlation = np.corrcoef(torch.cat((u[:-1], u[1:]), 1).T.numpy())  # with the neighboring seed's as well
    assert np.abs(correlation - np.eye(len(correlation))).max() < 0.04


def test_draws_are_those_of_splitmix64():
    """First outputs of the reference generator started at 1234567, as published with it."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    np.testing.assert_array_equal(
        draws(torch.tensor([1234567]))[0, :4].numpy(), np.array([v >> 40 for v in expected], np.float32) / 2**24
    )


@pytest.mark.parametrize("crop_kernel", [False, True])
@pytest.mark.parametrize("oversample", [1, 2])
def test_the_loader_and_the_device_give_the_same_people(store, oversample, crop_kernel):
    """The same plan for each person, so the same points exactly; painted alike."""
    sampler = EpochSampler(len(store), 1, 0)
    strength = replace(STRONG, truncation_prob=0.5, erase=0.5, color=1.0)
    ours = list(loader(Crops(store, SKELETON, SIZE, strength), 4, 0, sampler))
    crops = DeviceCrops(store, SKELETON, torch.device("cpu"), crop_kernel=crop_kernel)
    theirs = list(crops.batches(SIZE, strength, 4, sampler, oversample))
    assert len(ours) == len(theirs) == 3
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.keypoints, b.keypoints)
        torch.testing.assert_close(a.weights, b.weights)
        torch.testing.assert_close(a.inside, b.inside)
        assert (a.images.int() - b.images.int()).abs().float().mean() < 6


def test_the_device_goes_on_in_the_middle_of_an_epoch(store):
    crops = DeviceCrops(store, SKELETON, torch.device("cpu"))
    whole = list(crops.batches(SIZE, STRONG, 3, EpochSampler(len(store), 1, 0)))
    late = list(crops.batches(SIZE, STRONG, 3, EpochSampler(len(store), 1, 0, skip=6)))
    assert len(whole) == 4
    for a, b in zip(whole[2:], late, strict=True):
        assert torch.equal(a.images, b.images)


def test_oversampling_averages_what_a_small_input_would_alias():
    """Stripes one pixel wide fade at a third of the size, as in the other painter; single samples alternate."""
    stripes = np.zeros((512, 384, 3), np.uint8)
    stripes[:, ::2] = 255
    labels = CropLabels(torch.tensor([[76.8, 102.4, 307.2, 409.6]]), torch.zeros(1, 133, 2), torch.ones(1, 133),
                    torch.ones(1, 133), torch.tensor([[384.0, 512.0]]))  # fmt: skip
    plan = augment.plan(labels, SKELETON, SIZE, Strength(), draws(torch.tensor([0])))
    flat, start = pack_pixels(torch.from_numpy(stripes.ravel().copy())), torch.tensor([0])
    spread = {
        n: float(render_torch(flat, start, labels.size, plan, SIZE, n)[:, 8:-8, 8:-8].float().std()) for n in (1, 2)
    }
    assert spread[2] < 0.6 * spread[1]
    assert render_cv2([stripes], plan, SIZE)[0, 8:-8, 8:-8].std() < 0.6 * spread[1]


def test_the_kernel_is_not_compiled(store):
    with pytest.raises(EdgeposeError, match="crop_kernel and compile_render exclude each other"):
        DeviceCrops(store, SKELETON, torch.device("cpu"), compiled=True, crop_kernel=True)


def test_a_painter_that_cannot_be_compiled_is_replaced(store, caplog, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)
    crops = DeviceCrops(store, SKELETON, torch.device("cpu"), compiled=True)
    sampler = EpochSampler(len(store), 1, 0)
    painted = next(crops.batches(SIZE, STRONG, 4, sampler))
    plain = next(DeviceCrops(store, SKELETON, torch.device("cpu")).batches(SIZE, STRONG, 4, sampler))
    assert torch.equal(painted.images, plain.images)
    assert "no compiler" in caplog.text


def test_labels_of_some_crops(store):
    assert len(labels_of(store, [0, 1]).bbox) == 2
