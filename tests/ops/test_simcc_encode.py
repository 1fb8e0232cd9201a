"""simcc_encode: the reference against numbers written by hand, the kernel at every SIMD level against the reference."""

import numpy as np
import pytest
from arrays import SIXTEEN_BITS, every_backend, every_case
from sampling import given, st

from edgepose.ops import reference, simcc_encode

SIZE = {"input_size": (6, 4), "split_ratio": 2, "sigma": (1, 2)}  # 12 and 8 bins


def point(x, y, visible=1.0):
    return np.array([[[x, y]]], np.float32), np.array([[visible]], np.float32)


@pytest.mark.parametrize("encode", [reference.simcc_encode, simcc_encode])
class TestLiterals:
    def test_gaussian_of_peak_one_on_the_nearest_bin(self, encode):
        x, y, weight = encode(*point(2.6, 1.0), **SIZE)  # 5.2 → bin 5; bin 2
        assert x.shape == (1, 1, 12)
        assert y.shape == (1, 1, 8)
        assert x[0, 0, 3:8] == pytest.approx([np.exp(-2), np.exp(-0.5), 1, np.exp(-0.5), np.exp(-2)], rel=1e-6)
        assert y[0, 0, 0:5] == pytest.approx([np.exp(-0.5), np.exp(-0.125), 1, np.exp(-0.125), np.exp(-0.5)], rel=1e-6)
        assert weight.tolist() == [[1.0]]

    def test_half_rounds_to_even(self, encode):
        centers = [encode(*point(p / 4, 1), **SIZE)[0].argmax() for p in (1, 3, 5, 7, 9)]  # bins 0.5, 1.5, 2.5, …
        assert centers == [0, 2, 2, 4, 4]

    def test_exact_center_and_unit_area(self, encode):
        x, _, _ = encode(*point(2.6, 1), **SIZE, center="exact", normalize=True)
        assert x[0, 0, 5] == pytest.approx(np.exp(-0.02) / np.sqrt(2 * np.pi), rel=1e-5)
        assert x.sum() == pytest.approx(1, abs=1e-3)

    def test_laplace(self, encode):
        _, y, _ = encode(*point(0, 1), **SIZE, kind="laplace")
        assert y[0, 0, :4] == pytest.approx([np.exp(-1), np.exp(-0.5), 1, np.exp(-0.5)], rel=1e-6)
        assert encode(*point(0, 1), **SIZE, kind="laplace", normalize=True)[1].max() == 0.25

    def test_onehot_and_smooth(self, encode):
        size = {"input_size": (6, 4), "split_ratio": 2}
        x, y, _ = encode(*point(2.6, 3.4), **size, kind="onehot")
        assert x[0, 0].tolist() == [0.0] * 5 + [1.0] + [0.0] * 6
        assert y[0, 0].tolist() == [0.0] * 7 + [1.0]
        _, y, _ = encode(*point(2.6, 3.4), **size, kind="smooth", smoothing=0.14)
        assert y[0, 0] == pytest.approx([0.02] * 7 + [0.86])

    def test_unlabeled_points_keep_their_weight_and_have_no_label(self, encode):
        for visible in (0.0, 0.25, 0.49):
            x, y, weight = encode(*point(2, 2, visible), **SIZE)
            assert x.any() == y.any() == False  # noqa: E712
            assert weight[0, 0] == np.float32(visible)
        for visible in (0.5, 1.0, 2.0):
            x, _, weight = encode(*point(2, 2, visible), **SIZE)
            assert x.max() == 1
            assert weight[0, 0] == visible

    @pytest.mark.parametrize(
        ("x", "inside"),
        # sigma 1: a center of bin −4 still touches (−4 + 3 + 1 = 0), −5 does not; 14 − 3 < 12, 15 − 3 ≥ 12
        [(-2.0, True), (-2.5, False), (7.0, True), (7.5, False), (np.nan, False), (np.inf, False), (-np.inf, False)],
    )
    def test_out_of_range_is_left_out(self, encode, x, inside):
        labels = encode(*point(x, 2), **SIZE)
        assert labels[2][0, 0] == inside
        assert labels[1].any() == inside  # the other axis' row too
        if inside:
            assert labels[0].any()

    @pytest.mark.parametrize(
        ("bin_", "center", "inside"),
        # sigma 37/6: three of them are 18.5 bins, so that −19.5 still touches; rounded, half to even, it is −20
        [(-19.5, "exact", True), (-19.6, "exact", False), (-19.5, "round", False), (-18.5, "round", True)],
    )
    def test_the_last_center_in_range(self, encode, bin_, center, inside):
        size = {"input_size": (96, 128), "sigma": (37 / 6, 37 / 6), "center": center}
        for point_ in (point(bin_ / 2, 5), point(5, bin_ / 2)):  # either axis
            *labels, weight = encode(*point_, **size)
            assert weight[0, 0] == inside
            assert all(label.any() == inside for label in labels)

    def test_one_hot_range_is_the_bins(self, encode):
        for x, inside in ((-0.25, True), (-0.26, False), (5.74, True), (5.75, False)):  # −0.5 → bin 0; 11.5 → bin 12
            assert encode(*point(x, 2), input_size=(6, 4), kind="onehot")[2][0, 0] == inside

    def test_no_person(self, encode):
        x, y, weight = encode(np.zeros((0, 5, 2), np.float32), np.zeros((0, 5), np.float32), **SIZE)
        assert (x.shape, y.shape, weight.shape) == ((0, 5, 12), (0, 5, 8), (0, 5))


# Sizes whose bins are small, odd, or those of real nets; centers up to far outside, on and between bins.
@every_backend
@every_case
@given(data=st.data())
def test_kernel_matches_reference(data):
    draw = data.draw
    n, k = draw(st.integers(0, 3)), draw(st.sampled_from([1, 2, 17, 133]))
    size = draw(st.sampled_from([(1, 1), (3, 5), (17, 31), (64, 64), (192, 256), (288, 384), (513, 100)]))
    kind = draw(st.sampled_from(["gaussian", "laplace", "smooth", "onehot"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    keypoints = rng.uniform(-0.2, 1.2, (n, k, 2)) * size
    keypoints = np.where(rng.random((n, k, 2)) < 0.5, np.rint(keypoints * 4) / 4, keypoints)  # many a half bin
    keypoints[rng.random((n, k, 2)) < 0.02] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e30]))
    keypoints = keypoints.astype(draw(st.sampled_from([np.float32, np.float64])))
    visible = rng.choice([0, 0.49, 0.5, 1, 2], (n, k)).astype(draw(st.sampled_from([np.float32, np.float64])))
    options = {
        "input_size": size,
        "split_ratio": draw(st.sampled_from([1, 1.5, 2, 3])),
        "sigma": draw(st.sampled_from([(4.9, 5.66), (6.0, 6.93), (0.3, 40.0)])),
        "kind": kind,
        "center": draw(st.sampled_from(["round", "exact"])) if kind in ("gaussian", "laplace") else "round",
        "normalize": draw(st.booleans()),
        "smoothing": draw(st.sampled_from([0, 0.1, 0.4])),
    }
    expected = reference.simcc_encode(keypoints, visible, **options)
    strided = np.zeros((n, 2 * k, 3), keypoints.dtype)[:, ::2, ::-1][..., :2]
    strided[...] = keypoints
    for got in (simcc_encode(keypoints, visible, **options), simcc_encode(strided, visible, **options)):
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-36)


@every_backend
@pytest.mark.parametrize("dtype", SIXTEEN_BITS, ids=str)
@pytest.mark.parametrize("center", ["round", "exact"])
def test_sixteen_bit_labels_are_rounded_to_nearest(dtype, center):
    rng = np.random.default_rng(1)
    keypoints, visible = rng.uniform(0, 48, (2, 17, 2)).astype(np.float32), np.ones((2, 17), np.float32)
    options = {"input_size": (48, 48.5), "sigma": (4.9, 5.66), "center": center}
    single = simcc_encode(keypoints, visible, **options)
    out = np.empty((2, 17, 96), dtype), np.empty((2, 17, 97), dtype), np.empty((2, 17), np.float32)
    assert simcc_encode(keypoints, visible, **options, out=out)[0] is out[0]
    for a, b in zip(out[:2], single[:2], strict=True):
        np.testing.assert_array_equal(a.view(np.uint16), b.astype(dtype).view(np.uint16))


@every_backend
def test_a_huge_sigma_is_computed_without_a_table():
    options = {"input_size": (48, 64), "sigma": (1e5, 3e4)}
    for got, expected in zip(
        simcc_encode(*point(3, 4), **options), reference.simcc_encode(*point(3, 4), **options), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=2e-5)


points, shown = np.zeros((3, 5, 2), np.float32), np.ones((3, 5), np.float32)
good = {"input_size": (192, 256), "sigma": (4.9, 5.66)}


@pytest.mark.parametrize(
    ("error", "message", "args", "options"),
    [
        (TypeError, "keypoints expected float32 or float64, got int64", (points.astype(int), shown), {}),
        (ValueError, "keypoints expected shape [N, K, 2], got [3, 5, 3]", (np.zeros((3, 5, 3)), shown), {}),
        (ValueError, "visible has K=4 but keypoints has K=5", (points, shown[:, :4]), {}),
        (TypeError, "input_size expected two numbers (x, y), got 192", (points, shown), {"input_size": 192}),
        (
            ValueError,
            "input_size expected at least one bin per axis, got 0 and 512",
            (points, shown),
            {"input_size": (0.2, 256)},
        ),
        (ValueError, "input_size[0] expected a positive number, got -3", (points, shown), {"input_size": (-3, 256)}),
        (
            ValueError,
            "kind expected 'gaussian', 'smooth', 'onehot' or 'laplace', got 'box'",
            (points, shown),
            {"kind": "box"},
        ),
        (ValueError, "center expected 'round' or 'exact', got 'near'", (points, shown), {"center": "near"}),
        (
            ValueError,
            "center expected 'round' for kind='onehot', got 'exact'",
            (points, shown),
            {"kind": "onehot", "center": "exact"},
        ),
        (TypeError, "sigma expected two numbers (x, y), got None", (points, shown), {"sigma": None}),
        (ValueError, "smoothing expected a number in [0, 1), got 1", (points, shown), {"smoothing": 1}),
        (
            ValueError,
            "out[0] expected Wx=384 bins, got shape [3, 5, 383]",
            (points, shown),
            {"out": (np.zeros((3, 5, 383), np.float32), np.zeros((3, 5, 512), np.float32), shown.copy())},
        ),
        (
            TypeError,
            "out expected (simcc_x, simcc_y, target_weight), got list",
            (points, shown),
            {"out": [points, points, shown]},
        ),
    ],
)
def test_bad_input_is_named(error, message, args, options):
    with pytest.raises(error) as caught:
        simcc_encode(*args, **{**good, **options})
    assert str(caught.value) == f"simcc_encode: {message}"
