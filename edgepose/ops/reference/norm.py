"""Batch norm and SiLU in plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]
Three = tuple[Floats, Floats, Floats]


def batch_norm_silu(
    x: Floats,  # [M, C]
    weight: Floats,  # [C]
    bias: Floats,  # [C]
    *,
    eps: float = 1e-5,
    out: Three | None = None,
) -> Three:
    """In float64, and returned so unless `out` is given."""
    values = np.asarray(x).astype(np.float64)
    mean, var = values.mean(0), values.var(0)
    z = (values - mean) / np.sqrt(var + eps) * weight + bias
    return _into(out, (z * _sigmoid(z), mean, var))


def batch_norm_silu_grad(
    x: Floats,  # [M, C]
    grad: Floats,  # [M, C]
    weight: Floats,  # [C]
    bias: Floats,  # [C]
    mean: Floats,  # [C]
    var: Floats,  # [C]
    *,
    eps: float = 1e-5,
    out: Three | None = None,
) -> Three:
    """In float64, and returned so unless `out` is given."""
    values, upstream = (np.asarray(v).astype(np.float64) for v in (x, grad))
    scale = 1 / np.sqrt(np.asarray(var).astype(np.float64) + eps)
    normal = (values - mean) * scale
    z = normal * weight + bias
    s = _sigmoid(z)
    slope = upstream * s * (1 + z * (1 - s))
    in_weight, in_bias = (slope * normal).sum(0), slope.sum(0)
    in_x = weight * scale * (slope - (in_bias + normal * in_weight) / len(values))
    return _into(out, (in_x, in_weight, in_bias))


def _sigmoid(z: Floats) -> Floats:
    e = np.exp(-np.abs(z))
    result: Floats = np.where(z < 0, e, 1) / (1 + e)
    return result


def _into(out: Three | None, results: Three) -> Three:
    if out is None:
        return results
    for array, result in zip(out, results, strict=True):
        array[...] = result
    return out
