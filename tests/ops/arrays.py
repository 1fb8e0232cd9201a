"""Arrays to try kernels on: every dtype, every layout a caller may bring, and the values that break naive code."""

import os

import numpy as np
import pytest
from sampling import HealthCheck, settings, st

try:
    from ml_dtypes import bfloat16
except ImportError:  # then numpy has no bfloat16; torch's reaches the kernels in test_torch_bfloat16.py
    BFLOAT16 = None
else:
    BFLOAT16 = np.dtype(bfloat16)

every_level = pytest.mark.usefixtures("level")  # once per SIMD level of this processor
every_backend = pytest.mark.usefixtures("backend")  # the same, and once on a CUDA device where there is one
every_case = settings(
    max_examples=int(os.environ.get("EDGEPOSE_EXAMPLES", "80")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

DTYPES = [np.dtype(np.float32), np.dtype(np.float16), *([] if BFLOAT16 is None else [BFLOAT16])]
SIXTEEN_BITS = DTYPES[1:]
LAYOUTS = ["packed", "read-only", "strided", "transposed", "broadcast"]
VALUES = ["normal", "ties", "zeros", "negative", "nan", "inf", "-inf rows", "large"]

# NaN as the float32 bits that CPUs, GPUs (0x7fffffff) and files hold; then what a softmax makes NaN of.
BROKEN = [0x7FC00000, 0xFFC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, "inf", "-inf row"]

dtypes = st.sampled_from(DTYPES)
bins = st.one_of(st.integers(1, 140), st.sampled_from([255, 256, 257, 384, 512, 576, 768, 1023, 1024, 1025]))


def fill(rng, shape, values):
    """[…] float32 of one kind of values."""
    x = rng.normal(size=shape).astype(np.float32)
    if values == "ties":
        return rng.integers(0, 3, shape).astype(np.float32)
    if values == "zeros":
        return np.where(rng.random((*shape[:-1], 1)) < 0.5, np.float32(0), x) * np.float32(-1)  # −0.0 too
    if values == "negative":
        return -np.abs(x)
    if values == "nan":
        return np.where(rng.random(shape) < 2 / shape[-1], np.float32(np.nan), x)
    if values == "inf":
        return np.where(rng.random(shape) < 3 / shape[-1], np.where(x > 0, np.inf, -np.inf), x).astype(np.float32)
    if values == "-inf rows":
        return np.where(rng.random((*shape[:-1], 1)) < 0.5, np.float32(-np.inf), x)
    if values == "large":
        return x * np.float32(1e4)  # float16 reaches 65,504
    return x


def broken(x, row, kind):
    """x [N, K, B] with one row (n, k) broken in one way of BROKEN."""
    x = x.copy()
    if kind == "-inf row":
        x[row] = -np.inf
    else:
        x[row][x.shape[-1] // 2] = np.inf if kind == "inf" else np.uint32(kind).view(np.float32)
    return x


def lay_out(x, layout):
    """The same values [N, K, B] in another memory layout; the bins stay contiguous."""
    n, k, b = x.shape
    if layout == "read-only":
        x = x.copy()
        x.flags.writeable = False
    elif layout == "strided":
        big = np.zeros((2 * n, 3 * k, b + 5), x.dtype)
        big[::2, 1::3, 2 : b + 2] = x
        x = big[::2, 1::3, 2 : b + 2]
    elif layout == "transposed":
        x = np.ascontiguousarray(x.transpose(1, 0, 2)).transpose(1, 0, 2)
    elif layout == "broadcast":
        x = np.broadcast_to(x[:1], x.shape)
    return x


@st.composite
def logit_pairs(draw):
    """(simcc_x [N, K, Wx], simcc_y [N, K, Wy]) as a network or a hostile caller may give them."""
    n, k = draw(st.integers(0, 4)), draw(st.sampled_from([1, 2, 3, 17, 133]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(dtypes)
    pair = (fill(rng, (n, k, draw(bins)), draw(st.sampled_from(VALUES))).astype(dtype) for _ in "xy")
    return tuple(lay_out(axis, draw(st.sampled_from(LAYOUTS))) for axis in pair)
