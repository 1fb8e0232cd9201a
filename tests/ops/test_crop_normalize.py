"""crop_normalize: against numbers written by hand, the numpy reference at every SIMD level, and OpenCV's warpAffine."""

import ctypes
import mmap
import sys

import numpy as np
import pytest
from arrays import SIXTEEN_BITS, every_backend, every_case, every_level
from sampling import given, st

from edgepose.ops import crop_normalize, reference

RAW = {"mean": (0, 0, 0), "std": (1, 1, 1), "channel_order": "bgr"}  # gray levels as they are
IDENTITY = np.array([[[1, 0, 0], [0, 1, 0]]], np.float64)


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def similarity(size, frame, zoom, degrees, dx=0.0, dy=0.0):
    """Frame → crop: the frame's center, moved by (dx, dy), to the crop's center."""
    c, s = zoom * np.cos(np.deg2rad(degrees)), zoom * np.sin(np.deg2rad(degrees))
    linear = np.array([[c, s], [-s, c]])
    shift = np.array(size) / 2 - linear @ (np.array(frame) / 2 + [dx, dy])
    return np.hstack([linear, shift[:, None]])[None]


@pytest.mark.parametrize("crop", [reference.crop_normalize, crop_normalize])
class TestLiterals:
    def test_identity_keeps_the_pixels_and_splits_the_channels(self, crop):
        frame = image(5, 7)
        out = crop(frame, IDENTITY, input_size=(7, 5), **RAW)
        assert out.shape == (1, 3, 5, 7)
        assert out.dtype == np.float32
        np.testing.assert_array_equal(out[0], frame.transpose(2, 0, 1))

    def test_rgb_reverses_the_channels_and_mean_and_std_follow_the_output(self, crop):
        frame = np.full((4, 4, 3), (10, 20, 30), np.uint8)  # blue 10, green 20, red 30
        out = crop(frame, IDENTITY, input_size=(2, 2), mean=(6, 5, 4), std=(2, 3, 4))
        assert out[0, :, 0, 0] == pytest.approx([12, 5, 1.5])

    def test_between_pixels(self, crop):
        frame = np.zeros((2, 2, 3), np.uint8)
        frame[:, :, 0] = [[0, 100], [40, 200]]
        shifted = np.array([[[1, 0, -0.25], [0, 1, -0.5]]])  # the crop's (0, 0) looks at (0.25, 0.5)
        value = crop(frame, shifted, input_size=(1, 1), **RAW)[0, 0, 0, 0]
        assert value == pytest.approx(0.5 * (0.75 * 0 + 0.25 * 100) + 0.5 * (0.75 * 40 + 0.25 * 200))

    def test_outside_is_black(self, crop):
        frame = np.full((4, 4, 3), 200, np.uint8)
        out = crop(frame, np.array([[[1, 0, 1.5], [0, 1, 0]]]), input_size=(7, 4), **RAW)[0, 0]
        assert out[0].tolist() == [0, 100, 200, 200, 200, 100, 0]

    def test_affine_without_an_inverse_gives_black(self, crop):
        for matrix in (np.zeros((1, 2, 3)), np.array([[[1, 2, 3], [2, 4, 5.0]]])):
            assert not crop(image(9, 9), matrix, input_size=(5, 5), **RAW).any()

    def test_no_person(self, crop):
        assert crop(image(9, 9), np.zeros((0, 2, 3)), input_size=(4, 6), **RAW).shape == (0, 3, 6, 4)


@every_backend
@every_case
@given(data=st.data())
def test_kernel_matches_reference(data):
    draw = data.draw
    side = st.one_of(st.integers(1, 40), st.sampled_from([64, 97, 200]))
    frame = image(draw(side), draw(side), draw(st.integers(0, 99)))
    if draw(st.booleans()):
        frame = image(frame.shape[0] + 3, frame.shape[1] + 5)[1 : 1 + frame.shape[0], 2 : 2 + frame.shape[1]]
    size = draw(side), draw(side)
    finite = st.floats(-30, 30)
    affine = np.concatenate(
        [np.zeros((0, 2, 3))]
        + [
            similarity(
                size, frame.shape[1::-1], draw(st.floats(0.05, 8)), draw(st.sampled_from([0, 0, 90, 180, 37.5, -3])),
                draw(finite), draw(finite),
            )
            for _ in range(draw(st.integers(0, 3)))
        ]
    )  # fmt: skip
    if draw(st.booleans()):
        affine[:, 0] *= -1  # mirrored
        affine[:, 0, 2] += size[0]
    options = {
        "input_size": size,
        "mean": (1, 2, 3),
        "std": (1, 2, 4),
        "channel_order": draw(st.sampled_from(["rgb", "bgr"])),
    }
    got, expected = crop_normalize(frame, affine, **options), reference.crop_normalize(frame, affine, **options)
    np.testing.assert_allclose(
        got, expected, rtol=0, atol=0.15
    )  # gray levels: float32 coordinates of some thousand pixels are off by 5e-4


@every_backend
@pytest.mark.parametrize("degrees", [0, 20, -133])
@pytest.mark.parametrize("zoom", [0.3, 0.43, 1.7])
@pytest.mark.parametrize("dx", [0, 500])
def test_within_one_gray_level_of_opencv(degrees, zoom, dx):
    cv2 = pytest.importorskip("cv2")
    if int(cv2.__version__.split(".")[0]) < 5:
        pytest.skip("OpenCV before 5 rounds coordinates to 1/32 pixel")
    frame, size = image(720, 1280), (192, 256)
    affine = similarity(size, (1280, 720), zoom, degrees, dx, 7.3)
    expected = cv2.warpAffine(frame, affine[0], size, flags=cv2.INTER_LINEAR).transpose(2, 0, 1)
    got = crop_normalize(frame, affine, input_size=size, **RAW)[0]
    assert np.abs(got - expected).max() < 1


@every_backend
@pytest.mark.parametrize("dtype", SIXTEEN_BITS, ids=str)
def test_sixteen_bit_output_is_rounded_to_nearest(dtype):
    frame, affine = image(60, 80), similarity((37, 29), (80, 60), 0.7, 11)
    options = {"input_size": (37, 29), "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
    single = crop_normalize(frame, affine, **options)
    out = np.empty((4, 3, 29, 37), dtype)[1:2]
    assert crop_normalize(frame, affine, **options, out=out) is out
    np.testing.assert_array_equal(out.view(np.uint16), single.astype(dtype).view(np.uint16))


@every_level
@pytest.mark.skipif(sys.platform != "linux", reason="protects a page as Linux does")
def test_frame_is_read_within_its_bytes():
    """A frame that ends where a forbidden page begins: reading one byte more would crash."""
    height, width, page = 3, mmap.PAGESIZE // 3, mmap.PAGESIZE
    memory = np.frombuffer(mmap.mmap(-1, 5 * page), np.uint8)
    memory[:] = 77
    frame = memory[4 * page - height * width * 3 : 4 * page].reshape(height, width, 3)
    guard = ctypes.c_void_p(memory.ctypes.data + 4 * page)
    assert ctypes.CDLL(None).mprotect(guard, ctypes.c_size_t(page), 0) == 0
    for turn in (0, 1e-3):  # both schedules, for upright crops and for all others
        look = np.array([[[1, turn, 9.0 - width], [0, 1, 0]]])
        out = crop_normalize(frame, look, input_size=(12, 3), **RAW)
        np.testing.assert_allclose(out[0, 0], [[77.0] * 9 + [0.0] * 3] * 3, atol=0.5)


f = image(8, 8)
good = {"input_size": (4, 4), **RAW}


@pytest.mark.parametrize(
    ("error", "message", "args", "options"),
    [
        (TypeError, "frame expected uint8, got float32", (f.astype(np.float32), IDENTITY), {}),
        (ValueError, "frame expected shape [H, W, 3], got [8, 8]", (f[:, :, 0], IDENTITY), {}),
        (ValueError, "frame expected shape [H, W, 3], got [8, 8, 4]", (np.zeros((8, 8, 4), np.uint8), IDENTITY), {}),
        (ValueError, "frame expected H ≥ 1, got shape [0, 8, 3]", (f[:0], IDENTITY), {}),
        (
            ValueError,
            "frame expected contiguous values along the last dimensions, got a stride of -3 bytes",
            (f[:, ::-1], IDENTITY),
            {},
        ),
        (ValueError, "affine expected shape [N, 2, 3], got [2, 3]", (f, IDENTITY[0]), {}),
        (TypeError, "affine expected float32 or float64, got int64", (f, IDENTITY.astype(int)), {}),
        (TypeError, "mean expected three numbers, got 0", (f, IDENTITY), {"mean": 0}),
        (ValueError, "std[1] expected a number other than 0, got 0", (f, IDENTITY), {"std": (1, 0, 1)}),
        (ValueError, "channel_order expected 'rgb' or 'bgr', got 'RGB'", (f, IDENTITY), {"channel_order": "RGB"}),
        (
            ValueError,
            "input_size[0] expected a whole number of pixels, got 4.5",
            (f, IDENTITY),
            {"input_size": (4.5, 4)},
        ),
        (
            ValueError,
            "out expected shape [N, 3, 4, 4], got [1, 3, 4, 5]",
            (f, IDENTITY),
            {"out": np.zeros((1, 3, 4, 5), np.float32)},
        ),
    ],
)
def test_bad_input_is_named(error, message, args, options):
    with pytest.raises(error) as caught:
        crop_normalize(*args, **{**good, **options})
    assert str(caught.value) == f"crop_normalize: {message}"
