"""simcc_gaussian_kl_div is simcc_encode and simcc_kl_div in one: against both, against the reference, under torch."""

import numpy as np
import pytest
from arrays import BROKEN, bins, broken, dtypes, every_backend, every_case, fill
from sampling import given, st

from edgepose.ops import reference, simcc_encode, simcc_gaussian_kl_div, simcc_kl_div

SIGMA = (4.9, 5.66)


def batch(n=3, k=17, size=(48, 64), seed=0):
    """Logits of a half-trained net, keypoints, and who is visible; some points far outside."""
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(-0.3, 1.3, (n, k, 2)).astype(np.float32) * np.array(size, np.float32)
    visible = rng.choice([0, 0.3, 1, 2], (n, k)).astype(np.float32)
    logits = [rng.normal(0, 0.3, (n, k, 2 * side)).astype(np.float32) for side in size]
    return *logits, keypoints, visible


@pytest.mark.parametrize("function", [reference.simcc_gaussian_kl_div, simcc_gaussian_kl_div])
def test_flat_logits_against_a_label_written_by_hand(function):
    flat = np.zeros((1, 1, 8), np.float32)
    label = np.exp(-0.5 * (np.arange(8) - 4.0) ** 2)  # center 2 px = bin 4, sigma 1
    p = np.exp(2 * label) / np.exp(2 * label).sum()
    grads = np.empty_like(flat), np.empty_like(flat)
    loss = function(flat, flat, np.full((1, 1, 2), 2.0), np.array([[3.0]]), sigma=(1, 1), target_beta=2, grad=grads)
    assert loss[0, 0] == pytest.approx(3 * 2 * (np.log(8) + (p * np.log(p)).sum()), rel=1e-5)
    assert grads[0][0, 0] == pytest.approx(3 * (1 / 8 - p), abs=1e-6)
    raw = function(flat, flat, np.full((1, 1, 2), 2.0), np.array([[1.0]]), sigma=(1, 1), bin_mean=True)
    assert raw[0, 0] == pytest.approx(2 / 8 * (label * (np.log(label) + np.log(8))).sum(), rel=1e-5)


@every_backend
@pytest.mark.parametrize("center", ["round", "exact"])
@pytest.mark.parametrize("target_beta", [None, 10.0, 200.0])
@pytest.mark.parametrize("bin_mean", [False, True])
def test_equals_labels_and_divergence_in_turn(center, target_beta, bin_mean):
    x, y, keypoints, visible = batch()
    grads, expected_grads = ((np.empty_like(x), np.empty_like(y)) for _ in "ab")
    options = {"beta": 10.0, "target_beta": target_beta}
    loss = simcc_gaussian_kl_div(
        x, y, keypoints, visible, sigma=SIGMA, center=center, bin_mean=bin_mean, grad=grads, **options
    )
    *labels, weight = simcc_encode(keypoints, visible, input_size=(48, 64), sigma=SIGMA, center=center)
    expected = np.zeros_like(weight)
    for logits, label, grad in zip((x, y), labels, expected_grads, strict=True):
        share = weight / np.float32(logits.shape[-1]) if bin_mean else weight
        expected += simcc_kl_div(logits, label, weight=share, grad=grad, **options)
    np.testing.assert_allclose(loss, expected, rtol=2e-5, atol=1e-5)
    for got, wanted in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(got, wanted, atol=4e-6 * np.abs(wanted).max())
    assert ((loss != 0) == (weight != 0)).all() or target_beta is None  # a zero row has no mass to diverge


@every_backend
@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("target_beta", [None, 10.0])
@pytest.mark.parametrize("center", ["round", "exact"])
def test_a_broken_row_is_nan_in_loss_and_gradient(kind, target_beta, center):
    x, y, keypoints, visible = batch()
    visible[:] = 1
    keypoints[1, 2] = 20, 30
    grads = np.empty_like(x), np.empty_like(y)
    options = {"sigma": SIGMA, "center": center, "beta": 10.0, "target_beta": target_beta}
    loss = simcc_gaussian_kl_div(broken(x, (1, 2), kind), y, keypoints, visible, grad=grads, **options)
    assert np.isnan(loss[1, 2])
    assert np.isnan(grads[0][1, 2]).all()
    assert np.isnan(loss).sum() == 1
    assert np.isnan(grads[0]).sum() == x.shape[-1]
    assert np.isfinite(grads[1]).all()  # the other axis is sound


@every_backend
@every_case
@given(data=st.data())
def test_kernel_matches_reference(data):
    draw = data.draw
    n, k, dtype = draw(st.integers(0, 3)), draw(st.sampled_from([1, 2, 17])), draw(dtypes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    widths, ratio = (draw(bins), draw(bins)), draw(st.sampled_from([1, 1.5, 2, 3]))
    x, y = (
        fill(rng, (n, k, width), draw(st.sampled_from(["normal", "ties", "zeros"]))).astype(dtype) for width in widths
    )
    keypoints = rng.uniform(-0.2, 1.2, (n, k, 2)) * widths / ratio
    visible = rng.choice([0, 0.49, 0.5, 1, 2], (n, k))
    options = {
        "split_ratio": ratio,
        "sigma": draw(st.sampled_from([SIGMA, (0.3, 40.0), (0.5, 0.1)])),
        "center": draw(st.sampled_from(["round", "exact"])),
        "normalize": draw(st.booleans()),
        "beta": draw(st.sampled_from([0.3, 1.0, 10.0])),
        "target_beta": draw(st.sampled_from([None, 1.0, 10.0, 30.0, 55.0, 300.0])),
        "bin_mean": draw(st.booleans()),
    }
    grads, expected_grads = (np.empty_like(x), np.empty_like(y)), (np.empty(x.shape), np.empty(y.shape))
    loss = simcc_gaussian_kl_div(x, y, keypoints, visible, grad=grads, **options)
    expected = reference.simcc_gaussian_kl_div(x, y, keypoints, visible, grad=expected_grads, **options)
    scale = max(options["beta"], 1) * 200  # labels sum to some ten or hundred, logits reach five
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=2e-6 * scale)
    step = {2: 2.0**-8, 4: 0}[dtype.itemsize]
    for got, wanted in zip(grads, expected_grads, strict=True):
        bound = (1e-5 + step) * np.abs(wanted).max(-1, initial=0) + 1e-7 * scale
        assert (np.abs(got.astype(np.float64) - wanted).max(-1, initial=0) <= bound).all()


@every_backend
@pytest.mark.parametrize("sigma", [0.1, 0.5, 4.9])
@pytest.mark.parametrize("target_beta", [None, 10.0, 25.0, 40.0, 59.0, 500.0])
@pytest.mark.parametrize("normalize", [False, True])
def test_labels_beyond_an_end_of_the_row_keep_their_digits(sigma, target_beta, normalize):
    """Only the tail is inside: next to a peak that is not, it would be lost in any sum that holds both."""
    rng = np.random.default_rng(4)
    beyond = np.array([-15, -14, -2, -1, 0, 383, 384, 385, 397, 398], np.float32)  # centers in bins
    inside = np.abs(beyond - np.clip(beyond, 0, 383)) <= 3 * sigma
    points = np.stack([beyond[inside] / 2, np.full(inside.sum(), 2.0)], -1)[None]
    x, y = (rng.normal(0, 0.3, (1, inside.sum(), width)).astype(np.float32) for width in (384, 8))
    options = {"sigma": (sigma, 1.0), "beta": 10.0, "target_beta": target_beta, "normalize": normalize}
    grads, expected_grads = (np.empty_like(x), np.empty_like(y)), (np.empty(x.shape), np.empty(y.shape))
    args = x, y, points, np.ones(points.shape[:2], np.float32)
    loss = simcc_gaussian_kl_div(*args, **options, grad=grads)
    expected = reference.simcc_gaussian_kl_div(*args, **options, grad=expected_grads)
    np.testing.assert_allclose(loss, expected, rtol=5e-5, atol=2e-5)
    for got, wanted in zip(grads, expected_grads, strict=True):
        assert (np.abs(got - wanted).max(-1) <= 2e-5 * np.abs(wanted).max(-1) + 1e-6).all()


torch = pytest.importorskip("torch")

import edgepose.torch as et  # noqa: E402


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def tensors(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    x, y, keypoints, visible = (torch.as_tensor(a).to(request.param) for a in batch())
    return x.requires_grad_(), y.requires_grad_(), keypoints, visible


def test_torch_differentiates_both_axes(tensors):
    x, y, keypoints, visible = tensors
    loss = et.simcc_gaussian_kl_div(x, y, keypoints, visible, sigma=SIGMA, beta=10.0, target_beta=10.0)
    *labels, weight = et.simcc_encode(keypoints, visible, input_size=(48, 64), sigma=SIGMA)
    both = sum(
        et.simcc_kl_div(axis, label, beta=10.0, target_beta=10.0, weight=weight)
        for axis, label in zip((x, y), labels, strict=True)
    )
    torch.testing.assert_close(loss, both, rtol=2e-5, atol=1e-5)
    for finish in (torch.sum, lambda v: (v * torch.arange(v.numel(), device=v.device).view(v.shape)).sum()):
        got = torch.autograd.grad(finish(loss), (x, y), retain_graph=True)
        expected = torch.autograd.grad(finish(both), (x, y), retain_graph=True)
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=4e-6 * float(b.abs().max()))
    (only_y,) = torch.autograd.grad(
        et.simcc_gaussian_kl_div(x.detach(), y, keypoints, visible, sigma=SIGMA, beta=10.0, target_beta=10.0).sum(), y
    )
    torch.testing.assert_close(only_y, torch.autograd.grad(loss.sum(), y)[0], rtol=0, atol=0)


def test_torch_opcheck_and_refusals(tensors):
    x, y, keypoints, visible = tensors
    operator = torch.ops.edgepose.simcc_gaussian_kl_div.default
    for center, target_beta in (("round", 10.0), ("exact", None)):
        rest = (2.0, list(SIGMA), center, False, 10.0, target_beta, True)
        torch.library.opcheck(operator, (x, y, keypoints, visible, *rest, True))
        torch.library.opcheck(operator, (x.detach(), y.detach(), keypoints, visible, *rest, False))
    with pytest.raises(ValueError, match="simcc_gaussian_kl_div: keypoints and visible expected without requires_grad"):
        et.simcc_gaussian_kl_div(x, y, keypoints.requires_grad_(), visible, sigma=SIGMA)


x, y, points, shown = batch()


@pytest.mark.parametrize(
    ("error", "message", "args", "options"),
    [
        (ValueError, "simcc_y has K=16 but simcc_x has K=17", (x, y[:, :16], points, shown), {}),
        (ValueError, "keypoints has N=2 but simcc_x has N=3", (x, y, points[:2], shown), {}),
        (TypeError, "visible expected float32 or float64, got bool", (x, y, points, shown > 0), {}),
        (TypeError, "sigma expected two numbers (x, y), got None", (x, y, points, shown), {"sigma": None}),
        (TypeError, "bin_mean expected True or False, got 'yes'", (x, y, points, shown), {"bin_mean": "yes"}),
        (TypeError, "normalize expected True or False, got None", (x, y, points, shown), {"normalize": None}),
        (ValueError, "center expected 'round' or 'exact', got ''", (x, y, points, shown), {"center": ""}),
        (TypeError, "grad expected (grad_x, grad_y), got numpy.ndarray", (x, y, points, shown), {"grad": x.copy()}),
        (ValueError, "grad[1] has Wy=96 but simcc_y has Wy=128", (x, y, points, shown), {"grad": (x.copy(), x.copy())}),
    ],
)
def test_bad_input_is_named(error, message, args, options):
    with pytest.raises(error) as caught:
        simcc_gaussian_kl_div(*args, **{"sigma": SIGMA, **options})
    assert str(caught.value) == f"simcc_gaussian_kl_div: {message}"
