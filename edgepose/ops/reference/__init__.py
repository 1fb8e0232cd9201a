"""The ops in plain numpy: what the kernels must compute. Short and readable first; nothing here is fast.

Same signatures as `edgepose.ops`. Decoders and labels are computed in float32 like the kernels; divergences and errors
in float64, so that the kernels' own errors can be measured against them.
"""

from .crop import crop_normalize
from .heatmap import heatmap_decode, heatmap_encode, heatmap_mse
from .norm import batch_norm_silu, batch_norm_silu_grad
from .simcc import dark_kernel, simcc_decode, simcc_encode, simcc_gaussian_kl_div, simcc_kl_div

__all__ = [
    "batch_norm_silu",
    "batch_norm_silu_grad",
    "crop_normalize",
    "dark_kernel",
    "heatmap_decode",
    "heatmap_encode",
    "heatmap_mse",
    "simcc_decode",
    "simcc_encode",
    "simcc_gaussian_kl_div",
    "simcc_kl_div",
]
