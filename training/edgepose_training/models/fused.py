"""Faster training steps of CSPNeXt on a CPU, with the same results.

Batch norm and SiLU by one kernel (`edgepose.torch.batch_norm_silu`): torch takes three passes forward and four
backward, most of them slow ones in bfloat16; the kernel takes two and two, and keeps nothing but the convolution's
output for the way back. Depth-wise convolutions: see `Depthwise`; means: see `mean`. On a GPU torch's own are as good,
and torch.compile joins them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import edgepose.torch


class Fusible(nn.Module):
    """A module that has a shorter way of training."""

    fused = False


def fuse(net: nn.Module) -> None:
    """Let every module of `net` that can take what is here, where it fits."""
    for module in net.modules():
        if isinstance(module, Fusible):
            module.fused = True


def fits(x: Tensor, bn: nn.Module, activate: nn.Module) -> bool:
    """Whether the kernel computes this: plain batch norm of the batch at hand, then SiLU, on channels-last maps.

    Batch norms over several processes are others, and so are those that average their statistics in other ways.
    """
    return (
        type(bn) is nn.BatchNorm2d
        and type(activate) is nn.SiLU
        and bn.training
        and bn.affine
        and bn.track_running_stats
        and bn.momentum is not None
        and bn.weight.dtype == torch.float32
        and x.device.type == "cpu"
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def batch_norm_silu(x: Tensor, bn: nn.BatchNorm2d) -> Tensor:
    """silu(bn(x)) of x [N, C, H, W] in training mode, running statistics included."""
    n, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(-1, c)
    y, mean, var = edgepose.torch.batch_norm_silu(rows, bn.weight, bn.bias, eps=bn.eps)
    assert bn.momentum is not None  # and the rest: see `fits`
    assert bn.running_mean is not None
    assert bn.running_var is not None
    assert bn.num_batches_tracked is not None
    with torch.no_grad():
        count = n * h * w
        bn.running_mean.lerp_(mean, bn.momentum)
        bn.running_var.lerp_(var * (count / (count - 1)), bn.momentum)  # unbiased, as torch has it
        bn.num_batches_tracked.add_(1)
    return y.view(n, h, w, c).permute(0, 3, 1, 2)


def mean(x: Tensor) -> Tensor:
    """The mean of every map of x [N, C, H, W], [N, C, 1, 1]. Taken over axes in the middle its gradient comes out
    channels last; else it comes channels first, and adding that to another one takes ten times as long."""
    return x.permute(0, 2, 3, 1).mean((1, 2))[:, :, None, None]


def convolution(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """conv(x); a depth-wise one under bfloat16 autocast on a CPU by `Depthwise`."""
    if (
        conv.groups == conv.in_channels > 1
        and x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    ):
        arguments = x.bfloat16(), conv.weight, conv.stride, conv.padding
        narrow: Tensor = Depthwise.apply(*arguments)  # type: ignore[no-untyped-call]  # torch's own
        return narrow
    y: Tensor = conv(x)
    return y


class Depthwise(torch.autograd.Function):
    """A depth-wise convolution in bfloat16 whose weight gradient is computed in float32: oneDNN's in bfloat16 takes
    more than twice as long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        # x [N, C, H, W] bfloat16, weight [C, 1, k, k] float32
        narrow = weight.bfloat16()
        ctx.save_for_backward(x, narrow)
        ctx.rule = stride, padding, (1, 1), False, (0, 0), len(weight)
        return torch.convolution(x, narrow, None, *ctx.rule)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradients = torch.ops.aten.convolution_backward
        in_x = in_weight = None
        if ctx.needs_input_grad[0]:
            in_x, *_ = gradients(grad, x, weight, None, *ctx.rule, (True, False, False))
        if ctx.needs_input_grad[1]:
            wide = (tensor.float() for tensor in (grad, x, weight))
            _, in_weight, _ = gradients(*wide, None, *ctx.rule, (False, True, False))
        return in_x, in_weight, None, None
