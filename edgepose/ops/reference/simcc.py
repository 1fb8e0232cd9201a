"""Decoding, labels and divergences of SimCC in plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]


def _first_peak(logits: Floats) -> tuple[Floats, Floats]:  # [..., B] → value, bin [...]
    """First maximum of each row; a row with a NaN has value NaN and bin 0."""
    broken = np.isnan(logits).any(axis=-1)
    bins = np.where(broken, 0, np.argmax(logits, axis=-1))
    return np.where(broken, np.float32(np.nan), logits.max(axis=-1)), bins


def _softmax_score(logits: Floats, peak: Floats, beta: float, score: str) -> Floats:  # [..., B], [...] → [...]
    """Height of the softmax at its peak, or e to the minus its entropy."""
    with np.errstate(invalid="ignore"):
        below = np.where(logits == peak[..., None], np.float32(0), logits - peak[..., None])  # ∞ − ∞ is 0 here
        q = np.exp(np.float64(np.float32(beta)) * below)
        q /= q.sum(axis=-1, keepdims=True)
    if score == "softmax":
        found = q.max(axis=-1)
    else:
        found = np.exp((q * np.log(q, out=np.zeros_like(q), where=q > 0)).sum(axis=-1))
    return np.where(np.isnan(peak), peak, found.astype(np.float32))


def _ideal_score(bins: int, sigma: float, beta: float, score: str) -> Floats:
    """What the ideal label scores, a Gaussian of peak 1 on the middle bin."""
    label = np.exp(-0.5 * ((np.arange(bins) - bins // 2) / sigma) ** 2)
    return _softmax_score(label, label.max(), beta, score)


def _unflip(x: Floats, y: Floats, flipped: tuple[Floats, Floats, Floats], shift: int) -> list[Floats]:
    """Averages with the mirrored pass: pairs swapped, x reversed and moved `shift` bins down, its last bin repeated."""
    swap = flipped[2]
    other_x, other_y = (np.asarray(axis).astype(np.float32)[:, swap] for axis in flipped[:2])
    places = np.maximum(x.shape[-1] - 1 - np.arange(x.shape[-1]) - shift, 0)
    with np.errstate(invalid="ignore", over="ignore"):
        return [np.float32(0.5) * (x + other_x[..., places]), np.float32(0.5) * (y + other_y)]


def blur_kernel(half: int) -> Floats:
    """OpenCV's Gaussian of 2·half + 1 taps: tables up to nine taps, beyond them of width 0.3·(half − 1) + 0.8."""
    small = {
        0: [1],
        1: [1, 2, 1],
        2: [1, 4, 6, 4, 1],
        3: [1, 3.5, 7, 9, 7, 3.5, 1],
        4: [4, 13, 30, 51, 60, 51, 30, 13, 4],
    }
    gaussian = np.exp(-0.5 * (np.arange(-half, half + 1) / (0.3 * (half - 1) + 0.8)) ** 2)
    weights: Floats = np.array(small.get(half, gaussian))
    return weights / float(weights.sum())


def dark_kernel(sigma: float) -> Floats:
    """Blur weights of mmpose's DARK for labels of width `sigma`: (20σ − 7) // 3 taps, made odd."""
    return blur_kernel((max(int((sigma * 20 - 7) // 3), 1) - 1) // 2)


def _dark(logits: Floats, bins: Floats, peak: Floats, sigma: float) -> Floats:  # [N, K, B], [N, K], [N, K] → [N, K]
    """Offsets in bins: a Newton step on the logarithm of the blurred row, where that is a hill; otherwise 0."""
    kernel = dark_kernel(sigma)
    half, width = len(kernel) // 2, logits.shape[-1]
    padded = np.pad(logits.astype(np.float64), ((0, 0), (0, 0), (half, half)))
    with np.errstate(all="ignore"):
        blurred = sum((w * padded[..., i : i + width] for i, w in enumerate(kernel)), np.zeros(logits.shape))
        blurred *= (peak / blurred.max(axis=-1, initial=-np.inf))[..., None]
        log = np.log(np.clip(np.nan_to_num(blurred, nan=0), 1e-3, 50))
        around = np.clip(bins[..., None] + np.arange(-2, 3), 0, width - 1)  # the ends repeat
        far_left, left, middle, right, far_right = np.moveaxis(np.take_along_axis(log, around, -1), -1, 0)
        curvature = 1e-9 + 0.25 * (far_left - 2 * middle + far_right)
        offset = -0.5 * (right - left) / curvature
    good = ~np.isnan(peak) & (curvature < 0) & (np.abs(offset) <= half)
    return np.where(good, offset, 0)


def simcc_decode(
    simcc_x: Floats,  # [N, K, Wx]
    simcc_y: Floats,  # [N, K, Wy]
    *,
    split_ratio: float = 2.0,
    score: str = "min",
    beta: float | None = None,
    sigma: tuple[float, float] | None = None,
    refine: str = "none",
    affine: Floats | None = None,  # [N, 2, 3]
    flipped: tuple[Floats, Floats, Floats] | None = None,  # [N, K, Wx], [N, K, Wy], [K]
    flip_shift: str = "exact",
    out: tuple[Floats, Floats] | None = None,
) -> tuple[Floats, Floats]:
    logits = [np.asarray(axis).astype(np.float32) for axis in (simcc_x, simcc_y)]
    if flipped is not None:
        whole = flip_shift == "exact" and split_ratio == int(split_ratio)
        logits = _unflip(logits[0], logits[1], flipped, shift=int(split_ratio) - 1 if whole else 0)
    peaks, places = zip(*(_first_peak(axis) for axis in logits), strict=True)
    if refine == "dark" and sigma is not None:
        places = tuple(b + _dark(a, b, peak, s) for a, b, peak, s in zip(logits, places, peaks, sigma, strict=True))
    keypoints = np.stack(places, axis=-1).astype(np.float32) / np.float32(split_ratio)
    if flipped is not None and flip_shift == "exact" and not whole:
        keypoints[..., 0] -= np.float32((split_ratio - 1) / (2 * split_ratio))
    if affine is not None:
        a = np.asarray(affine).astype(np.float32)
        keypoints = np.einsum("nij,nkj->nki", a[:, :, :2], keypoints) + a[:, None, :, 2]

    if score in ("softmax", "entropy"):
        temperature = 1.0 if beta is None else beta
        peaks = tuple(_softmax_score(axis, peak, temperature, score) for axis, peak in zip(logits, peaks, strict=True))
        if sigma is not None:
            ideal = [_ideal_score(axis.shape[-1], s, temperature, score) for axis, s in zip(logits, sigma, strict=True)]
            if score == "entropy":
                ideal = [min(ideal)] * 2
            peaks = tuple(np.minimum(p / np.float32(i), 1) for p, i in zip(peaks, ideal, strict=True))
    with np.errstate(invalid="ignore", over="ignore"):
        x, y = peaks
        scores = (
            np.float32(0.5) * (x + y) if score == "mean" else np.maximum(x, y) if score == "max" else np.minimum(x, y)
        )
        scores = np.where(scores > 0, scores, np.float32(0))  # NaN too
    if out is None:
        return keypoints, scores
    out[0][...], out[1][...] = keypoints, scores
    return out


def _labels(
    mu: Floats,  # [N, K] in bins
    bins: int,
    sigma: float,
    kind: str,
    normalize: bool,
    smoothing: float,
) -> tuple[Floats, Floats]:  # rows [N, K, bins], in range [N, K]
    d = np.arange(bins, dtype=np.float32) - mu[..., None]
    width = np.float32(sigma)
    if kind in ("onehot", "smooth"):
        epsilon = smoothing if kind == "smooth" else 0.0
        rows = np.where(d == 0, np.float32(1 - epsilon), np.float32(epsilon / max(bins - 1, 1)))
        return rows, (mu >= 0) & (mu < bins)
    if kind == "gaussian":
        rows, area = np.exp(np.float32(-0.5) * np.square(d / width)), sigma * np.sqrt(2 * np.pi)
    else:
        rows, area = np.exp(-np.abs(d) / width), 2 * sigma
    reach = np.float32(3) * width
    return rows * np.float32(1 / area if normalize else 1), (mu - reach < bins) & (mu + reach + 1 >= 0)


def simcc_encode(
    keypoints: Floats,  # [N, K, 2]
    visible: Floats,  # [N, K]
    *,
    input_size: tuple[float, float],
    split_ratio: float = 2.0,
    sigma: tuple[float, float] | None = None,
    kind: str = "gaussian",
    center: str = "round",
    normalize: bool = False,
    smoothing: float = 0.1,
    out: tuple[Floats, Floats, Floats] | None = None,
) -> tuple[Floats, Floats, Floats]:
    mu = np.asarray(keypoints).astype(np.float32) * np.float32(split_ratio)
    mu = mu if center == "exact" else np.rint(mu)
    weight = np.array(visible, np.float32)
    with np.errstate(invalid="ignore", under="ignore", over="ignore"):
        (x, x_inside), (y, y_inside) = (
            _labels(mu[..., i], int(input_size[i] * split_ratio), (sigma or (1, 1))[i], kind, normalize, smoothing)
            for i in (0, 1)
        )
    labeled, inside = weight >= 0.5, x_inside & y_inside
    weight[labeled & ~inside] = 0
    kept = (labeled & inside)[..., None]
    results = np.where(kept, x, np.float32(0)), np.where(kept, y, np.float32(0)), weight
    if out is None:
        return results
    for array, result in zip(out, results, strict=True):
        array[...] = result
    return out


def _log_softmax(x: Floats) -> Floats:
    below = x - x.max(axis=-1, keepdims=True)
    result: Floats = below - np.log(np.exp(below).sum(axis=-1, keepdims=True))
    return result


def simcc_kl_div(
    student: Floats,  # [N, K, B]
    target: Floats,  # [N, K, B]
    *,
    beta: float = 1.0,
    target_beta: float | None = None,
    weight: Floats | None = None,  # [N, K]
    loss: Floats | None = None,
    grad: Floats | None = None,
) -> Floats:
    """Computed in float64, and returned so unless `loss` is given: the kernels' errors are measured against it."""
    s, t = np.asarray(student).astype(np.float64), np.asarray(target).astype(np.float64)
    w = np.ones(s.shape[:2]) if weight is None else np.asarray(weight).astype(np.float64)
    log_q = _log_softmax(beta * s)
    if target_beta is None:
        p, log_p = t, np.log(np.where(t > 0, t, 1))
    else:
        log_p = _log_softmax(target_beta * t)
        p = np.exp(log_p)
    result = np.where(w == 0, 0, w * (p * (log_p - log_q)).sum(axis=-1))
    if grad is not None:
        slope = beta * (p.sum(axis=-1, keepdims=True) * np.exp(log_q) - p)
        grad[...] = np.where(w[..., None] == 0, 0, w[..., None] * slope)
    if loss is None:
        return result
    loss[...] = result
    return loss


def simcc_gaussian_kl_div(
    simcc_x: Floats,  # [N, K, Wx]
    simcc_y: Floats,  # [N, K, Wy]
    keypoints: Floats,  # [N, K, 2]
    visible: Floats,  # [N, K]
    *,
    sigma: tuple[float, float],
    split_ratio: float = 2.0,
    center: str = "round",
    normalize: bool = False,
    beta: float = 1.0,
    target_beta: float | None = None,
    bin_mean: bool = False,
    loss: Floats | None = None,
    grad: tuple[Floats, Floats] | None = None,
) -> Floats:
    """In float64, as `simcc_kl_div`."""
    bins = simcc_x.shape[-1], simcc_y.shape[-1]
    size = (bins[0] + 0.5) / split_ratio, (bins[1] + 0.5) / split_ratio  # any size with so many bins
    options: dict[str, Any] = {"input_size": size, "split_ratio": split_ratio, "sigma": sigma}
    *labels, weight = simcc_encode(keypoints, visible, **options, center=center, normalize=normalize)
    result = np.zeros(weight.shape)
    for axis, logits in enumerate((simcc_x, simcc_y)):
        factor = weight.astype(np.float64) / (bins[axis] if bin_mean else 1)
        slope = None if grad is None else grad[axis]
        result += simcc_kl_div(logits, labels[axis], beta=beta, target_beta=target_beta, weight=factor, grad=slope)
    if loss is None:
        return result
    loss[...] = result
    return loss
