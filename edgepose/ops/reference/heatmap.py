"""Heat maps in plain numpy: labels, decoding, the mixed squared error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .simcc import _first_peak, blur_kernel

Floats = NDArray[Any]


def heatmap_encode(
    keypoints: Floats,  # [N, K, 2]
    visible: Floats,  # [N, K]
    *,
    input_size: tuple[float, float],
    heatmap_size: tuple[int, int],
    sigma: float = 2.0,
    center: str = "round",
    out: tuple[Floats, Floats] | None = None,
) -> tuple[Floats, Floats]:
    scale = (np.array(heatmap_size) / input_size).astype(np.float32)
    mu = np.asarray(keypoints).astype(np.float32) * scale
    mu = mu if center == "exact" else np.trunc(mu + np.float32(0.5))
    width, reach = np.float32(sigma), np.float32(3) * np.float32(sigma)
    weight = np.array(visible, np.float32)
    with np.errstate(invalid="ignore", under="ignore", over="ignore"):
        factors = []
        for axis, cells in enumerate(heatmap_size):
            d = np.arange(cells, dtype=np.float32) - mu[..., axis, None]
            factor = np.exp(np.float32(-0.5) * np.square(d / width))
            factors.append(factor if center == "exact" else np.where(np.abs(d) > reach, np.float32(0), factor))
        inside = ((mu - reach < np.array(heatmap_size)) & (mu + reach + 1 >= 0)).all(axis=-1)
        maps = factors[1][..., :, None] * factors[0][..., None, :]
    labeled = weight >= 0.5
    weight[labeled & ~inside] = 0
    results = np.where((labeled & inside)[..., None, None], maps, np.float32(0)), weight
    if out is None:
        return results
    out[0][...], out[1][...] = results
    return out


def _dark(heatmaps: Floats, x: Floats, y: Floats, blur: int) -> Floats:  # [N, K, h, w], [N, K] → [N, K, 2]
    """A Newton step on the logarithm of the blurred map, where that is a hill; otherwise 0."""
    kernel, half = blur_kernel(blur // 2), blur // 2
    height, width = heatmaps.shape[2:]
    padded = np.pad(heatmaps.astype(np.float64), ((0, 0), (0, 0), (half, half), (half, half)))
    with np.errstate(all="ignore"):
        rows = sum((w * padded[..., i : i + width] for i, w in enumerate(kernel)), np.zeros(()))
        blurred = sum((w * rows[..., i : i + height, :] for i, w in enumerate(kernel)), np.zeros(()))
        log = np.log(np.maximum(np.nan_to_num(blurred, nan=0), 1e-10))
        n, k = np.ogrid[: x.shape[0], : x.shape[1]]

        def at(dx: int, dy: int) -> Floats:
            values: Floats = log[n, k, np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)]
            return values

        gradient = 0.5 * np.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], axis=-1)
        dxx, dyy = (0.25 * (at(2 * a, 2 * b) - 2 * at(0, 0) + at(-2 * a, -2 * b)) for a, b in ((1, 0), (0, 1)))
        dxy = 0.25 * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1))
        det = dxx * dyy - dxy**2
        inverse = np.stack([np.stack([dyy, -dxy], -1), np.stack([-dxy, dxx], -1)], -2) / det[..., None, None]
        step = -np.einsum("nkij,nkj->nki", inverse, gradient)
    fits = (x >= 2) & (y >= 2) & (x < width - 2) & (y < height - 2)
    hill = fits & (dxx < 0) & (det > 0) & (np.abs(step) <= half).all(axis=-1)
    result: Floats = np.where(hill[..., None], step, 0)
    return result


def _quarter(heatmaps: Floats, x: Floats, y: Floats) -> Floats:
    """A quarter of a cell towards the higher neighbor, on axes where there are two."""
    height, width = heatmaps.shape[2:]
    n, k = np.ogrid[: x.shape[0], : x.shape[1]]
    maps = heatmaps.astype(np.float32)
    with np.errstate(invalid="ignore"):
        dx = np.sign(maps[n, k, y, np.minimum(x + 1, width - 1)] - maps[n, k, y, np.maximum(x - 1, 0)])
        dy = np.sign(maps[n, k, np.minimum(y + 1, height - 1), x] - maps[n, k, np.maximum(y - 1, 0), x])
    steps = np.stack([dx * ((x > 0) & (x < width - 1)), dy * ((y > 0) & (y < height - 1))], axis=-1)
    result: Floats = 0.25 * np.nan_to_num(steps)
    return result


def heatmap_decode(
    heatmaps: Floats,  # [N, K, h, w]
    *,
    input_size: tuple[float, float],
    refine: str = "none",
    blur: int = 11,
    affine: Floats | None = None,  # [N, 2, 3]
    out: tuple[Floats, Floats] | None = None,
) -> tuple[Floats, Floats]:
    n, k, height, width = heatmaps.shape
    peak, cell = _first_peak(heatmaps.astype(np.float32).reshape(n, k, height * width))
    y, x = np.divmod(cell, width)
    places = np.stack([x, y], axis=-1).astype(np.float64)
    if refine != "none":
        step = _dark(heatmaps, x, y, blur) if refine == "dark" else _quarter(heatmaps, x, y)
        places += np.where(np.isnan(peak)[..., None], 0, step)
    keypoints = (places * (np.array(input_size) / (width, height))).astype(np.float32)
    if affine is not None:
        a = np.asarray(affine).astype(np.float32)
        keypoints = np.einsum("nij,nkj->nki", a[:, :, :2], keypoints) + a[:, None, :, 2]
    with np.errstate(invalid="ignore"):
        scores = np.where(peak > 0, peak, np.float32(0))  # NaN too
    if out is None:
        return keypoints, scores
    out[0][...], out[1][...] = keypoints, scores
    return out


def heatmap_mse(
    student: Floats,  # [N, K, h, w]
    target: Floats,  # [N, K, h, w]
    teacher: Floats | None = None,  # [N, K, h, w]
    *,
    alpha: float = 0.5,
    weight: Floats | None = None,  # [N, K]
    teacher_weight: Floats | None = None,  # [N, K]
    loss: Floats | None = None,
    grad: Floats | None = None,
) -> Floats:
    """In float64, and returned so unless `loss` is given."""
    s = np.asarray(student).astype(np.float64)
    share = alpha if teacher is not None else 0.0
    result, slope = np.zeros(s.shape[:2]), np.zeros(s.shape)
    for other, factor, points in ((target, 1 - share, weight), (teacher, share, teacher_weight)):
        if other is None:
            continue
        w = factor * (np.ones(s.shape[:2]) if points is None else np.asarray(points).astype(np.float64))
        difference = np.where((w == 0)[..., None, None], 0, s - np.asarray(other).astype(np.float64))
        result += w * np.square(difference).sum(axis=(2, 3))
        slope += 2 * w[..., None, None] * difference
    if grad is not None:
        grad[...] = slope
    if loss is None:
        return result
    loss[...] = result
    return loss
