"""simcc_decode against numpy as mmpose and rtmlib write it, vectorized numpy and torch; on a GPU also a copy."""

from __future__ import annotations

from itertools import product

import numpy as np
from common import SIZES, K, Row, Work, compare, logits, options, report, sizes
from plain_maximum import plain_maximum

from edgepose import ops

SIGMA = {"256x192": (4.9, 5.66), "384x288": (6.0, 6.93)}


def person_by_person(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As mmpose's get_simcc_maximum, called once per person."""
    places, scores = [], []
    for px, py in zip(x, y, strict=True):
        mx, my = px.argmax(1), py.argmax(1)
        value = np.minimum(px.max(1), py.max(1))
        place = np.stack([mx, my], 1).astype(np.float32)
        place[value <= 0] = -1
        places.append(place / 2)
        scores.append(value)
    return np.stack(places), np.stack(scores)


def vectorized(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    places = np.stack([x.argmax(-1), y.argmax(-1)], -1) / np.float32(2)
    return places, np.minimum(x.max(-1), y.max(-1))


def softmax_scores(x: np.ndarray, y: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Decoding with softmax peaks, person by person."""
    places, _ = person_by_person(x, y)
    peaks = []
    for axis in (x, y):
        e = np.exp(beta * (axis - axis.max(-1, keepdims=True)))
        peaks.append((e / e.sum(-1, keepdims=True)).max(-1))
    return places, np.minimum(*peaks)


def entropy_scores(x: np.ndarray, y: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Decoding with e to the minus the softmax's entropy, person by person."""
    places, _ = person_by_person(x, y)
    spread = []
    for axis in (x, y):
        t = beta * (axis - axis.max(-1, keepdims=True))
        e = np.exp(t)
        mass = e.sum(-1)
        spread.append(np.exp((e * t).sum(-1) / mass) / mass)
    return places, np.minimum(*spread)


def mmpose_visibility(x: np.ndarray, y: np.ndarray, sigma: tuple[float, float]) -> tuple[np.ndarray, ...]:
    """As mmpose's SimCCLabel.decode with decode_visibility: both maxima, then those of a softmax, person by person.

    The label widths are an array there, whose elements make the logits float64.
    """
    places, scores = person_by_person(x, y)
    visible, widths = [], np.array(sigma)
    for person in zip(x, y, strict=True):
        peaks = []
        for axis, width in zip(person, widths, strict=True):
            scaled = axis * 150.0 * width
            e = np.exp(scaled - scaled.max(1, keepdims=True))
            soft = e / e.sum(1, keepdims=True)
            soft.argmax(1)
            peaks.append(soft.max(1))
        visible.append(np.minimum(*peaks))
    return places, scores, np.stack(visible)


def mmpose_dark(x: np.ndarray, y: np.ndarray, taps: tuple[int, int]) -> list[np.ndarray]:
    """mmpose's refine_simcc_dark: OpenCV's blur on every row, then the Newton step per person."""
    import cv2

    refined = []
    for axis, kernel in zip((x, y), taps, strict=True):
        border, bins = (kernel - 1) // 2, axis.shape[-1]
        blurred = axis.copy()
        for n, k in np.ndindex(axis.shape[:2]):
            peak = blurred[n, k].max()
            padded = np.zeros((1, bins + 2 * border), np.float32)
            padded[0, border:-border] = blurred[n, k]
            blurred[n, k] = cv2.GaussianBlur(padded, (kernel, 1), 0)[0, border:-border]
            blurred[n, k] *= peak / blurred[n, k].max()
        log = np.pad(np.log(np.clip(blurred, 1e-3, 50)), ((0, 0), (0, 0), (2, 2)), "edge")
        places = axis.argmax(-1).astype(np.float32)
        for n, person in enumerate(log):
            at = (places[n] + 2.5).astype(np.int64)[:, None]
            around = [np.take_along_axis(person, at + step, 1)[:, 0] for step in (-2, -1, 0, 1, 2)]
            slope = 0.5 * (around[3] - around[1])
            places[n] -= slope / (1e-9 + 0.25 * (around[4] - 2 * around[2] + around[0]))
        refined.append(places)
    return refined


def all_rows(args) -> list[Row]:
    if args.device == "cuda":
        return on_gpu(args)
    return [row for size, n in product(sizes(args), (1, 8, 32)) for row in on_cpu(size, n, args)]


def main() -> None:
    args = options(__doc__ or "")
    report("simcc_decode", all_rows(args), args)


def on_cpu(size: str, n: int, args) -> list[Row]:
    x, y = logits(n, size)
    out = np.empty((n, x.shape[1], 2), np.float32), np.empty((n, x.shape[1]), np.float32)
    np.testing.assert_array_equal(ops.simcc_decode(x, y)[0], vectorized(x, y)[0])
    rows = compare(
        f"decode {size} N={n}",
        {
            "numpy per person": lambda: person_by_person(x, y),
            "numpy vectorized": lambda: vectorized(x, y),
            **torch_decode(x, y),
            **plain_maximum(x, y),
            "edgepose": lambda: ops.simcc_decode(x, y, out=out),
        },
        args,
    )
    soft = {"score": "softmax", "beta": 10.0, "sigma": SIGMA[size]}
    rows += compare(
        f"calibrated scores {size} N={n}",
        {
            "mmpose's visibility": lambda: mmpose_visibility(x, y, SIGMA[size]),
            "numpy": lambda: softmax_scores(x, y, 10.0),
            "edgepose": lambda: ops.simcc_decode(x, y, **soft, out=out),
        },
        args,
    )
    rows += compare(
        f"entropy scores {size} N={n}",
        {
            "numpy": lambda: entropy_scores(x, y, 10.0),
            "edgepose": lambda: ops.simcc_decode(x, y, **soft | {"score": "entropy"}, out=out),
        },
        args,
    )
    hx, hy = x.astype(np.float16), y.astype(np.float16)
    rows += compare(
        f"float16 {size} N={n}",
        {"numpy": lambda: vectorized(hx, hy), "edgepose": lambda: ops.simcc_decode(hx, hy, out=out)},
        args,
    )
    if n == 1:
        taps = tuple(len(ops.reference.dark_kernel(s)) for s in SIGMA[size])
        rows += compare(
            f"DARK {size} N={n}",
            {
                "mmpose's way": lambda: mmpose_dark(x, y, (taps[0], taps[1])),
                "edgepose": lambda: ops.simcc_decode(x, y, refine="dark", sigma=SIGMA[size], out=out),
            },
            args,
        )
    return rows


def torch_decode(x: np.ndarray, y: np.ndarray) -> dict[str, Work]:
    try:
        import torch
    except ImportError:
        return {}
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)

    def decode() -> tuple[torch.Tensor, torch.Tensor]:
        (vx, ix), (vy, iy) = tx.max(-1), ty.max(-1)
        return torch.stack([ix, iy], -1) / 2, torch.minimum(vx, vy)

    return {"torch": decode}


def on_gpu(args) -> list[Row]:
    numbers = (1, 8) if args.quick else (1, 256, 2048)
    return [row for size, n in product(sizes(args), numbers) for row in one_on_gpu(size, n, args)]


def one_on_gpu(size: str, n: int, args) -> list[Row]:
    """Many people: bandwidth, against a copy of as many bytes. One person: the cost of a call among 1,000 in a row."""
    import torch
    from bandwidth import copy_of, size_of

    import edgepose.torch as et

    x, y = (torch.randn(n, K, bins, device=args.device) for bins in SIZES[size])
    out = torch.empty(n, K, 2, device=args.device), torch.empty(n, K, device=args.device)

    def eager() -> tuple[torch.Tensor, torch.Tensor]:
        (vx, ix), (vy, iy) = x.max(-1), y.max(-1)
        return torch.stack([ix, iy], -1) / 2, torch.minimum(vx, vy)

    def through_torch() -> None:
        et.simcc_decode(x, y, out=out)

    for got, expected in zip(ops.simcc_decode(x, y, out=out), eager(), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=0)
    replay = {}
    if args.device == "cuda":
        graph = torch.cuda.CUDAGraph()
        through_torch()
        with torch.cuda.graph(graph):
            through_torch()
        replay = {"graph replay": graph.replay}
    ours = {"edgepose.torch": through_torch, **replay, "edgepose.ops": lambda: ops.simcc_decode(x, y, out=out)}
    if n == 1:
        return compare(f"decode {size} N=1", {"torch": eager, **ours}, args, ours=len(ours), calls=1000)
    moved = size_of(x, y, *out)
    baselines = {**copy_of(moved, args), "torch": eager}
    return compare(f"decode {size} N={n}", {**baselines, **ours}, args, ours=len(ours), moved=moved)


if __name__ == "__main__":
    main()
