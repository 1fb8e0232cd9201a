"""simcc_kl_div: the reference against arithmetic and finite differences, the kernel at every SIMD level against it."""

import numpy as np
import pytest
from arrays import BROKEN, DTYPES, LAYOUTS, bins, broken, dtypes, every_backend, every_case, fill, lay_out
from sampling import given, st

from edgepose.ops import reference, simcc_kl_div


def row(*values):
    return np.array([[values]], np.float32)  # [1, 1, B]


def kl(function, student, target, **options):
    """(loss, gradient) in float64."""
    grad = np.zeros(np.shape(student), np.asarray(student).dtype)
    loss = function(student, target, grad=grad, **options)
    return np.asarray(loss, np.float64), grad.astype(np.float64)


# ---- the reference: numbers worked out by hand ----


@pytest.mark.parametrize("function", [reference.simcc_kl_div, simcc_kl_div])
class TestLiterals:
    def test_one_hot_target_is_the_negative_log_likelihood(self, function):
        loss, grad = kl(function, row(*np.log([1, 2, 1])), row(0, 1, 0))
        assert loss[0, 0] == pytest.approx(np.log(2), rel=1e-6)
        assert grad[0, 0] == pytest.approx([0.25, -0.5, 0.25], rel=1e-6)

    def test_target_need_not_sum_to_one(self, function):
        loss, grad = kl(function, row(0, 0), row(2, 1))  # Σ t ln t + Σ t · ln 2
        assert loss[0, 0] == pytest.approx(2 * np.log(2) + 3 * np.log(2), rel=1e-6)
        assert grad[0, 0] == pytest.approx([3 / 2 - 2, 3 / 2 - 1], rel=1e-6)

    def test_empty_target_costs_nothing(self, function):
        loss, grad = kl(function, row(3, -1), row(0, 0))
        assert loss[0, 0] == 0
        assert grad.tolist() == [[[0.0, 0.0]]]

    def test_both_sides_softened(self, function):
        student, target = row(*np.log([1, 3])), row(*np.log([9, 1]))  # β 2: q = (.1, .9); β_t ½: p = (.75, .25)
        loss, grad = kl(function, student, target, beta=2, target_beta=0.5)
        assert loss[0, 0] == pytest.approx(0.75 * np.log(7.5) + 0.25 * np.log(0.25 / 0.9), rel=1e-6)
        assert grad[0, 0] == pytest.approx([2 * (0.1 - 0.75), 2 * (0.9 - 0.25)], rel=1e-6)

    def test_equal_distributions_cost_nothing(self, function):
        student = row(0.3, -2, 5, 1)
        loss, grad = kl(function, student, student, beta=10, target_beta=10)
        assert loss[0, 0] == pytest.approx(0, abs=1e-7)
        assert grad[0, 0] == pytest.approx([0] * 4, abs=1e-6)

    def test_weight_scales_loss_and_gradient_and_zero_silences_anything(self, function):
        student = np.concatenate([row(*np.log([1, 3])), row(np.nan, np.inf)], axis=1)
        target = np.broadcast_to(row(1, 0), (1, 2, 2))
        loss, grad = kl(function, student, target, weight=np.array([[3, 0]], np.float32))
        assert loss[0] == pytest.approx([3 * np.log(4), 0], rel=1e-6)
        assert grad[0] == pytest.approx(np.array([[3 * -0.75, 3 * 0.75], [0, 0]]), rel=1e-6)

    def test_nan_shows_in_its_own_loss_only(self, function):
        student = np.concatenate([row(0, np.nan, 1), row(0, 1, 2)], axis=1)
        for soft in (None, 10):
            loss, grad = kl(function, student, np.ones_like(student), target_beta=soft)
            assert np.isnan(loss[0]).tolist() == [True, False]
            assert np.isfinite(grad[0, 1]).all()

    def test_no_person(self, function):
        loss, _ = kl(function, np.zeros((0, 133, 384), np.float32), np.zeros((0, 133, 384), np.float32))
        assert loss.shape == (0, 133)


@pytest.mark.parametrize("target_beta", [None, 3.0])
def test_reference_gradient_agrees_with_finite_differences(target_beta):
    rng = np.random.default_rng(0)
    student, target, weight = rng.normal(size=(2, 3, 7)), rng.random((2, 3, 7)), rng.random((2, 3))
    options = {"beta": 2.5, "target_beta": target_beta, "weight": weight}
    _, grad = kl(reference.simcc_kl_div, student, target, **options)
    for b in range(7):
        step = np.zeros(7)
        step[b] = 1e-6
        up, down = (reference.simcc_kl_div(student + s, target, **options) for s in (step, -step))
        np.testing.assert_allclose(grad[..., b], (up - down) / 2e-6, rtol=1e-6, atol=1e-8)


# ---- the kernel against the reference ----


@every_backend
@every_case
@given(data=st.data())
def test_kernel_matches_reference(data):
    draw = data.draw
    shape = draw(st.integers(0, 3)), draw(st.sampled_from([1, 2, 17, 133])), draw(bins)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = st.sampled_from(["normal", "ties", "zeros", "negative"])
    student, target = (fill(rng, shape, draw(values)).astype(draw(dtypes)) for _ in "st")
    target_beta = draw(st.sampled_from([None, 0.3, 10.0]))
    if target_beta is None:
        target = np.abs(target)
    student, target = lay_out(student, draw(st.sampled_from(LAYOUTS))), lay_out(target, draw(st.sampled_from(LAYOUTS)))
    beta = draw(st.sampled_from([0.3, 1.0, 10.0]))
    options = {"beta": beta, "target_beta": target_beta}
    if draw(st.booleans()):
        options["weight"] = rng.choice([0, 0.3, 1, 2], shape[:2]).astype(np.float32)
    grad, expected_grad = np.empty(shape, student.dtype), np.empty(shape)
    loss = simcc_kl_div(student, target, grad=grad, **options)
    expected = reference.simcc_kl_div(student, target, grad=expected_grad, **options)
    mass = np.abs(target.astype(np.float64)).sum(-1) if target_beta is None else 1
    magnitude = (mass + 1) * (np.abs(beta * student.astype(np.float64)).max(-1, initial=0) + 10)
    assert (np.abs(loss - expected) <= 2e-6 * magnitude).all()
    assert loss.dtype == np.float32
    # Where both softmaxes nearly agree their difference is small against float32's error in either: hence beside the
    # error relative to the gradient one relative to the probabilities.
    error = np.abs(grad.astype(np.float64) - expected_grad).max(-1, initial=0)
    step = {2: 2.0**-8 if student.dtype != np.float16 else 2.0**-11, 4: 0}[student.dtype.itemsize]
    bound = (4e-6 + step) * np.abs(expected_grad).max(-1, initial=0) + 3e-6 * beta * mass + (6e-8 if step else 0)
    assert (error <= bound).all()


@every_backend
@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("target_beta", [None, 10.0])
@pytest.mark.parametrize("width", [5, 384, 517])
def test_a_broken_row_is_nan_in_loss_and_gradient(kind, target_beta, width):
    """Else a gradient scaler would take the step for a sound one. The other rows are as without it."""
    rng = np.random.default_rng(1)
    student, target = rng.normal(size=(2, 3, width)).astype(np.float32), rng.random((2, 3, width)).astype(np.float32)
    _, whole = kl(simcc_kl_div, student, target, beta=10, target_beta=target_beta)
    sides = [(broken(student, (1, 2), kind), target)]
    if target_beta is not None:
        sides.append((student, broken(target, (1, 2), kind)))
    for s, t in sides:
        loss, grad = kl(simcc_kl_div, s, t, beta=10, target_beta=target_beta)
        assert np.isnan(loss[1, 2])
        assert np.isnan(grad[1, 2]).all()
        assert np.isnan(loss).sum() == 1
        others = np.arange(3) != 2
        np.testing.assert_array_equal(grad[0], whole[0])
        np.testing.assert_array_equal(grad[1][others], whole[1][others])


@every_backend
@pytest.mark.parametrize("width", [384, 512, 517, 1025])
@pytest.mark.parametrize("target_beta", [None, 10.0])
def test_gradient_error_on_labels_is_within_four_millionths(width, target_beta):
    """The bound that training relies on, per row, for logits of a half-trained net and Gaussian labels."""
    rng = np.random.default_rng(5)
    center = rng.integers(0, width, (4, 33, 1))
    target = np.exp(-0.5 * ((np.arange(width) - center) / 4.9) ** 2).astype(np.float32)
    student = (0.7 * np.roll(target, 9, axis=-1) + 0.1 * rng.normal(size=target.shape)).astype(np.float32)
    grad, expected = np.empty_like(student), np.empty(student.shape)
    simcc_kl_div(student, target, beta=10, target_beta=target_beta, grad=grad)
    reference.simcc_kl_div(student, target, beta=10, target_beta=target_beta, grad=expected)
    assert (np.abs(grad - expected).max(-1) <= 4e-6 * np.abs(expected).max(-1)).all()


@every_backend
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_out_arrays_are_written(dtype):
    rng = np.random.default_rng(2)
    student, target = rng.normal(size=(2, 3, 50)).astype(dtype), rng.random((2, 3, 50)).astype(np.float32)
    loss, grad = np.full((2, 6), -7, np.float32)[:, ::2], np.full((4, 3, 60), -7, dtype)[::2, :, 5:55]
    assert simcc_kl_div(student, target, loss=loss, grad=grad) is loss
    fresh, packed = np.empty_like(loss), np.empty((2, 3, 50), dtype)
    simcc_kl_div(student, target, loss=fresh, grad=packed)
    np.testing.assert_array_equal(loss, fresh)
    np.testing.assert_array_equal(grad, packed)
    assert (grad.base[1::2] == -7).all()
    assert (grad.base[:, :, :5] == -7).all()
    assert (grad.base[:, :, 55:] == -7).all()


s = np.zeros((3, 5, 8), np.float32)


@pytest.mark.parametrize(
    ("error", "message", "args", "options"),
    [
        (TypeError, "student expected float32, float16 or bfloat16, got float64", (s.astype(float), s), {}),
        (ValueError, "student expected shape [N, K, B], got [5, 8]", (s[0], s), {}),
        (ValueError, "student expected B ≥ 1, got shape [3, 5, 0]", (s[:, :, :0], s[:, :, :0]), {}),
        (ValueError, "target has N=2 but student has N=3", (s, s[:2]), {}),
        (ValueError, "target has B=7 but student has B=8", (s, s[:, :, :7]), {}),
        (ValueError, "beta expected a positive number, got 0", (s, s), {"beta": 0}),
        (ValueError, "target_beta expected a positive number, got -1", (s, s), {"target_beta": -1}),
        (ValueError, "weight has K=4 but student has K=5", (s, s), {"weight": np.ones((3, 4), np.float32)}),
        (TypeError, "weight expected float32, got float64", (s, s), {"weight": np.ones((3, 5))}),
        (
            TypeError,
            "grad expected the dtype of student (float32), got float16",
            (s, s),
            {"grad": s.astype(np.float16)},
        ),
        (ValueError, "loss has N=4 but student has N=3", (s, s), {"loss": np.ones((4, 5), np.float32)}),
    ],
)
def test_bad_input_is_named(error, message, args, options):
    with pytest.raises(error) as caught:
        simcc_kl_div(*args, **options)
    assert str(caught.value) == f"simcc_kl_div: {message}"
