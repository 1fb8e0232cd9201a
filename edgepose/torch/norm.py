"""Batch norm and SiLU in one, for tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import _C
from ._library import LIB, define, no_gradient, plain

Three = tuple[Tensor, Tensor, Tensor]


def _outputs(x: Tensor, *_: Any) -> Three:
    channels = x.shape[-1:]
    mean, var = (x.new_empty(channels, dtype=torch.float32) for _ in range(2))
    return x.new_empty(x.shape), mean, var


def _forward(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Three:
    outputs = _outputs(x)
    _C.batch_norm_silu(plain(x), plain(weight), plain(bias), eps, outputs)
    return outputs


def _grad(x: Tensor, grad: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> Three:
    outputs = _outputs(x)
    channels = plain(weight), plain(bias), plain(mean), plain(var)
    _C.batch_norm_silu_grad(plain(x), plain(grad), *channels, eps, outputs)
    return outputs


_batch_norm_silu_grad = define(
    "batch_norm_silu_grad(Tensor x, Tensor grad, Tensor weight, Tensor bias, Tensor mean, Tensor var, float eps)"
    " -> (Tensor, Tensor, Tensor)",
    _grad,
    _outputs,
)
torch.library.register_autograd(
    "edgepose::batch_norm_silu_grad",
    no_gradient("batch_norm_silu: has a first derivative only; call backward without create_graph"),
    lib=LIB,
)
_batch_norm_silu = define(
    "batch_norm_silu(Tensor x, Tensor weight, Tensor bias, float eps) -> (Tensor, Tensor, Tensor)", _forward, _outputs
)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Three) -> None:
    *tensors, ctx.eps = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, *output[1:])


def _backward(ctx: Any, upstream: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if upstream is None:
        return (None,) * 4
    x, *rest = ctx.saved_tensors
    return *_batch_norm_silu_grad(x, upstream.contiguous(), *rest, ctx.eps), None


torch.library.register_autograd("edgepose::batch_norm_silu", _backward, setup_context=_setup, lib=LIB)


def batch_norm_silu(
    x: Tensor,  # [M, C] float32, float16 or bfloat16
    weight: Tensor,  # [C] float32
    bias: Tensor,  # [C] float32
    *,
    eps: float = 1e-5,
) -> Three:
    """y [M, C], mean and var [C] float32: see `edgepose.ops.batch_norm_silu`.

    y is differentiable once in `x`, `weight` and `bias`; the backward pass computes y's inner values again, so nothing
    but `x` is kept for it. The statistics are constants.
    """
    y, mean, var = _batch_norm_silu(x, weight, bias, eps)
    return y, mean, var


def batch_norm_silu_grad(
    x: Tensor,  # [M, C] float32, float16 or bfloat16
    grad: Tensor,  # [M, C] of the dtype of x
    weight: Tensor,  # [C] float32
    bias: Tensor,  # [C] float32
    mean: Tensor,  # [C] float32
    var: Tensor,  # [C] float32
    *,
    eps: float = 1e-5,
) -> Three:
    """The gradients in x, weight and bias: see `edgepose.ops.batch_norm_silu_grad`. Not differentiable."""
    grad_x, grad_weight, grad_bias = _batch_norm_silu_grad(x, grad, weight, bias, mean, var, eps)
    return grad_x, grad_weight, grad_bias
