"""simcc_encode against labels keypoint by keypoint (mmpose), vectorized numpy, and torch."""

from __future__ import annotations

from itertools import product

import numpy as np
from common import SIZES, K, Row, compare, options, report, sizes

from edgepose import ops

SIGMA = {"256x192": (4.9, 5.66), "384x288": (6.0, 6.93)}


def keypoint_by_keypoint(points: np.ndarray, visible: np.ndarray, bins: tuple[int, int], sigma: tuple[float, float]):
    """As mmpose's SimCCLabel._generate_gaussian."""
    n, k = visible.shape
    labels = [np.zeros((n, k, b), np.float32) for b in bins]
    centers = np.around(points * 2).astype(np.int64)
    weight = visible.copy()
    grids = [np.arange(b, dtype=np.float32) for b in bins]
    for i, j in np.ndindex(n, k):
        if visible[i, j] < 0.5:
            continue
        mu = centers[i, j]
        if any(mu[a] - 3 * sigma[a] >= bins[a] or mu[a] + 3 * sigma[a] + 1 < 0 for a in (0, 1)):
            weight[i, j] = 0
            continue
        for a in (0, 1):
            labels[a][i, j] = np.exp(-((grids[a] - mu[a]) ** 2) / (2 * sigma[a] ** 2))
    return *labels, weight


def vectorized(points: np.ndarray, visible: np.ndarray, bins: tuple[int, int], sigma: tuple[float, float]):
    mu = np.rint(points * np.float32(2))
    rows = []
    for a in (0, 1):
        d = (np.arange(bins[a], dtype=np.float32) - mu[..., a, None]) * np.float32(1 / sigma[a])
        rows.append(np.exp(np.float32(-0.5) * d * d) * (visible >= 0.5)[..., None].astype(np.float32))
    return *rows, visible


def in_torch(points, visible, bins: tuple[int, int], sigma: tuple[float, float]):
    """As a training loop would write it. Returns what makes the labels of both axes."""
    import torch

    grids = [torch.arange(b, device=points.device, dtype=torch.float32) for b in bins]

    def eager() -> list[torch.Tensor]:
        mu = torch.round(points * 2)
        shown = (visible >= 0.5)[..., None]
        return [torch.exp(-0.5 * ((grids[a] - mu[..., a, None]) / sigma[a]) ** 2) * shown for a in (0, 1)]

    return eager


def all_rows(args) -> list[Row]:
    if args.device == "cuda":
        return on_gpu(args)
    rows: list[Row] = []
    rng = np.random.default_rng(0)
    for size, bins in sizes(args).items():
        for n in (1, 64):
            points = (rng.random((n, K, 2)) * np.array(bins) / 2).astype(np.float32)
            visible = np.ones((n, K), np.float32)
            rows += one(f"labels {size} N={n}", points, visible, bins, SIGMA[size], args)
    return rows


def main() -> None:
    args = options(__doc__ or "")
    report("simcc_encode", all_rows(args), args)


def one(case: str, points: np.ndarray, visible: np.ndarray, bins, sigma, args) -> list[Row]:
    import torch

    size = (bins[0] / 2, bins[1] / 2)
    eager = in_torch(*(torch.from_numpy(a) for a in (points, visible)), bins, sigma)
    out = (*tuple(np.empty((*visible.shape, b), np.float32) for b in bins), np.empty_like(visible))
    for got, expected in zip(ops.simcc_encode(points, visible, input_size=size, sigma=sigma)[:2], eager(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-7)
    return compare(
        case,
        {
            "numpy per keypoint": lambda: keypoint_by_keypoint(points, visible, bins, sigma),
            "numpy vectorized": lambda: vectorized(points, visible, bins, sigma),
            "torch": eager,
            "edgepose": lambda: ops.simcc_encode(points, visible, input_size=size, sigma=sigma, out=out),
        },
        args,
    )


def on_gpu(args) -> list[Row]:
    numbers = (1, 8) if args.quick else (1, 1024)
    return [row for size, n in product(sizes(args), numbers) for row in one_on_gpu(size, n, args)]


def one_on_gpu(size: str, n: int, args) -> list[Row]:
    """Against torch, and against a copy of as many bytes as the labels, the weights and the keypoints have."""
    import torch
    from bandwidth import copy_of, size_of

    import edgepose.torch as et

    bins, sigma = SIZES[size], SIGMA[size]
    points = torch.rand(n, K, 2, device=args.device) * torch.tensor(bins, device=args.device) / 2
    visible = torch.ones(n, K, device=args.device)
    out = *(torch.empty(n, K, b, device=args.device) for b in bins), torch.empty_like(visible)
    moved = size_of(points, visible, *out)
    options = {"input_size": (bins[0] / 2, bins[1] / 2), "sigma": sigma}
    eager = in_torch(points, visible, bins, sigma)
    for got, expected in zip(ops.simcc_encode(points, visible, **options, out=out)[:2], eager(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
    variants = {
        **copy_of(moved, args),
        "torch": eager,
        "edgepose.torch": lambda: et.simcc_encode(points, visible, **options),
        "edgepose.ops": lambda: ops.simcc_encode(points, visible, **options, out=out),
    }
    return compare(f"labels {size} N={n}", variants, args, ours=2, moved=moved)


if __name__ == "__main__":
    main()
