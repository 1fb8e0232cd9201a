"""torch's bfloat16 through every op that takes it, on both devices: the type that numpy alone does not have."""

import numpy as np
import pytest

from edgepose import ops
from edgepose.ops import reference

torch = pytest.importorskip("torch")

STEP = 2.0**-8  # what rounding to it changes, relatively
RNG = np.random.default_rng(0)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


@pytest.fixture(params=[96, 131])
def pair(request, device):
    """Logits [3, 17, B] and [3, 17, B + 32] as tensors, and the same values in float32."""
    widths = request.param, request.param + 32
    rows = [torch.from_numpy(RNG.normal(size=(3, 17, bins))).to(torch.bfloat16) for bins in widths]
    return [row.to(device) for row in rows], [row.float().numpy() for row in rows]


def empty(device, *shape):
    return torch.empty(shape, dtype=torch.bfloat16, device=device)


def wide(result):
    return torch.as_tensor(result).detach().float().cpu().numpy()


def tensors(device, *arrays):
    return [torch.from_numpy(array).to(device) for array in arrays]


def people(width, height):
    points = RNG.uniform(-0.2, 1.2, (3, 17, 2)) * (width, height)
    return points.astype(np.float32), RNG.choice(np.array([0, 0.3, 1, 2], np.float32), (3, 17))


def test_simcc_decode(pair, device):
    (x, y), (wide_x, wide_y) = pair
    swap = RNG.permutation(17)
    for score in ("min", "softmax"):
        flipped = {"flipped": (y[..., : x.shape[-1]], y, *tensors(device, swap))}
        wide_flipped = {"flipped": (wide_y[..., : x.shape[-1]], wide_y, swap)}
        for options, wide_options in (({}, {}), (flipped, wide_flipped)):
            got = ops.simcc_decode(x, y, score=score, **options)
            expected = reference.simcc_decode(wide_x, wide_y, score=score, **wide_options)
            np.testing.assert_allclose(wide(got[0]), expected[0], rtol=1e-6)
            np.testing.assert_allclose(wide(got[1]), expected[1], rtol=1e-5)


def test_simcc_encode(device):
    points, shown = people(48, 64)
    options = {"input_size": (48, 64), "sigma": (4.9, 5.66)}
    out = empty(device, 3, 17, 96), empty(device, 3, 17, 128), torch.empty(3, 17, device=device)
    ops.simcc_encode(*tensors(device, points, shown), **options, out=out)
    for got, expected in zip(out, reference.simcc_encode(points, shown, **options), strict=True):
        np.testing.assert_allclose(wide(got), expected, rtol=STEP, atol=1e-36)


@pytest.mark.parametrize("target_beta", [None, 10.0])
def test_simcc_kl_div(pair, device, target_beta):
    (x, _), (wide_x, _) = pair
    target = np.abs(wide_x[::-1]).copy()
    grad, slope = torch.empty_like(x), np.empty(wide_x.shape)
    options = {"beta": 3.0, "target_beta": target_beta}
    loss = ops.simcc_kl_div(x, *tensors(device, target), grad=grad, **options)
    expected = reference.simcc_kl_div(wide_x, target, grad=slope, **options)
    np.testing.assert_allclose(wide(loss), expected, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(wide(grad), slope, rtol=STEP, atol=1e-5 * np.abs(slope).max())


@pytest.mark.parametrize("target_beta", [None, 10.0])
def test_simcc_gaussian_kl_div(pair, device, target_beta):
    (x, y), wide_pair = pair
    points, shown = people(48, 64)
    options = {"sigma": (4.9, 5.66), "beta": 3.0, "target_beta": target_beta}
    grads, slopes = (torch.empty_like(x), torch.empty_like(y)), tuple(np.empty(axis.shape) for axis in wide_pair)
    loss = ops.simcc_gaussian_kl_div(x, y, *tensors(device, points, shown), grad=grads, **options)
    expected = reference.simcc_gaussian_kl_div(*wide_pair, points, shown, grad=slopes, **options)
    np.testing.assert_allclose(wide(loss), expected, rtol=1e-5, atol=1e-3)
    for grad, slope in zip(grads, slopes, strict=True):
        np.testing.assert_allclose(wide(grad), slope, rtol=STEP, atol=1e-5 * np.abs(slope).max())


def test_crop_normalize(device):
    frame, turn = RNG.integers(0, 256, (60, 80, 3)).astype(np.uint8), np.array([[[0.7, 0.2, 1.5], [-0.2, 0.7, 9]]])
    options = {"input_size": (37, 29), "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
    out = empty(device, 1, 3, 29, 37)
    ops.crop_normalize(*tensors(device, frame, turn), **options, out=out)
    np.testing.assert_allclose(wide(out), reference.crop_normalize(frame, turn, **options), rtol=STEP, atol=0.01)


def test_heat_maps(device):
    points, shown = people(132, 128)
    size = {"input_size": (132, 128)}
    maps, weight = empty(device, 3, 17, 32, 33), torch.empty(3, 17, device=device)
    ops.heatmap_encode(*tensors(device, points, shown), heatmap_size=(33, 32), **size, out=(maps, weight))
    expected = reference.heatmap_encode(points, shown, heatmap_size=(33, 32), **size)
    np.testing.assert_allclose(wide(maps), expected[0], rtol=STEP, atol=1e-36)
    found, wanted = ops.heatmap_decode(maps, **size), reference.heatmap_decode(wide(maps), **size)
    for got, exact in zip(found, wanted, strict=True):
        np.testing.assert_allclose(wide(got), exact, rtol=1e-6)
    student = torch.from_numpy(RNG.random((3, 17, 32, 33))).to(device, torch.bfloat16)
    grad, slope = torch.empty_like(student), np.empty((3, 17, 32, 33))
    loss = ops.heatmap_mse(student, maps, grad=grad)
    np.testing.assert_allclose(wide(loss), reference.heatmap_mse(wide(student), wide(maps), grad=slope), rtol=1e-5)
    np.testing.assert_allclose(wide(grad), slope, rtol=STEP, atol=1e-6)


def test_batch_norm_silu(device):
    x, upstream = (torch.from_numpy(RNG.normal(size=(300, 37))).to(device, torch.bfloat16) for _ in "xg")
    weight, bias = (RNG.normal(size=37).astype(np.float32) for _ in "wb")
    out = torch.empty_like(x), *(torch.empty(37, device=device) for _ in "mv")
    y, mean, var = map(wide, ops.batch_norm_silu(x, *tensors(device, weight, bias), out=out))
    expected = reference.batch_norm_silu(wide(x), weight, bias)
    for got, wanted in zip((y, mean, var), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=STEP, atol=1e-5)
    out = torch.empty_like(x), *(torch.empty(37, device=device) for _ in "wb")
    ops.batch_norm_silu_grad(x, upstream, *tensors(device, weight, bias, mean, var), out=out)
    expected = reference.batch_norm_silu_grad(wide(x), wide(upstream), weight, bias, mean, var)
    for got, wanted in zip(out, expected, strict=True):
        np.testing.assert_allclose(wide(got), wanted, rtol=0, atol=2 * STEP * np.abs(wanted).max())
