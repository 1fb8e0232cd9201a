"""batch_norm_silu and batch_norm_silu_grad: by hand, against the reference at every level, against torch."""

import numpy as np
import pytest
from arrays import DTYPES, every_backend, every_case, every_level
from sampling import given, st

from edgepose import _C
from edgepose.ops import batch_norm_silu, batch_norm_silu_grad, reference

BACKENDS = {
    "reference": (reference.batch_norm_silu, reference.batch_norm_silu_grad),
    "kernel": (batch_norm_silu, batch_norm_silu_grad),
}
rows = st.one_of(st.integers(2, 70), st.sampled_from([255, 256, 257, 1000, 8191, 8192, 8193, 8500]))
channels = st.one_of(st.integers(1, 70), st.sampled_from([96, 133, 192, 384, 512, 515]))


def single(*values):
    """One channel [M, 1]."""
    return np.array(values, np.float32)[:, None]


def number(value):
    return np.array([value], np.float32)


def outputs(x):
    return np.empty_like(x), *(np.empty(x.shape[1], np.float32) for _ in range(2))


def ulp(dtype):
    """What rounding to `dtype` may change, relatively."""
    return {"float32": 2.0**-23, "float16": 2.0**-11, "bfloat16": 2.0**-8}[np.dtype(dtype).name]


def within(got, wanted, limit):
    assert (np.abs(got.astype(np.float64) - wanted) - limit).max() <= 0


@pytest.mark.parametrize(("forward", "grad"), BACKENDS.values(), ids=BACKENDS)
class TestByHand:
    def test_three_rows(self, forward, grad):
        # Mean 1, variance 2 and eps 2: x − mean halved; times 2: z = −1, −1, 2.
        x, weight, bias = single(0, 0, 3), number(2), number(0)
        y, mean, var = forward(x, weight, bias, eps=2)
        assert y.ravel() == pytest.approx([-0.26894142, -0.26894142, 1.7615942], rel=1e-6)
        assert (mean.tolist(), var.tolist()) == ([1.0], [2.0])
        # SiLU's slopes there: 0.07232949, 0.07232949, 1.0907842.
        in_x, in_weight, in_bias = grad(x, np.ones_like(x), weight, bias, mean, var, eps=2)
        assert in_bias == pytest.approx([1.2354432], rel=1e-6)
        assert in_weight == pytest.approx([1.0184547], rel=1e-6)
        assert in_x.ravel() == pytest.approx([-0.1697425, -0.1697425, 0.3394849], abs=2e-7)

    def test_scaling_two_rows_changes_nothing(self, forward, grad):
        x, weight, bias = single(1, 3), number(2), number(1)
        y, mean, var = forward(x, weight, bias, eps=1e-12)
        assert y.ravel() == pytest.approx([-0.26894142, 2.8577224], rel=1e-6)  # z = −1, 3
        in_x, *_ = grad(x, single(5, -7), weight, bias, mean, var, eps=1e-12)
        assert in_x.ravel() == pytest.approx([0, 0], abs=1e-5)

    def test_a_channel_that_never_changes(self, forward, grad):
        x = single(7, 7, 7)
        y, mean, var = forward(x, number(3), number(1), eps=1e-5)
        assert y.ravel() == pytest.approx([0.7310586] * 3, rel=1e-6)
        assert (mean.tolist(), var.tolist()) == ([7.0], [0.0])
        in_x, in_weight, in_bias = grad(x, single(1, 0, 0), number(3), number(1), mean, var)
        assert in_weight.tolist() == [0.0]
        assert in_bias == pytest.approx([0.9276705], rel=1e-6)
        assert in_x.ravel() == pytest.approx(0.9276705 * 3 / 1e-5**0.5 * np.array([2, -1, -1]) / 3, rel=1e-5)

    def test_ends_of_the_sigmoid(self, forward, grad):
        x = single(-1, 1)
        y, mean, var = forward(x, number(500), number(0), eps=1e-12)
        assert y.ravel() == pytest.approx([0, 500], rel=1e-6, abs=1e-30)
        *_, in_bias = grad(x, np.ones_like(x), number(500), number(0), mean, var, eps=1e-12)
        assert in_bias.tolist() == [1.0]


def examples(draw):
    m, c = draw(rows), draw(channels)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from(DTYPES))
    far = draw(st.sampled_from([0, 0, 3, 40]))  # means, in standard deviations
    x = (rng.normal(size=(m, c)) + far * rng.normal(size=c)) * draw(st.sampled_from([1e-2, 1, 30]))
    x = x.astype(dtype)
    if draw(st.booleans()):
        x[:, rng.integers(c)] = 3
    weight, bias = (rng.normal(size=c).astype(np.float32) for _ in "wb")
    return rng, x, weight, bias, draw(st.sampled_from([1e-5, 1e-3]))


@every_backend
@every_case
@given(data=st.data())
def test_matches_reference(data):
    rng, x, weight, bias, eps = examples(data.draw)
    y, mean, var = batch_norm_silu(x, weight, bias, eps=eps, out=outputs(x))
    expected, expected_mean, expected_var = reference.batch_norm_silu(x, weight, bias, eps=eps)
    size = np.abs(x.astype(np.float64)).max(0)
    within(mean, expected_mean, 1e-6 * size)
    # Squares are summed around a row's values: the further out that row lies, the more of them cancels.
    furthest = np.square(x.astype(np.float64) - expected_mean).max(0)
    within(var, expected_var, 1e-6 * (expected_var + furthest) + 1e-9 * size**2)
    scale = np.abs(weight) / np.sqrt(expected_var + eps)
    reach = 1 + scale * size  # the mean is rounded to float32, and so is x without it
    within(y, expected, ulp(x.dtype) * np.abs(expected) + 4e-6 * reach)

    upstream = rng.normal(size=x.shape).astype(x.dtype)
    statistics = expected_mean.astype(np.float32), expected_var.astype(np.float32)
    got = batch_norm_silu_grad(x, upstream, weight, bias, *statistics, eps=eps, out=outputs(x))
    wanted = reference.batch_norm_silu_grad(x, upstream, weight, bias, *statistics, eps=eps)
    large = np.abs(upstream.astype(np.float64)).max(0)
    # On the way SiLU's slope times `upstream` is kept in the dtype of x, float16's smallest numbers 6e-8 apart.
    rounding = 2 * ulp(x.dtype) * (scale * large + np.abs(wanted[0])) + 6e-8 * (1 + scale)
    within(got[0], wanted[0], rounding + 1e-6 * scale * large * reach)
    for sums, exact in zip(got[1:], wanted[1:], strict=True):
        within(sums, exact, 1e-6 * len(x) * large * reach)


@every_backend
def test_what_is_not_a_number_stays_in_its_channel():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 40)).astype(np.float32)
    weight, bias = np.ones(40, np.float32), np.zeros(40, np.float32)
    clean = batch_norm_silu(x, weight, bias)
    clean_grad = batch_norm_silu_grad(x, x, weight, bias, *clean[1:])
    x[7, 3], x[0, 20], x[299, 39] = np.nan, np.inf, -np.inf
    broken = batch_norm_silu(x, weight, bias)
    broken_grad = batch_norm_silu_grad(x, x, weight, bias, *broken[1:])
    hit = np.isin(np.arange(40), (3, 20, 39))
    for before, after in zip((*clean, *clean_grad), (*broken, *broken_grad), strict=True):
        np.testing.assert_array_equal(before[..., ~hit], after[..., ~hit])
    assert np.isnan(broken[0][:, hit]).all()
    assert np.isnan(broken[2][hit]).all()
    assert np.isnan(broken_grad[0][:, hit]).all()


@every_level
@pytest.mark.parametrize("dtype", [DTYPES[0], DTYPES[-1]], ids=str)
def test_threads_change_no_bit(dtype):
    x = np.random.default_rng(0).normal(size=(20_001, 30)).astype(dtype)
    weight, bias = np.linspace(-1, 2, 30, dtype=np.float32), np.linspace(0, 1, 30, dtype=np.float32)
    before, results = _C.num_threads(), []
    try:
        for threads in (1, 4):
            _C.set_num_threads(threads)
            y, mean, var = batch_norm_silu(x, weight, bias, out=outputs(x))
            grads = batch_norm_silu_grad(x, x, weight, bias, mean, var, out=outputs(x))
            results.append([a.tobytes() for a in (y, mean, var, *grads)])
    finally:
        _C.set_num_threads(before)
    assert results[0] == results[1]


# ---- torch ----

torch = pytest.importorskip("torch")

import edgepose.torch as et  # noqa: E402


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.manual_seed(0)
    return request.param


def leaves(device, dtype=torch.float32, m=6144, c=48):
    """x [M, C] as a convolution leaves it, weight and bias."""
    x = (torch.randn(m, c) + torch.randn(c)).mul(torch.rand(c) + 0.1).to(device, dtype)
    return [t.requires_grad_() for t in (x, torch.randn(c, device=device), torch.randn(c, device=device))]


def eager(x, weight, bias):
    return torch.nn.functional.silu(torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_torch_is_no_worse_than_the_two_layers(device, dtype):
    """Values and gradients of both against float64 on the same inputs."""
    tensors = leaves(device, dtype)
    upstream = torch.randn_like(tensors[0])
    exact_inputs = [t.detach().double().requires_grad_() for t in tensors]
    exact = eager(*exact_inputs)
    exact_grads = torch.autograd.grad(exact, exact_inputs, upstream.double())
    errors = []
    for function in (lambda *t: et.batch_norm_silu(*t)[0], eager):
        y = function(*tensors)
        grads = torch.autograd.grad(y, tensors, upstream)
        assert [g.dtype for g in grads] == [t.dtype for t in tensors]
        pairs = zip((y.detach(), *grads), (exact.detach(), *exact_grads), strict=True)
        errors.append([float((a.double() - b).norm() / b.norm()) for a, b in pairs])
    for ours, theirs in zip(*errors, strict=True):
        assert ours <= max(1.1 * theirs, 3e-7), errors


def test_torch_gives_the_statistics_that_batch_norm_averages(device):
    x, weight, bias = leaves(device)
    norm = torch.nn.BatchNorm1d(x.shape[1], momentum=1).to(device)
    norm(x.detach())
    _, mean, var = et.batch_norm_silu(x, weight, bias)
    torch.testing.assert_close(mean, norm.running_mean)
    torch.testing.assert_close(var * len(x) / (len(x) - 1), norm.running_var)
    assert not mean.requires_grad
    assert not var.requires_grad


def test_torch_refuses_a_second_derivative(device):
    x, weight, bias = leaves(device, m=8, c=3)
    y, *_ = et.batch_norm_silu(x, weight, bias)
    (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="batch_norm_silu: has a first derivative only"):
        slope.sum().backward()


def test_torch_opcheck(device):
    ops = torch.ops.edgepose
    x, weight, bias = leaves(device, m=40, c=5)
    torch.library.opcheck(ops.batch_norm_silu.default, (x, weight, bias, 1e-5))
    plain = [t.detach() for t in (x, x, weight, bias)]
    statistics = x.detach().mean(0), x.detach().var(0)
    torch.library.opcheck(ops.batch_norm_silu_grad.default, (*plain, *statistics, 1e-5))


# ---- bad input ----

x, ones = np.zeros((4, 3), np.float32), np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (
            ValueError,
            "batch_norm_silu: x expected shape [M, C], got [3]",
            lambda: batch_norm_silu(ones, ones, ones),
        ),
        (
            ValueError,
            "batch_norm_silu: x expected M ≥ 2, got shape [1, 3]",
            lambda: batch_norm_silu(x[:1], ones, ones),
        ),
        (
            ValueError,
            "batch_norm_silu: bias has C=2 but x has C=3",
            lambda: batch_norm_silu(x, ones, ones[:2]),
        ),
        (
            TypeError,
            "batch_norm_silu: weight expected float32, got float64",
            lambda: batch_norm_silu(x, ones.astype(np.float64), ones),
        ),
        (
            ValueError,
            "batch_norm_silu: eps expected a positive number, got 0",
            lambda: batch_norm_silu(x, ones, ones, eps=0),
        ),
        (
            TypeError,
            "batch_norm_silu: out[0] expected the dtype of x (float16), got float32",
            lambda: batch_norm_silu(x.astype(np.float16), ones, ones),
        ),
        (
            ValueError,
            "batch_norm_silu_grad: grad has M=3 but x has M=4",
            lambda: batch_norm_silu_grad(x, x[:3], ones, ones, ones, ones),
        ),
        (
            TypeError,
            "batch_norm_silu_grad: grad expected the dtype of x (float32), got float16",
            lambda: batch_norm_silu_grad(x, x.astype(np.float16), ones, ones, ones, ones),
        ),
        (
            ValueError,
            "batch_norm_silu_grad: var has C=4 but x has C=3",
            lambda: batch_norm_silu_grad(x, x, ones, ones, ones, np.ones(4, np.float32)),
        ),
    ],
)
def test_bad_input_is_named(error, message, call):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_gaps_between_rows_are_named():
    wide = np.zeros((4, 6), np.float32)
    with pytest.raises(ValueError, match="batch_norm_silu: x expected contiguous values"):
        batch_norm_silu(wide[:, :3], ones, ones)
