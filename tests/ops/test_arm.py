"""The CPU kernels on ARM: cross-compiled, and run under an emulator against the numpy reference, NEON and scalar.

Needs aarch64-linux-gnu-g++ and qemu-aarch64 (Debian/Ubuntu: g++-aarch64-linux-gnu, qemu-user).
"""

import ast
import platform
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from arrays import DTYPES, fill

from edgepose.ops import reference

ROOT = Path(__file__).parents[2]
NATIVE = platform.machine() == "aarch64"
CXX = shutil.which("g++" if NATIVE else "aarch64-linux-gnu-g++")
EMULATOR = [] if NATIVE else [shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")]
pytestmark = [
    pytest.mark.arm,
    pytest.mark.slow,
    pytest.mark.skipif(CXX is None, reason="no compiler for ARM: g++-aarch64-linux-gnu"),
    pytest.mark.skipif(None in EMULATOR, reason="no emulator of ARM: qemu-user"),
]
CODES = ["uint8", "int64", "float16", "bfloat16", "float32", "float64"]  # as enum DType in csrc/array.h


def compiler_flags():
    """Those of setup.py."""
    lists = {}
    for node in ast.parse((ROOT / "setup.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id in ("COMMON_FLAGS", "CXX_FLAGS"):
            lists[node.targets[0].id] = ast.literal_eval(node.value)
    return [*lists["COMMON_FLAGS"], *lists["CXX_FLAGS"], "-Werror", f"-I{ROOT / 'csrc'}"]


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arm")
    levels = {"scalar": ["-DEDGEPOSE_SCALAR", "-fno-tree-vectorize"], "baseline": []}
    jobs = [(path, f"{path.stem}.{level}.o", [f"-DEDGEPOSE_LEVEL={level}", *flags])
            for path in sorted((ROOT / "csrc" / "cpu").glob("*.cpp")) for level, flags in levels.items()]  # fmt: skip
    jobs += [(path, f"{path.stem}.o", []) for path in sorted((ROOT / "csrc").glob("*.cpp"))]
    jobs.append((ROOT / "tests" / "ops" / "arm" / "check.cpp", "check.o", []))
    for source, output, flags in jobs:
        command = [CXX, *compiler_flags(), *flags, "-c", "-o", folder / output, source]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    objects = [folder / output for _, output, _ in jobs]
    subprocess.run([CXX, "-static", "-pthread", "-o", folder / "check", *objects], check=True)
    return folder / "check"


@pytest.fixture(params=["scalar", "baseline"])
def run(request, program, tmp_path):
    """run(op, arrays, numbers) → the arrays, those that the kernel has written among them. None: left out."""

    def call(op, arrays, numbers):
        data = struct.pack("<i", len(arrays))
        for array in arrays:
            shape = () if array is None else array.shape
            data += struct.pack(
                f"<ii{len(shape)}q", 4 if array is None else CODES.index(str(array.dtype)), len(shape), *shape
            )
            data += b"" if array is None else array.tobytes()
        data += struct.pack(f"<i{len(numbers)}d", len(numbers), *numbers)
        path = tmp_path / "arrays"
        path.write_bytes(data)
        subprocess.run([*EMULATOR, program, request.param, op, path], check=True)
        data, results = path.read_bytes(), []
        for array in arrays:
            size = 0 if array is None else array.nbytes
            results.append(array if array is None else np.frombuffer(data[:size], array.dtype).reshape(array.shape))
            data = data[size:]
        assert not data
        return results

    return call


def empty(*shape, dtype=np.float32):
    return np.full(shape, -7, dtype)


def test_the_program_is_one_for_arm(program):
    assert program.read_bytes()[18:20] == (183).to_bytes(2, "little")  # EM_AARCH64


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("values", ["normal", "ties", "nan", "inf", "-inf rows"])
def test_simcc_decode(run, dtype, values):
    rng = np.random.default_rng(0)
    for bins in ((384, 512), (3, 17), (65, 129)):
        x, y = (fill(rng, (2, 17, b), values).astype(dtype) for b in bins)
        affine = rng.normal(size=(2, 2, 3))
        arrays = [x, y, None, None, None, affine, empty(2, 17, 2), empty(2, 17)]
        for score, index in (("min", 0), ("softmax", 3)):
            *_, keypoints, scores = run("simcc_decode", arrays, [2, index, 10, 1, 1, 0, 0, 0, 0, 0, 0])
            expected = reference.simcc_decode(x, y, score=score, beta=10, affine=affine)
            np.testing.assert_allclose(keypoints, expected[0], rtol=1e-6, atol=1e-3)
            np.testing.assert_allclose(scores, expected[1], rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_simcc_decode_mirrored_and_refined(run, dtype):
    rng = np.random.default_rng(1)
    labels = [np.exp(-0.5 * ((np.arange(b) - rng.uniform(9, b - 9, (2, 17, 1))) / 4.9) ** 2) for b in (96, 128)]
    x, y = (label.astype(dtype) for label in labels)
    flipped = [np.ascontiguousarray(x[..., ::-1]), y, rng.permutation(17)]
    half = len(reference.dark_kernel(4.9)) // 2
    arrays = [x, y, *flipped, None, empty(2, 17, 2), empty(2, 17)]
    *_, keypoints, scores = run("simcc_decode", arrays, [2, 0, 1, 1, 1, 0, 1, 1, 0, half, half])
    expected = reference.simcc_decode(x, y, refine="dark", sigma=(4.9, 4.9), flipped=tuple(flipped))
    near = np.abs(keypoints - expected[0]) < 0.01  # of two averaged hills either may be the higher by a rounding
    assert near.mean() > 0.95
    np.testing.assert_allclose(scores, expected[1], rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("kind", "index"), [("gaussian", 0), ("laplace", 1), ("smooth", 2)])
def test_simcc_encode(run, dtype, kind, index):
    rng = np.random.default_rng(2)
    keypoints = rng.uniform(-30, 120, (2, 17, 2))
    visible = rng.choice([0, 0.49, 0.5, 1, 2], (2, 17))
    for exact in (False, True) if kind != "smooth" else (False,):
        axis = (4.9, 1.0, 0.0) if kind != "smooth" else (1.0, 0.9, 0.1 / 95)
        arrays = [keypoints, visible, empty(2, 17, 96, dtype=dtype), empty(2, 17, 96, dtype=dtype), empty(2, 17)]
        *_, x, y, weight = run("simcc_encode", arrays, [index, exact, 2, *axis, *axis])
        expected = reference.simcc_encode(
            keypoints, visible, input_size=(48, 48), sigma=(4.9, 4.9), kind=kind, center="exact" if exact else "round"
        )
        step = {2: 2.0**-8, 4: 2e-5}[np.dtype(dtype).itemsize]
        for got, wanted in zip((x, y), expected[:2], strict=True):
            np.testing.assert_allclose(got.astype(np.float32), wanted, rtol=step, atol=1e-7 if step > 1e-4 else 1e-36)
        np.testing.assert_array_equal(weight, expected[2])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("target_beta", [None, 10.0])
def test_simcc_kl_div(run, dtype, target_beta):
    rng = np.random.default_rng(3)
    for bins in (5, 384, 517):
        student, target = rng.normal(size=(2, 17, bins)).astype(dtype), rng.random((2, 17, bins)).astype(np.float32)
        weight = rng.choice([0, 0.5, 1], (2, 17)).astype(np.float32)
        arrays = [student, target, weight, empty(2, 17), empty(2, 17, bins, dtype=dtype)]
        *_, loss, grad = run("simcc_kl_div", arrays, [2.5, target_beta or 0])
        slope = np.empty(student.shape)
        expected = reference.simcc_kl_div(student, target, beta=2.5, target_beta=target_beta, weight=weight, grad=slope)
        mass = target.sum() / 34 if target_beta is None else 1
        np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=2e-5 * mass)
        step = {2: 2.0**-8, 4: 4e-6}[np.dtype(dtype).itemsize]
        np.testing.assert_allclose(grad.astype(np.float64), slope, rtol=0, atol=step * np.abs(slope).max() + 1e-7)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("target_beta", [None, 10.0])
def test_simcc_gaussian_kl_div(run, exact, target_beta):
    rng = np.random.default_rng(4)
    x, y = (rng.normal(size=(2, 17, bins)).astype(np.float32) for bins in (96, 131))
    keypoints, visible = rng.uniform(-5, 60, (2, 17, 2)).astype(np.float32), np.ones((2, 17), np.float32)
    arrays = [x, y, keypoints, visible, empty(2, 17), empty(2, 17, 96), empty(2, 17, 131)]
    axis = (4.9, 1.0, 0.0)
    *_, loss, grad_x, grad_y = run("simcc_gaussian_kl_div", arrays, [3, target_beta or 0, 0, exact, 2, *axis, *axis])
    slopes = np.empty(x.shape), np.empty(y.shape)
    options = {"sigma": (4.9, 4.9), "center": "exact" if exact else "round", "beta": 3, "target_beta": target_beta}
    expected = reference.simcc_gaussian_kl_div(x, y, keypoints, visible, **options, grad=slopes)
    np.testing.assert_allclose(loss, expected, rtol=2e-5, atol=1e-5)
    for got, wanted in zip((grad_x, grad_y), slopes, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_heatmaps(run, dtype):
    rng = np.random.default_rng(5)
    keypoints, visible = rng.uniform(-10, 140, (2, 17, 2)), rng.choice([0.0, 1.0], (2, 17))
    size = {"input_size": (132, 128)}
    maps, weight = empty(2, 17, 32, 33, dtype=dtype), empty(2, 17)
    *_, maps, weight = run("heatmap_encode", [keypoints, visible, maps, weight], [0.25, 0.25, 2, 33, 32, 1])
    expected = reference.heatmap_encode(keypoints, visible, heatmap_size=(33, 32), center="exact", **size)
    step = {2: 2.0**-8, 4: 2e-5}[np.dtype(dtype).itemsize]
    np.testing.assert_allclose(maps.astype(np.float32), expected[0], rtol=step, atol=1e-7)
    np.testing.assert_array_equal(weight, expected[1])
    for refine, index in (("none", 0), ("quarter", 1), ("dark", 2)):
        *_, found, scores = run("heatmap_decode", [maps, None, empty(2, 17, 2), empty(2, 17)], [4, 4, index, 5])
        wanted = reference.heatmap_decode(maps, refine=refine, **size)
        np.testing.assert_allclose(found, wanted[0], atol=0.05 if refine == "dark" else 1e-5)
        np.testing.assert_array_equal(scores, wanted[1])
    student = rng.random(maps.shape).astype(dtype)
    arrays = [student, maps, None, visible.astype(np.float32), None, empty(2, 17), empty(*maps.shape, dtype=dtype)]
    *_, loss, grad = run("heatmap_mse", arrays, [0])
    slope = np.empty(maps.shape)
    total = reference.heatmap_mse(student, maps, weight=visible, grad=slope)
    np.testing.assert_allclose(loss, total, rtol=1e-5)
    np.testing.assert_allclose(grad.astype(np.float64), slope, rtol=2.0**-8 if step > 1e-4 else 1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_batch_norm_silu(run, dtype):
    rng = np.random.default_rng(7)
    x, upstream = ((2 * rng.normal(size=(300, 37)) + rng.normal(size=37)).astype(dtype) for _ in "xg")
    weight, bias = (rng.normal(size=37).astype(np.float32) for _ in "wb")
    of_x, of_channels, work = empty(300, 37, dtype=dtype), [empty(37), empty(37)], empty(2, 2, 37)
    *_, y, mean, var, _ = run("batch_norm_silu", [x, weight, bias, of_x, *of_channels, work], [1e-5, 256])
    expected = reference.batch_norm_silu(x, weight, bias)
    step = {2: 2.0**-8, 4: 1e-5}[np.dtype(dtype).itemsize]
    for got, wanted in zip((y, mean, var), expected, strict=True):
        np.testing.assert_allclose(got.astype(np.float64), wanted, rtol=step, atol=1e-5)
    arrays = [x, upstream, weight, bias, mean, var, of_x, *of_channels, work]
    *_, in_x, in_weight, in_bias, _ = run("batch_norm_silu_grad", arrays, [1e-5, 256])
    expected = reference.batch_norm_silu_grad(x, upstream, weight, bias, mean, var)
    for got, wanted in zip((in_x, in_weight, in_bias), expected, strict=True):
        limit = 2 * step * np.abs(wanted).max()
        np.testing.assert_allclose(got.astype(np.float64), wanted, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("turn", [0.0, 0.2])
def test_crop_normalize(run, dtype, turn):
    frame = np.random.default_rng(6).integers(0, 256, (50, 61, 3)).astype(np.uint8)
    affine = np.array([[[0.7, turn, 1.5], [-turn, 0.7, -3]], [[1.3, 0, -20], [0, 1.3, -10]]])
    rule = [*np.divide(1, (2, 3, 4)), *np.divide((-6, -5, -4), (2, 3, 4)), 2, 1, 0]
    *_, crops = run("crop_normalize", [frame, affine, empty(2, 3, 37, 29, dtype=dtype)], rule)
    expected = reference.crop_normalize(frame, affine, input_size=(29, 37), mean=(6, 5, 4), std=(2, 3, 4))
    step = {2: 2.0**-8, 4: 1e-5}[np.dtype(dtype).itemsize]
    np.testing.assert_allclose(crops.astype(np.float32), expected, rtol=step, atol=0.02)
