"""simcc_decode: the reference against numbers written by hand, the kernel at every SIMD level against the reference."""

import numpy as np
import pytest
from arrays import DTYPES, every_backend, every_case, every_level, lay_out, logit_pairs
from sampling import given, st

from edgepose import _C
from edgepose.ops import reference, simcc_decode


def rows(*values):
    return np.array([[v] for v in values], np.float32)  # [N, 1, B]


# ---- the reference: numbers worked out by hand ----

X = rows([0, 3, 1, 3], [5, 1, 0, 0])  # first maximum at bin 1 of two equal ones; at bin 0
Y = rows([1, 2, 8], [-1, -4, -2])


@pytest.mark.parametrize("decode", [reference.simcc_decode, simcc_decode])
class TestLiterals:
    def test_first_maximum_divided_by_split_ratio(self, decode):
        keypoints, scores = decode(X, Y)
        assert keypoints.tolist() == [[[0.5, 1.0]], [[0.0, 0.0]]]
        assert scores.tolist() == [[3.0], [0.0]]  # min(5, −1) is not above zero
        assert keypoints.dtype == scores.dtype == np.float32

    def test_raw_scores(self, decode):
        assert decode(X, Y, score="mean")[1].tolist() == [[5.5], [2.0]]
        assert decode(X, Y, score="max")[1].tolist() == [[8.0], [5.0]]

    def test_fractional_split_ratio(self, decode):
        assert decode(X, Y, split_ratio=1.6)[0][0, 0].tolist() == [0.625, 1.25]

    def test_affine_maps_crop_to_image(self, decode):
        affine = np.array([[[2, 0, 10], [0, 4, -1]], [[0, 1, 0.25], [1, 0, 0.5]]])
        assert decode(X, Y, affine=affine)[0].tolist() == [[[11.0, 3.0]], [[0.25, 0.5]]]

    def test_softmax_peak(self, decode):
        two_of_four = rows(np.log([1, 4, 4, 1]))  # peak 4/10
        half = rows(np.log([3, 1, 1, 1]))  # peak 3/6
        assert decode(two_of_four, half, score="softmax")[1] == pytest.approx(0.4, rel=1e-6)
        assert decode(two_of_four, half, score="softmax", beta=2)[1] == pytest.approx(16 / 34, rel=1e-6)

    def test_calibrated_score_of_the_ideal_label_is_one(self, decode):
        gauss = [np.exp(-0.5 * ((np.arange(b) - b // 2) / s) ** 2) for b, s in ((384, 4.9), (512, 5.66))]
        x, y = (np.float32(g)[None, None] for g in gauss)
        _, scores = decode(x, y, score="softmax", beta=10, sigma=(4.9, 5.66))
        assert scores == pytest.approx(1, abs=1e-5)
        assert decode(3 * x, 3 * y, score="softmax", beta=10, sigma=(4.9, 5.66))[1] == 1  # clipped
        # without evidence: a flat softmax, 1/512, over the ideal label's 0.1040 → next to nothing
        flat = decode(0 * x, 0 * y, score="softmax", beta=10, sigma=(4.9, 5.66))[1]
        assert 0 < flat < 0.05

    def test_the_entropy_score_is_one_over_the_bins_that_the_belief_spreads_over(self, decode):
        alike, two_of_four = rows([5] * 8), rows([40, 0, 40, 0])
        assert decode(alike, alike, score="entropy")[1] == pytest.approx(1 / 8, rel=1e-6)
        assert decode(two_of_four, two_of_four, score="entropy")[1] == pytest.approx(1 / 2, rel=1e-6)
        assert decode(alike, two_of_four, score="entropy")[1] == pytest.approx(1 / 8, rel=1e-6)  # the less certain axis
        three_and_one = np.log(np.float32([3, 1]))[None, None]
        expected = (3 / 4) ** (3 / 4) * (1 / 4) ** (1 / 4)  # e^(Σ q ln q)
        assert decode(three_and_one, three_and_one, score="entropy")[1] == pytest.approx(expected, rel=1e-6)
        squares = np.log(np.float32([9, 1]))[None, None]
        assert decode(squares, squares, score="entropy", beta=0.5)[1] == pytest.approx(expected, rel=1e-6)

    def test_the_entropy_of_an_ideal_label_is_what_others_are_measured_by(self, decode):
        gauss = [np.exp(-0.5 * ((np.arange(b) - b // 2) / s) ** 2) for b, s in ((384, 4.9), (512, 5.66))]
        x, y = (np.float32(g)[None, None] for g in gauss)
        options = {"score": "entropy", "beta": 10, "sigma": (4.9, 5.66)}
        assert decode(x, y, **options)[1] == pytest.approx(1, abs=1e-5)
        assert decode(3 * x, 3 * y, **options)[1] == 1  # clipped
        assert 0 < decode(0 * x, 0 * y, **options)[1] < 0.05

    def test_infinite_logits_have_an_entropy(self, decode):
        down, up, ups = rows([0, -np.inf, 0, -np.inf]), rows([0, np.inf, 3, 0]), rows([np.inf, 0, 1, np.inf])
        assert decode(down, down, score="entropy")[1] == pytest.approx(1 / 2, rel=1e-6)
        assert decode(up, up, score="entropy")[1] == 1
        assert decode(ups, ups, score="entropy")[1] == pytest.approx(1 / 2, rel=1e-6)

    def test_nan_row_scores_zero_at_bin_zero(self, decode):
        broken = rows([0, 3, np.nan, 9], [0, 1, 2, 3])
        fine = rows([0, 1, 7], [0, 5, 4])
        for score in ("min", "mean", "max", "softmax"):
            keypoints, scores = decode(broken, fine, score=score)
            assert keypoints.tolist() == [[[0.0, 1.0]], [[1.5, 0.5]]]
            assert scores[0, 0] == 0
            assert scores[1, 0] > 0
        assert decode(fine, broken, score="max")[1][0, 0] == 0

    def test_infinities_stay_out_of_the_coordinates(self, decode):
        x = rows([-np.inf] * 3, [0, np.inf, np.inf], [-np.inf, -np.inf, 1])
        y = rows([1, 2, 3], [0, 4, 0], [np.inf, 0, 0])
        keypoints, scores = decode(x, y)
        assert keypoints[:, 0].tolist() == [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
        assert scores[:, 0].tolist() == [0.0, 4.0, 1.0]
        assert decode(rows([np.inf]), rows([-np.inf]), score="mean")[1] == 0
        assert decode(x[1:2], x[1:2], score="softmax")[1] == 0.5  # two infinite peaks share the mass

    def test_no_person(self, decode):
        keypoints, scores = decode(np.zeros((0, 133, 384), np.float32), np.zeros((0, 133, 512), np.float32))
        assert keypoints.shape == (0, 133, 2)
        assert scores.shape == (0, 133)


# ---- the kernel against the reference ----


@every_backend
@every_case
@given(
    logits=logit_pairs(),
    score=st.sampled_from(["min", "mean", "max", "softmax", "entropy"]),
    relative=st.booleans(),
    split_ratio=st.sampled_from([1, 1.5, 2, 3]),
    beta=st.sampled_from([None, 0.3, 10]),
    mapped=st.booleans(),
)
def test_kernel_matches_reference(logits, score, relative, split_ratio, beta, mapped):
    options = {"split_ratio": split_ratio, "score": score, "beta": beta}
    if relative and score in ("softmax", "entropy"):
        options |= {"sigma": (4.9, 0.7)}
    if mapped:
        options["affine"] = np.random.default_rng(0).normal(size=(len(logits[0]), 2, 3)).astype(np.float32) * 100
    keypoints, scores = simcc_decode(*logits, **options)
    expected_keypoints, expected_scores = reference.simcc_decode(*logits, **options)
    np.testing.assert_allclose(keypoints, expected_keypoints, rtol=1e-6, atol=1e-2 if mapped else 0)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5, atol=1e-37)
    assert np.isfinite(keypoints).all()
    assert not np.isnan(scores).any()


@every_backend
@pytest.mark.parametrize("width", [*range(1, 140), 383, 384, 385, 1023, 1024, 1025])
def test_peak_is_found_at_every_bin(width):
    """One-hot rows with the hot bin anywhere, and the same with an equal peak behind it."""
    x = np.eye(width, dtype=np.float32)[None]  # [1, K = width, B = width]
    for logits in (x, np.triu(np.ones_like(x[0]))[None]):
        keypoints, scores = simcc_decode(logits, logits, split_ratio=1)
        assert keypoints[0, :, 0].tolist() == logits[0].argmax(-1).tolist()
        assert (scores == 1).all()


@every_backend
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [65, 130, 384])
def test_rows_may_begin_anywhere_in_a_cache_line(width, dtype):
    """Blocks overlap where a row does not begin on a cache line; the first of equal maxima is still the one."""
    rng = np.random.default_rng(width)
    for offset in range(0, 33):
        x, y = (np.zeros(offset + 3 * 4 * width, dtype)[offset:].reshape(3, 4, width) for _ in range(2))
        for logits in (x, y):
            logits[:] = rng.integers(0, 40, logits.shape).astype(dtype)  # so few values that maxima tie
        for got, expected in zip(simcc_decode(x, y), reference.simcc_decode(x, y), strict=True):
            np.testing.assert_array_equal(got, expected)


@every_backend
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_sixteen_bit_value_is_widened_exactly(dtype):
    if dtype == np.float32:
        pytest.skip("has no conversion")
    values = np.arange(2**16, dtype=np.uint16).view(dtype)
    values = values[np.isfinite(values.astype(np.float32))]
    for width in (1, 64):  # the scalar and the vector conversion; the maximum of a constant row is its value
        row = np.repeat(values[:, None], width, axis=1)[None]
        scores = simcc_decode(row, row, score="max")[1][0]
        np.testing.assert_array_equal(scores, np.maximum(values.astype(np.float32), 0))


@every_level
def test_threads_change_nothing():
    rng = np.random.default_rng(3)
    x, y = (rng.normal(size=(37, 133, b)).astype(np.float32) for b in (384, 512))
    threads = _C.num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            _C.set_num_threads(count)
            results.append(simcc_decode(x, y, score="softmax", beta=3))
    finally:
        _C.set_num_threads(threads)
    for keypoints, scores in results[1:]:
        np.testing.assert_array_equal(keypoints, results[0][0])
        np.testing.assert_array_equal(scores, results[0][1])


# ---- out=, layouts, other frameworks' arrays ----

RNG = np.random.default_rng(7)
LOGITS = tuple(RNG.normal(size=(3, 5, b)).astype(np.float32) for b in (48, 64))


def test_out_is_written_and_returned():
    out = np.empty((3, 5, 2), np.float32), np.empty((3, 5), np.float32)
    result = simcc_decode(*LOGITS, out=out)
    assert result[0] is out[0]
    assert result[1] is out[1]
    np.testing.assert_array_equal(out[0], reference.simcc_decode(*LOGITS)[0])


def test_out_may_be_strided():
    big_keypoints, big_scores = np.full((6, 10, 2), -7, np.float32), np.full((3, 10), -7, np.float32)
    out = big_keypoints[::2, ::2], big_scores[:, 1::2]
    simcc_decode(*LOGITS, out=out)
    for got, expected in zip(out, reference.simcc_decode(*LOGITS), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert (big_keypoints[1::2] == -7).all()
    assert (big_scores[:, ::2] == -7).all()


class Capsules:
    """An array whose type speaks only `__dlpack__`, as cupy's and jax's do."""

    def __init__(self, array, versioned=True):
        self.array, self.versioned = array, versioned

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options):
        if not self.versioned and "max_version" in options:
            raise TypeError("unexpected keyword argument 'max_version'")
        return self.array.__dlpack__(**options)


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("layout", ["packed", "strided", "transposed"])
def test_dlpack_capsules(versioned, layout):
    arrays = [Capsules(lay_out(axis, layout), versioned) for axis in LOGITS]
    for got, expected in zip(simcc_decode(*arrays), reference.simcc_decode(*LOGITS), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_read_only_capsule_is_refused_as_output():
    scores = np.empty((3, 5), np.float32)
    scores.flags.writeable = False
    with pytest.raises(ValueError, match=r"simcc_decode: out\[1\] expected a writable array, got a read-only one"):
        simcc_decode(*LOGITS, out=(np.empty((3, 5, 2), np.float32), Capsules(scores)))


# ---- bad input: one clear error ----

x, y = LOGITS


@pytest.mark.parametrize(
    ("error", "message", "args", "options"),
    [
        (TypeError, "simcc_x expected a numpy array or one that speaks DLPack, got list", ([1.0], y), {}),
        (TypeError, "simcc_x expected float32, float16 or bfloat16, got float64", (x.astype(float), y), {}),
        (TypeError, "simcc_y expected float32, float16 or bfloat16, got int64", (x, y.astype(int)), {}),
        (TypeError, "simcc_x expected native byte order, got >f4", (x.astype(">f4"), y), {}),
        (TypeError, "simcc_y expected the dtype of simcc_x (float32), got float16", (x, y.astype(np.float16)), {}),
        (ValueError, "simcc_x expected shape [N, K, Wx], got [5, 48]", (x[0], y), {}),
        (ValueError, "simcc_x expected shape [N, K, Wx], got [1, 1, 3, 5, …]", (x[None, None], y), {}),
        (ValueError, "simcc_x expected Wx ≥ 1, got shape [3, 5, 0]", (x[:, :, :0], y), {}),
        (ValueError, "simcc_y has N=2 but simcc_x has N=3", (x, y[:2]), {}),
        (ValueError, "simcc_y has K=4 but simcc_x has K=5", (x, y[:, :4]), {}),
        (
            ValueError,
            "simcc_x expected contiguous values along the last dimension, got a stride of 8 bytes",
            (x[:, :, ::2], y),
            {},
        ),
        (ValueError, "split_ratio expected a positive number, got 0", (x, y), {"split_ratio": 0}),
        (ValueError, "split_ratio expected a positive number, got nan", (x, y), {"split_ratio": float("nan")}),
        (
            ValueError,
            "score expected 'min', 'mean', 'max', 'softmax' or 'entropy', got 'sum'",
            (x, y),
            {"score": "sum"},
        ),
        (ValueError, "beta expected a positive number, got -1", (x, y), {"beta": -1}),
        (
            ValueError,
            "sigma expected None unless score='softmax', score='entropy' or refine='dark', got score='min'",
            (x, y),
            {"sigma": (1, 1)},
        ),
        (
            ValueError,
            "sigma[1] expected a positive number, got 0",
            (x, y),
            {"sigma": (1, 0), "score": "softmax"},
        ),
        (ValueError, "affine has N=2 but simcc_x has N=3", (x, y), {"affine": np.zeros((2, 2, 3))}),
        (ValueError, "affine expected shape [N, 2, 3], got [3, 3, 3]", (x, y), {"affine": np.zeros((3, 3, 3))}),
        (TypeError, "affine expected float32 or float64, got int64", (x, y), {"affine": np.zeros((3, 2, 3), int)}),
        (
            TypeError,
            "out[0] expected float32, got float64",
            (x, y),
            {"out": (np.zeros((3, 5, 2)), np.zeros((3, 5), np.float32))},
        ),
        (
            ValueError,
            "out[1] has K=4 but simcc_x has K=5",
            (x, y),
            {"out": (np.zeros((3, 5, 2), np.float32), np.zeros((3, 4), np.float32))},
        ),
        (TypeError, "sigma expected two numbers (x, y), got 4.9", (x, y), {"sigma": 4.9, "score": "softmax"}),
        (TypeError, "out expected (keypoints, scores), got numpy.ndarray", (x, y), {"out": np.zeros(3)}),
        (TypeError, "beta expected a number, got 'hot'", (x, y), {"beta": "hot"}),
        (TypeError, "score expected a string, got None", (x, y), {"score": None}),
    ],
)
def test_bad_input_is_named(error, message, args, options):
    with pytest.raises(error) as caught:
        simcc_decode(*args, **options)
    assert str(caught.value) == f"simcc_decode: {message}"


def test_unaligned_view_is_named():
    buffer = np.zeros(4 * x.size + 1, np.uint8)
    view = buffer[1:].view(np.float32).reshape(x.shape)
    with pytest.raises(ValueError, match="simcc_x expected aligned data"):
        simcc_decode(view, y)
