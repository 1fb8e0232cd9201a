"""Numbers, sizes and machines at their limits: an error in one sentence, never a silent NaN and never an abort."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgepose import ops

ROOT = Path(__file__).parents[2]

logits = np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float32)
maps = np.random.default_rng(1).random((2, 3, 6, 8)).astype(np.float32)
points, shown = np.full((2, 3, 2), 1.5, np.float32), np.ones((2, 3), np.float32)
rows, channel = logits[0], np.ones(8, np.float32)
frame, affine = np.full((4, 5, 3), 90, np.uint8), np.array([[[1, 0, 0], [0, 1, 0.0]]])

# Every number that an op divides or multiplies by, one at a time, beside arguments that are fine.
CALLS = {
    "simcc_decode": (
        lambda **o: ops.simcc_decode(logits, logits, score="softmax", refine="dark", **{"sigma": (1, 1), **o}),
        ["split_ratio", "beta", "sigma"],
    ),
    "simcc_encode": (
        lambda **o: ops.simcc_encode(points, shown, **{"input_size": (6, 8), "sigma": (1, 1), **o}),
        ["split_ratio", "input_size", "sigma"],
    ),
    "simcc_kl_div": (
        lambda **o: ops.simcc_kl_div(logits, logits, **{"target_beta": 1.0, **o}),
        ["beta", "target_beta"],
    ),
    "simcc_gaussian_kl_div": (
        lambda **o: ops.simcc_gaussian_kl_div(logits, logits, points, shown, **{"sigma": (1, 1), **o}),
        ["split_ratio", "beta", "target_beta", "sigma"],
    ),
    "heatmap_encode": (
        lambda **o: ops.heatmap_encode(points, shown, **{"input_size": (32, 24), "heatmap_size": (8, 6), **o}),
        ["input_size", "sigma"],
    ),
    "heatmap_decode": (lambda **o: ops.heatmap_decode(maps, **o), ["input_size"]),
    "batch_norm_silu": (lambda **o: ops.batch_norm_silu(rows, channel, channel, **o), ["eps"]),
    "batch_norm_silu_grad": (lambda **o: ops.batch_norm_silu_grad(rows, rows, *[channel] * 4, **o), ["eps"]),
    "crop_normalize": (
        lambda **o: ops.crop_normalize(
            frame, affine, **{"input_size": (4, 4), "mean": (0, 0, 0), "std": (1, 1, 1), **o}
        ),
        ["std"],
    ),
}
PAIRS, TRIPLES = ("sigma", "input_size"), ("std",)


@pytest.mark.parametrize("value", [1e-300, 1e-320, 1e-31, 1.1e30, 1e300])
@pytest.mark.parametrize(("op", "name"), [(op, name) for op, (_, names) in CALLS.items() for name in names])
def test_numbers_that_float32_cannot_carry_are_refused(op, name, value):
    call, _ = CALLS[op]
    paired = name in PAIRS and (op, name) != ("heatmap_encode", "sigma")
    argument = (value, 1.0) if paired else (value, 1.0, 1.0) if name in TRIPLES else value
    element = f"{name}[0]" if paired or name in TRIPLES else name
    kind = "magnitude" if name in TRIPLES else "number"
    with pytest.raises(ValueError, match=f"expected a {kind} from 1e-30 to 1e30") as caught:
        call(**{name: argument})
    assert str(caught.value) == f"{op}: {element} expected a {kind} from 1e-30 to 1e30, got {value!r}"


@pytest.mark.parametrize("value", [1e-30, 1e-20, 1e20, 1e30])
def test_what_is_let_through_stays_finite(value):
    finite = [
        *ops.simcc_decode(logits, logits, split_ratio=value),
        *ops.simcc_decode(logits, logits, score="softmax", sigma=(value, value)),
        *ops.simcc_decode(logits, logits, score="softmax", beta=value),
        *ops.simcc_decode(logits, logits, flipped=(logits, logits, np.arange(3)), split_ratio=value),
        *ops.simcc_encode(points, shown, input_size=(6, 8), sigma=(value, value), normalize=True),
        ops.simcc_kl_div(logits, logits, beta=value),
        ops.simcc_gaussian_kl_div(logits, logits, points, shown, sigma=(value, value), split_ratio=value),
        *ops.heatmap_encode(points, shown, input_size=(value, value), heatmap_size=(8, 6), sigma=value),
        *ops.heatmap_decode(maps, input_size=(value, value)),
        *ops.batch_norm_silu(rows, channel, channel, eps=value),
        *ops.batch_norm_silu_grad(rows, rows, *[channel] * 4, eps=value),
        ops.crop_normalize(frame, affine, input_size=(4, 4), mean=(1, 1, 1), std=(value, -value, 1)),
    ]
    assert all(np.isfinite(array).all() for array in finite)


def test_a_mean_far_beyond_its_deviation_is_refused():
    options = {"input_size": (4, 4), "std": (1, 1e-20, 1)}
    with pytest.raises(
        ValueError, match=r"^crop_normalize: mean\[1\] expected at most 1e30 and 1e30 · std\[1\], got 1e\+20$"
    ):
        ops.crop_normalize(frame, affine, mean=(0, 1e20, 0), **options)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        (
            "simcc_encode: input_size expected at most 2^30 bins per axis with split_ratio=1e+25, got (1e+25, 8)",
            lambda: ops.simcc_encode(points, shown, input_size=(1e25, 8), split_ratio=1e25, sigma=(1, 1)),
        ),
        (
            "heatmap_encode: heatmap_size expected at most 2^30 cells, got (100000, 100000)",
            lambda: ops.heatmap_encode(points, shown, input_size=(8, 8), heatmap_size=(100000, 100000)),
        ),
        (
            "heatmap_encode: heatmap_size expected at most 2^30 cells, got (1e+29, 1e-29)",
            lambda: ops.heatmap_encode(points, shown, input_size=(8, 8), heatmap_size=(1e29, 1e-29)),
        ),
        (
            "heatmap_decode: blur expected an odd number of cells below 128, got 1e+20",
            lambda: ops.heatmap_decode(maps, input_size=(8, 8), blur=1e20),
        ),
    ],
)
def test_sizes_that_no_row_has_are_refused(message, call):
    with pytest.raises(ValueError, match="expected") as caught:
        call()
    assert str(caught.value) == message


def test_rows_that_32_bits_cannot_count_are_refused():
    row = np.lib.stride_tricks.as_strided(np.zeros(1, np.float16), (0, 1, 2**30 + 1), (2, 2, 2))  # no row is there
    with pytest.raises(ValueError, match=r"simcc_x expected Wx ≤ 2\^30, got shape \[0, 1, 1073741825\]"):
        ops.simcc_decode(row, row)
    with pytest.raises(ValueError, match=r"student expected B ≤ 2\^30"):
        ops.simcc_kl_div(row, row)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer ends the process itself")
@pytest.mark.parametrize("threads", [1, 3])
def test_no_memory_is_a_memory_error(threads):
    """Work space of a gigabyte where there is half of one, in the caller's thread and in the pool's."""
    code = """
import resource
import numpy as np
from edgepose import ops
row = np.zeros((1, 1, 1 << 26), np.float16)
rows = np.broadcast_to(row, (6, 1, 1 << 26))
ops.simcc_kl_div(np.zeros((600, 17, 256), np.float32), np.zeros((600, 17, 256), np.float32))  # the pool is there
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (in_use + (1 << 29), hard))
try:
    ops.simcc_kl_div(rows, rows)
except MemoryError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
print(ops.simcc_kl_div(np.zeros((600, 17, 256), np.float32), np.ones((600, 17, 256), np.float32)).shape)
"""
    environment = {**os.environ, "EDGEPOSE_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["edgepose: no memory for the work space of a kernel", "(600, 17)"]


def test_no_cuda_schedule_uses_a_grid_dimension_that_ends_at_65535():
    for source in (ROOT / "csrc" / "cuda").iterdir():
        text = source.read_text()
        assert not re.search(r"(blockIdx|gridDim)\.[yz]|\bdim3\b", text), source.name


@pytest.mark.gpu
def test_many_people_fit_in_one_launch():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = {"device": "cuda"}
    many = 70_001
    pixels, place = torch.full((4, 4, 3), 90, dtype=torch.uint8, **device), torch.eye(2, 3, **device)
    crops = ops.crop_normalize(pixels, place.expand(many, 2, 3), input_size=(1, 1), mean=(0, 0, 0), std=(1, 1, 1))
    assert (crops == 90).all()
    keypoints = torch.ones(many, 3, 2, **device)
    heatmaps, _ = ops.heatmap_encode(keypoints, keypoints[..., 0], input_size=(4, 4), heatmap_size=(4, 4), sigma=1)
    assert (heatmaps[:, :, 1, 1] == 1).all()
