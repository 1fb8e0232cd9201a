"""Batch norm and SiLU by one kernel (`edgepose.torch.batch_norm_silu`) where training on a CPU can use it.

torch takes three passes forward and four backward, most of them slow ones in bfloat16; the kernel takes two and two,
and keeps nothing but the convolution's output for the way back.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import edgepose.torch


def fits(x: Tensor, bn: nn.Module, activate: nn.Module) -> bool:
    """Whether the kernel computes this: plain batch norm of the batch at hand, then SiLU, on channels-last maps.

    On a GPU torch's own are as good, and torch.compile joins them. Batch norms over several processes are others.
    """
    return (
        type(bn) is nn.BatchNorm2d
        and type(activate) is nn.SiLU
        and bn.training
        and x.device.type == "cpu"
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def batch_norm_silu(x: Tensor, bn: nn.BatchNorm2d) -> Tensor:
    """silu(bn(x)) of x [N, C, H, W] in training mode, running statistics included."""
    n, c, h, w = x.shape
    y, mean, var = edgepose.torch.batch_norm_silu(
        x.permute(0, 2, 3, 1).reshape(-1, c), bn.weight, bn.bias, eps=bn.eps
    )
    with torch.no_grad():
        count = n * h * w
        bn.running_mean.lerp_(mean, bn.momentum)
        bn.running_var.lerp_(var * (count / (count - 1)), bn.momentum)  # unbiased, as torch has it
        bn.num_batches_tracked += 1
    return y.view(n, h, w, c).permute(0, 3, 1, 2)
