"""Copies of arrays to a device and back, tested on torch's CPU device: GPU tests get their inputs unchanged."""

import numpy as np
import pytest
from arrays import DTYPES, LAYOUTS, lay_out
from transport import LINE, Journey, carried, numpy_of

from edgepose.ops import simcc_decode, simcc_encode, simcc_kl_div

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [*DTYPES, np.dtype(np.uint8), np.dtype(np.int64), np.dtype(np.float64)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_strides_and_place_in_a_cache_line_arrive(layout, dtype):
    for offset in (0, 1, 7):
        values = RNG.integers(0, 99, offset + 2 * 3 * 5).astype(dtype)[offset:].reshape(2, 3, 5)
        array = lay_out(values, layout)
        tensor = Journey(array, "cpu").tensor
        assert [step * array.itemsize for step in tensor.stride()] == list(array.strides)
        assert tensor.storage_offset() == array.ctypes.data % LINE // array.itemsize
        got = numpy_of(tensor)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, array)


def test_empty_and_reversed_arrays_arrive():
    assert Journey(np.empty((0, 3, 5), np.float16)[..., :4], "cpu").tensor.shape == (0, 3, 4)
    array = RNG.random((2, 3, 2))[:, ::2, ::-1]
    np.testing.assert_array_equal(Journey(array, "cpu").tensor.numpy(), array)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_written_comes_back_into_the_same_arrays(dtype):
    x, labels = RNG.random((2, 3, 50)).astype(dtype), RNG.random((2, 3, 50)).astype(np.float32)
    loss, grad = np.full((2, 6), -7, np.float32)[:, ::2], np.full((4, 3, 60), -7, dtype)[::2, :, 5:55]
    assert carried(simcc_kl_div, "cpu")(x, labels, loss=loss, grad=grad) is loss
    expected = np.empty_like(x)
    np.testing.assert_array_equal(loss, simcc_kl_div(x, labels, grad=expected))
    np.testing.assert_array_equal(grad, expected)
    assert (grad.base[1::2] == -7).all()
    assert (grad.base[:, :, 55:] == -7).all()
    assert (loss.base[:, 1::2] == -7).all()


def test_tuples_of_arrays_go_and_come():
    x, y = (RNG.random((2, 3, bins)).astype(np.float32) for bins in (8, 12))
    options = {"flipped": (x[:, ::-1], y, np.array([2, 1, 0])), "affine": RNG.random((2, 2, 3)), "split_ratio": 1.5}
    got, expected = carried(simcc_decode, "cpu")(x, y, **options), simcc_decode(x, y, **options)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    out = np.empty((2, 3, 16), np.float32), np.empty((2, 3, 24), np.float32), np.empty((2, 3), np.float32)
    points, shown = 9 * RNG.random((2, 3, 2)), np.ones((2, 3))
    got = carried(simcc_encode, "cpu")(points, shown, input_size=(8, 12), sigma=(1, 2), out=out)
    for a, b, wanted in zip(got, out, simcc_encode(points, shown, input_size=(8, 12), sigma=(1, 2)), strict=True):
        assert a is b
        np.testing.assert_array_equal(a, wanted)
