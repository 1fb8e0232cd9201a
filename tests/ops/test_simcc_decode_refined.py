"""simcc_decode with a mirrored pass and with DARK: their purpose, mmpose's computation, the reference."""

import numpy as np
import pytest
from arrays import LAYOUTS, VALUES, bins, dtypes, every_backend, every_case, fill, lay_out
from sampling import given, st

from edgepose.ops import reference, simcc_decode

SIGMA = (4.9, 5.66)


def hills(centers, width, sigma):
    """Gaussians of peak 1 with real-valued centers [..., ] in bins → [..., width]."""
    return np.exp(-0.5 * ((np.arange(width) - np.asarray(centers)[..., None]) / sigma) ** 2).astype(np.float32)


def mirrored_pair(x, split_ratio, size=48):
    """Logits of one keypoint at x pixels, in the image and in its mirror image, where it lies at size − 1 − x."""
    width = int(size * split_ratio)
    y = hills([[20 * split_ratio]], width, 3)
    return (hills([[x * split_ratio]], width, 3), y), (hills([[(size - 1 - x) * split_ratio]], width, 3), y)


@pytest.mark.parametrize("decode", [reference.simcc_decode, simcc_decode])
class TestFlip:
    @pytest.mark.parametrize("split_ratio", [1, 2, 3])
    def test_exact_shift_puts_the_point_back(self, decode, split_ratio):
        straight, mirrored = mirrored_pair(17, split_ratio)
        keypoints, scores = decode(*straight, split_ratio=split_ratio, flipped=(*mirrored, np.array([0])))
        assert keypoints.tolist() == [[[17.0, 20.0]]]
        assert scores[0, 0] == 1

    def test_mmpose_keeps_its_bias(self, decode):
        straight, mirrored = mirrored_pair(17, 3)
        keypoints, _ = decode(*straight, split_ratio=3, flipped=(*mirrored, np.array([0])), flip_shift="mmpose")
        assert keypoints[0, 0, 0] == pytest.approx(17 + (3 - 1) / (2 * 3))

    def test_fractional_ratio_moves_the_coordinate(self, decode):
        straight, mirrored = mirrored_pair(17, 1.5, size=64)
        options = {"split_ratio": 1.5, "flipped": (*mirrored, np.array([0])), "refine": "dark", "sigma": (3, 3)}
        assert decode(*straight, **options)[0][0, 0, 0] == pytest.approx(17, abs=0.02)
        biased = decode(*straight, **options, flip_shift="mmpose")[0][0, 0, 0]
        assert biased == pytest.approx(17 + (1.5 - 1) / (2 * 1.5), abs=0.02)

    def test_left_and_right_change_places(self, decode):
        straight, mirrored = (
            tuple(np.concatenate([mirrored_pair(p, 2)[side][axis] for p in points], axis=1) for axis in (0, 1))
            for side, points in ((0, (10, 30)), (1, (30, 10)))
        )
        keypoints, _ = decode(*straight, flipped=(*mirrored, np.array([1, 0])))
        assert keypoints[0, :, 0].tolist() == [10.0, 30.0]

    def test_nan_in_the_mirrored_pass_shows_in_its_own_point(self, decode):
        straight, mirrored = mirrored_pair(17, 2)
        mirrored[0][0, 0, 5] = np.nan
        keypoints, scores = decode(*straight, flipped=(*mirrored, np.array([0])))
        assert keypoints.tolist() == [[[0.0, 20.0]]]
        assert scores[0, 0] == 0


@pytest.mark.parametrize("decode", [reference.simcc_decode, simcc_decode])
class TestDark:
    def test_finds_the_center_between_the_bins(self, decode):
        centers = np.linspace(30, 34, 21)
        x, y = hills(centers, 96, SIGMA[0])[None], hills(centers + 7.3, 128, SIGMA[1])[None]
        keypoints, scores = decode(x, y, refine="dark", sigma=SIGMA, split_ratio=2)
        assert np.abs(2 * keypoints[0, :, 0] - centers).max() < 0.01
        assert np.abs(2 * keypoints[0, :, 1] - centers - 7.3).max() < 0.01
        assert np.array_equal(scores, decode(x, y)[1])  # the score stays the raw one

    def test_rows_without_a_hill_stay_where_they_are(self, decode):
        y = hills([[40.0]], 128, SIGMA[1])
        for row in (np.zeros(96), np.full(96, -3.0), np.full(96, -np.inf), np.where(np.arange(96) == 9, np.inf, 0)):
            x = row.astype(np.float32)[None, None]
            keypoints, _ = decode(x, y, refine="dark", sigma=SIGMA)
            assert keypoints[0, 0, 0] == row.argmax() / 2
        broken = np.full((1, 1, 96), np.nan, np.float32)
        assert decode(broken, y, refine="dark", sigma=SIGMA)[0][0, 0, 0] == 0


def mmpose_dark(row, taps):
    """The steps of mmpose's refine_simcc_dark on one row, with OpenCV's blur. Returns the refined place in bins."""
    cv2 = pytest.importorskip("cv2")
    border = (taps - 1) // 2
    padded = np.zeros((1, len(row) + 2 * border), np.float32)
    padded[0, border : border + len(row)] = row
    blurred = cv2.GaussianBlur(padded, (taps, 1), 0)[0, border : border + len(row)]
    blurred *= row.max() / blurred.max()
    log = np.pad(np.log(np.clip(blurred, 1e-3, 50)), 2, "edge")
    at = int(row.argmax() + 2.5)
    slope = 0.5 * (log[at + 1] - log[at - 1])
    return row.argmax() - slope / (1e-9 + 0.25 * (log[at + 2] - 2 * log[at] + log[at - 2]))


@pytest.mark.parametrize(
    ("sigma", "taps"), [(0.5, 1), (0.9, 3), (1.3, 5), (1.5, 7), (1.8, 9), (1.9, 9), (4.9, 29), (5.66, 35), (6.93, 43)]
)
def test_dark_is_that_of_mmpose(sigma, taps):
    rng = np.random.default_rng(4)
    rows = 6 * hills(rng.uniform(10, 180, (1, 60)), 192, max(sigma, 2)) + rng.normal(0, 0.02, (1, 60, 192))
    rows = rows.astype(np.float32)
    keypoints, _ = simcc_decode(rows, rows, split_ratio=1, refine="dark", sigma=(sigma, sigma))
    assert len(reference.dark_kernel(sigma)) == taps
    for got, row in zip(keypoints[0, :, 0], rows[0], strict=True):
        expected = mmpose_dark(row, taps)
        if abs(expected - row.argmax()) <= taps // 2:
            assert got == pytest.approx(expected, abs=2e-3)


@every_backend
@every_case
@given(data=st.data())
def test_kernel_matches_reference(data):
    draw = data.draw
    n, k, dtype = draw(st.integers(0, 3)), draw(st.sampled_from([1, 2, 17])), draw(dtypes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    widths = draw(bins), draw(bins)
    options = {
        "split_ratio": draw(st.sampled_from([1, 1.5, 2, 3])),
        "score": draw(st.sampled_from(["min", "softmax"])),
        "flip_shift": draw(st.sampled_from(["exact", "mmpose"])),
    }

    def pair(values):
        rows = [fill(rng, (n, k, width), draw(values)) for width in widths]
        if dark:  # rows with a clear hill: where the curvature is near zero, rounding decides
            rows = [
                6 * hills(rng.uniform(0, w, (n, k)), w, 4.9) + 0.01 * row for row, w in zip(rows, widths, strict=True)
            ]
        return [lay_out(row.astype(dtype), draw(st.sampled_from(LAYOUTS))) for row in rows]

    dark = draw(st.booleans())
    values = st.sampled_from(["normal", "zeros"] if dark else VALUES)
    if dark:
        options |= {"refine": "dark", "sigma": draw(st.sampled_from([SIGMA, (1.3, 6.93)]))}
    logits = pair(values)
    if not dark or draw(st.booleans()):
        options["flipped"] = (*pair(values), rng.permutation(k))
    got, expected = simcc_decode(*logits, **options), reference.simcc_decode(*logits, **options)
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-6, atol=5e-3 if dark else 1e-6)
    np.testing.assert_allclose(got[1], expected[1], rtol=1e-5, atol=1e-37)
    assert np.isfinite(got[0]).all()


def test_clipping_needs_the_scale_of_the_whole_row():
    """Peaks above 50 and floors below 0.001 saturate the logarithm: then the blurred maximum matters."""
    x = np.stack([80 * hills(30.2, 96, 4.9), 0.004 * hills(31.4, 96, 4.9)])[None].astype(np.float32)
    got, expected = (f(x, x, refine="dark", sigma=(4.9, 4.9))[0] for f in (simcc_decode, reference.simcc_decode))
    np.testing.assert_allclose(got, expected, atol=1e-3)
    assert (expected != np.round(2 * expected) / 2).any()


x, y = np.zeros((3, 5, 48), np.float32), np.zeros((3, 5, 64), np.float32)
swap = np.arange(5)


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (TypeError, "flipped expected (flipped_x, flipped_y, swap), got numpy.ndarray", {"flipped": x}),
        (ValueError, "flipped[0] has Wx=47 but simcc_x has Wx=48", {"flipped": (x[:, :, 1:], y, swap)}),
        (ValueError, "flipped[1] has Wy=48 but simcc_y has Wy=64", {"flipped": (x, x, swap)}),
        (TypeError, "flipped[2] expected int64, got float32", {"flipped": (x, y, swap.astype(np.float32))}),
        (ValueError, "flipped[2] has K=4 but simcc_x has K=5", {"flipped": (x, y, swap[:4])}),
        (ValueError, "flipped[2] expected indices of keypoints below 5, got 5", {"flipped": (x, y, swap + 1)}),
        (
            ValueError,
            "flip_shift expected 'exact' or 'mmpose', got 'none'",
            {"flipped": (x, y, swap), "flip_shift": "none"},
        ),
        (ValueError, "flip_shift expected 'exact' or 'mmpose', got 'none'", {"flip_shift": "none"}),
        (ValueError, "refine expected 'none' or 'dark', got 'DARK'", {"refine": "DARK"}),
        (TypeError, "sigma expected two numbers (x, y) with refine='dark', got None", {"refine": "dark"}),
        (
            ValueError,
            "sigma expected at most 19 bins with refine='dark', got 30.0",
            {"refine": "dark", "sigma": (4.9, 30)},
        ),
    ],
)
def test_bad_input_is_named(error, message, options):
    with pytest.raises(error) as caught:
        simcc_decode(x, y, **options)
    assert str(caught.value) == f"simcc_decode: {message}"
