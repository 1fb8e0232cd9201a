"""The ops of `edgepose.ops` for torch tensors: `torch.library` operators with fake kernels, on the CPU and on CUDA.

They trace through `torch.compile` without graph breaks, run on the current stream and can be captured in a CUDA graph.
Names, arguments, shapes and errors are those of `edgepose.ops`. The only package of edgepose that imports torch.
"""

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
    "simcc_decode",
    "simcc_encode",
    "simcc_gaussian_kl_div",
    "simcc_kl_div",
]
