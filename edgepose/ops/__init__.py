"""Fused kernels of SimCC and heat maps, for numpy arrays and for any array that speaks DLPack (torch, cupy, jax, …).

Every function validates all of its arguments at once and raises ValueError (shapes, values) or TypeError (dtypes,
devices) as `<op>: <argument> <expected>, got <actual>`. Results of CPU arrays are numpy arrays; results of CUDA arrays
are made by the arrays' own framework, on its current stream. `edgepose.ops.reference` holds the same functions in plain
numpy: the specification.
"""

from __future__ import annotations

from . import reference
from .crop import crop_normalize
from .heatmap import heatmap_decode, heatmap_encode, heatmap_mse
from .norm import batch_norm_silu, batch_norm_silu_grad
from .simcc import simcc_decode, simcc_encode, simcc_gaussian_kl_div, simcc_kl_div

__all__ = [
    "batch_norm_silu",
    "batch_norm_silu_grad",
    "crop_normalize",
    "heatmap_decode",
    "heatmap_encode",
    "heatmap_mse",
    "reference",
    "simcc_decode",
    "simcc_encode",
    "simcc_gaussian_kl_div",
    "simcc_kl_div",
]
