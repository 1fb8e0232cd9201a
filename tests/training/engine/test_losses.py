"""The named losses against their formulas, written once more in numpy."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import edgepose.torch  # noqa: E402
from edgepose.codecs import Heatmap, SimCC  # noqa: E402
from edgepose.ops import reference  # noqa: E402
from edgepose_training.engine import losses  # noqa: E402
from edgepose_training.engine.kernels import PlainTorch  # noqa: E402

N, K, WX, WY = 3, 5, 24, 32
RNG = np.random.default_rng(0)
PRED = tuple(torch.from_numpy(RNG.normal(0, 0.3, (N, K, w)).astype(np.float32)) for w in (WX, WY))
KEYPOINTS = torch.from_numpy(RNG.uniform(1, 11, (N, K, 2)).astype(np.float32))
INSIDE = torch.ones(N, K, dtype=torch.bool)
OPS = PlainTorch
CODEC = {"input_size": (WX // 2, WY // 2), "split_ratio": 2.0, "sigma": (1.5, 2.0)}
TARGET = OPS.simcc_encode(KEYPOINTS, INSIDE.float(), **CODEC)[:2]
WEIGHT = torch.from_numpy(RNG.uniform(0, 1, (N, K)).astype(np.float32))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.where(p > 0, p * (np.log(np.maximum(p, 1e-300)) - np.log(q)), 0.0).sum(-1)


def divergence(beta: float, target_beta: float | None) -> list[np.ndarray]:
    rows = []
    for pred, target in zip(PRED, TARGET, strict=True):
        t = target.double().numpy()
        rows.append(kl(t if target_beta is None else softmax(target_beta * t), softmax(beta * pred.double().numpy())))
    return rows


def test_labels_are_those_of_the_codec():
    codec = SimCC((WX // 2, WY // 2), 2.0, (1.5, 2.0))
    labels = codec.encode(KEYPOINTS.numpy(), INSIDE.float().numpy())
    trained = edgepose.torch.simcc_encode(KEYPOINTS, INSIDE.float(), **CODEC)
    for encoded, wanted, twin in zip(labels, trained, TARGET, strict=False):
        np.testing.assert_array_equal(encoded, wanted.numpy())  # one op: the same bits
        np.testing.assert_allclose(encoded, twin.numpy(), atol=1e-6)


def test_absent_points_get_flat_labels():
    inside = INSIDE.clone()
    inside[1, 2] = False
    x, y, weight = OPS.simcc_encode(KEYPOINTS, inside.float(), **CODEC)
    assert weight[1, 2] == 0
    assert not x[1, 2].any()
    assert not y[1, 2].any()
    assert x[1, 3].max() == 1


def test_rtmpose_is_bin_mean_batch_sum_over_k():
    x, y = divergence(10, 10)
    expected = ((x / WX + y / WY) * WEIGHT.numpy()).sum() / K
    np.testing.assert_allclose(losses.rtmpose_loss(OPS, PRED, TARGET, WEIGHT, 10.0), expected, rtol=1e-5)


def test_simcc_is_bin_sum_batch_mean_without_temperature():
    x, y = divergence(1, None)
    np.testing.assert_allclose(
        losses.simcc_loss(OPS, PRED, TARGET, WEIGHT), ((x + y) * WEIGHT.numpy()).sum() / N, rtol=1e-5
    )


def test_wholebody_is_bin_sum_batch_mean_over_k():
    x, y = divergence(10, 10)
    expected = ((x + y) * WEIGHT.numpy()).sum() / (N * K)
    np.testing.assert_allclose(losses.wholebody_loss(OPS, PRED, TARGET, WEIGHT, 10.0), expected, rtol=1e-5)


def test_logit_distillation_ignores_labels_and_vanishes_at_the_teacher():
    teacher = tuple(p + 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) for p in PRED)
    x, y = (
        kl(softmax(10 * t.double().numpy()), softmax(10 * p.double().numpy()))
        for p, t in zip(PRED, teacher, strict=True)
    )
    np.testing.assert_allclose(losses.dwpose_logit_loss(OPS, PRED, teacher, 10.0), (x + y).sum() / (N * K), rtol=1e-4)
    assert abs(losses.dwpose_logit_loss(OPS, PRED, PRED, 10.0)) < 1e-6
    trained = torch.tensor([1.0, 0, 1, 1, 1])
    expected = ((x + y) * trained.numpy()).sum() / (N * K)
    np.testing.assert_allclose(losses.dwpose_logit_loss(OPS, PRED, teacher, 10.0, trained), expected, rtol=1e-4)


def test_feature_distillation_is_a_sum_over_everything_but_the_batch():
    student, teacher = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    expected = np.square(student.numpy() - teacher.numpy()).sum() / 2
    np.testing.assert_allclose(losses.dwpose_feature_loss(student, teacher), expected, rtol=1e-5)


def test_decay_runs_from_one_to_one_over_the_epochs():
    assert losses.decay(0, 270) == 1
    assert losses.decay(269, 270) == pytest.approx(1 / 270)


def test_heatmap_loss_is_least_at_the_label():
    keypoints = torch.tensor([[[40.0, 24.0]]])
    weight = torch.ones(1, 1)
    values = []
    for cell in range(12):
        logits = torch.full((1, 1, 16, 12), -4.0)
        logits[0, 0, 3, cell] = 4.0
        values.append(float(losses.heatmap_loss(OPS, logits, keypoints, weight, (96, 128))))
    assert int(np.argmin(values)) == 5  # 40 px of stride 8
    assert float(losses.heatmap_loss(OPS, torch.zeros(1, 1, 16, 12), keypoints, 0 * weight, (96, 128))) == 0


def test_fpd_mixes_label_and_teacher_on_every_stack():
    maps = [torch.randn(2, 3, 4, 4) for _ in range(2)]
    target, teacher, weight = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4), torch.tensor([[1.0, 0, 1]] * 2)
    label = sum(0.5 * (weight.numpy()[..., None, None] * np.square((m - target).numpy())).mean() for m in maps)
    distilled = sum(0.5 * np.square((m - teacher).numpy()).mean() for m in maps)
    terms = losses.fpd_loss(OPS, maps, target, teacher, weight, alpha=0.3)
    np.testing.assert_allclose(terms["label"], 0.7 * label, rtol=1e-5)
    np.testing.assert_allclose(terms["teacher"], 0.3 * distilled, rtol=1e-5)
    alone = losses.fpd_loss(OPS, maps, target, None, weight)
    assert list(alone) == ["label"]
    np.testing.assert_allclose(alone["label"], label, rtol=1e-5)


def test_fpd_takes_unlabeled_pictures_from_the_teacher_alone():
    maps, teacher = [torch.randn(2, 3, 4, 4)], torch.randn(2, 3, 4, 4)
    weight = torch.tensor([[1.0, 1, 1], [0, 0, 0]])
    terms = losses.fpd_loss(OPS, maps, torch.randn(2, 3, 4, 4), teacher, weight)
    squares = np.square((maps[0] - teacher).numpy()).mean((1, 2, 3))
    np.testing.assert_allclose(terms["teacher"], 0.5 * (0.5 * squares[0] + squares[1]) / 2, rtol=1e-5)
    other = losses.fpd_loss(OPS, maps, torch.zeros(2, 3, 4, 4), teacher, torch.zeros(2, 3))
    assert float(other["label"]) == 0


def test_fpd_leaves_out_points_that_nobody_labels():
    """Neither labels nor teacher: what no data knows, no teacher knows either."""
    maps, teacher = [torch.randn(2, 3, 4, 4)], torch.randn(2, 3, 4, 4)
    trained = torch.tensor([1.0, 0, 1])
    weight = torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    changed = [maps[0].clone()]
    changed[0][:, 1] += 1
    one, two = (
        losses.fpd_loss(OPS, m, torch.zeros(2, 3, 4, 4), teacher, weight, 0.5, trained) for m in (maps, changed)
    )
    assert one == two
    assert one["teacher"] < losses.fpd_loss(OPS, maps, torch.zeros(2, 3, 4, 4), teacher, weight)["teacher"]


def test_simcc_norm_is_the_mean_of_everything():
    x, y = divergence(1, None)
    expected = ((x / WX + y / WY) * WEIGHT.numpy()).mean()
    np.testing.assert_allclose(losses.simcc_norm_loss(OPS, PRED, TARGET, WEIGHT), expected, rtol=1e-5)


def test_heatmap1d_is_half_the_mean_square():
    expected = sum(
        0.5 * (np.square((p - t).numpy()).mean(-1) * WEIGHT.numpy()).mean() for p, t in zip(PRED, TARGET, strict=True)
    )
    np.testing.assert_allclose(losses.heatmap1d_loss(PRED, TARGET, WEIGHT), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "center", "normalize"),
    [("gaussian", "round", False), ("gaussian", "exact", True), ("laplace", "exact", True), ("laplace", "round", False),
     ("onehot", "round", False), ("smooth", "round", False)],
)  # fmt: skip
def test_plain_labels_are_those_of_the_reference(kind, center, normalize):
    keypoints = np.concatenate((KEYPOINTS.numpy(), [[[-0.6, 3.0]] * K, [[30.0, 5.0]] * K])).astype(np.float32)
    visible = np.ones(keypoints.shape[:2], np.float32)
    visible[0, 1] = 0
    options = {**CODEC, "kind": kind, "center": center, "normalize": normalize, "smoothing": 0.2}
    ours = OPS.simcc_encode(torch.from_numpy(keypoints), torch.from_numpy(visible), **options)
    for a, b in zip(ours, reference.simcc_encode(keypoints, visible, **options), strict=True):
        np.testing.assert_allclose(a.numpy(), b, atol=1e-6)


@pytest.mark.parametrize("center", ["round", "exact"])
def test_plain_heat_maps_are_those_of_the_op(center):
    keypoints = np.concatenate((RNG.uniform(0, 64, (4, 9, 2)), [[[-9, 9]] * 9, [[9, 73]] * 9, [[np.nan, 3]] * 9]))
    keypoints, visible = keypoints.astype(np.float32), np.ones((7, 9), np.float32)
    visible[0, :2] = 0, 0.4
    options = {"input_size": (64, 48), "heatmap_size": (16, 12), "sigma": 1.5, "center": center}
    tensors = torch.from_numpy(keypoints), torch.from_numpy(visible)
    wanted = reference.heatmap_encode(keypoints, visible, **options)
    for encode in (OPS.heatmap_encode, edgepose.torch.heatmap_encode):
        for ours, theirs in zip(encode(*tensors, **options), wanted, strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-6)


POINTS = RNG.uniform(12, 51, (4, 20, 2)).astype(np.float32)  # px of 64 × 64, far from the edges
MAPS = {"input_size": (64, 64), "heatmap_size": (16, 16), "sigma": 1.5}


def test_cell_i_stands_for_pixel_i_times_the_stride():
    """The convention of SimpleBaseline and mmpose, on both ways: (20, 36) px is cell (5, 9) of 4 px."""
    maps, _ = edgepose.torch.heatmap_encode(torch.tensor([[[20.0, 36.0]]]), torch.ones(1, 1), **MAPS)
    assert (maps[0, 0] == 1).nonzero().tolist() == [[9, 5]]
    points, peak = Heatmap((64, 64)).decode(maps.numpy())
    assert points.tolist() == [[[20.0, 36.0]]]
    assert peak.tolist() == [[1.0]]
    halved, _ = Heatmap((32, 32)).decode(maps.numpy())  # half-size epochs: two pixels a cell
    assert halved.tolist() == [[[10.0, 18.0]]]
    skewed = maps.clone()
    skewed[0, 0, 9, 6] += 0.01
    assert Heatmap((64, 64)).decode(skewed.numpy())[0].tolist() == [[[21.0, 36.0]]]  # a quarter of a cell to the right


def test_heat_maps_give_their_points_back():
    """Within the quarter cell that the shift towards the higher neighbor leaves."""
    maps, _ = edgepose.torch.heatmap_encode(torch.from_numpy(POINTS), torch.ones(4, 20), center="exact", **MAPS)
    found, peak = Heatmap((64, 64)).decode(maps.numpy())
    assert np.abs(found - POINTS).max() <= 1.01
    assert peak.min() > 0.8
    corner, _ = Heatmap((16, 16)).decode(
        torch.eye(4)[None, None].flip(-1).contiguous().numpy()
    )  # a peak at the edge has one neighbor only
    assert np.isfinite(corner).all()


def test_mirrored_maps_have_no_bias():
    """The label and that of the mirrored points, left and right swapped, meet half a pixel beside the point: undone."""
    points = torch.from_numpy(POINTS[:, :3])
    swap = np.array([0, 2, 1])
    turned = points[:, swap] * torch.tensor([-1, 1]) + torch.tensor([63, 0])
    maps, mirrored = (
        edgepose.torch.heatmap_encode(p, torch.ones(4, 3), center="exact", **MAPS)[0] for p in (points, turned)
    )
    found, _ = Heatmap((64, 64), sigma=0.9).decode(maps.numpy(), refine="dark", flipped=(mirrored.numpy(), swap))
    np.testing.assert_allclose(found, points, atol=0.05)


def test_the_fused_kernels_give_the_twins_losses_and_gradients():
    """What `--no-kernels` compares: same numbers, the kernels' gradients against autograd's."""
    fused = edgepose.torch
    far = KEYPOINTS.clone()
    far[0, 0] = torch.tensor([-20.0, 5.0])
    visible = INSIDE.float()
    visible[2, 1] = 0
    labels = [ops.simcc_encode(far, visible, **CODEC) for ops in (OPS, fused)]
    for ours, theirs in zip(*labels, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    maps, target, teacher = (torch.randn(N, K, 6, 5) for _ in range(3))
    teacher = teacher.to(memory_format=torch.channels_last)  # as convolutions hand them over
    results = []
    for ops in (OPS, fused):
        leaf = maps.clone(memory_format=torch.channels_last).requires_grad_()
        terms = losses.fpd_loss(ops, [leaf], target, teacher, WEIGHT)
        sum(terms.values()).backward()
        results.append((terms["label"].detach(), terms["teacher"].detach(), leaf.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    results = []
    for ops in (OPS, fused):
        pred = tuple(p.clone().requires_grad_() for p in PRED)
        loss = losses.rtmpose_loss(ops, pred, labels[0][:2], WEIGHT, 10.0) + losses.simcc_loss(
            ops, pred, TARGET, WEIGHT
        )
        loss.backward()
        results.append((loss.detach(), pred[0].grad, pred[1].grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("split_ratio", [1, 2, 3])
def test_the_mirrored_mean_meets_at_the_same_bin(split_ratio):
    """The label, and the label of the mirrored points with left and right swapped: their mean is the label again."""
    width, swap = 48, torch.tensor([0, 2, 1])
    points = torch.tensor([[[10.0, 5.0], [0.0, 60.0], [33.0, 20.0]]])
    mirrored = points[:, swap] * torch.tensor([-1, 1]) + torch.tensor([width - 1, 0])
    codec = {"input_size": (width, 64), "split_ratio": split_ratio, "sigma": (4.0, 4.0)}
    pair, theirs = (OPS.simcc_encode(p, torch.ones(1, 3), **codec)[:2] for p in (points, mirrored))
    for axis, expected in zip(losses.mirrored_mean(pair, theirs, swap, split_ratio), pair, strict=True):
        torch.testing.assert_close(axis, expected)
