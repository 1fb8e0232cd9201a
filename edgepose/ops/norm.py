"""Batch norm and SiLU in one, and the gradient. Re-exported by `edgepose.ops`."""

from __future__ import annotations

from typing import Any

from .. import _C


def batch_norm_silu(
    x: Any,  # [M, C] float32, float16 or bfloat16
    weight: Any,  # [C] float32
    bias: Any,  # [C] float32
    *,
    eps: float = 1e-5,
    out: tuple[Any, Any, Any] | None = None,
) -> tuple[Any, Any, Any]:
    """silu(z) of z = (x − mean) / √(var + eps) · weight + bias, with the statistics of each channel over all rows.

    Args:
        x: M ≥ 2 rows without gaps: maps [N, H, W, C], channels last, are N·H·W of them.
        weight, bias: of every channel.
        eps: keeps a channel without variance finite.
        out: (y, mean, var) to write into; without it x must be float32.

    Returns:
        y [M, C] of the dtype of x; mean and var [C] float32 of this batch, var the mean square (running statistics
        take it times M / (M − 1)). The same bits whatever the number of threads.

    Source: torch.nn.BatchNorm2d in training mode, then torch.nn.SiLU.
    """
    return _C.batch_norm_silu(x, weight, bias, eps, out)


def batch_norm_silu_grad(
    x: Any,  # [M, C] float32, float16 or bfloat16
    grad: Any,  # [M, C] of the dtype of x
    weight: Any,  # [C] float32
    bias: Any,  # [C] float32
    mean: Any,  # [C] float32
    var: Any,  # [C] float32
    *,
    eps: float = 1e-5,
    out: tuple[Any, Any, Any] | None = None,
) -> tuple[Any, Any, Any]:
    """The gradient of `batch_norm_silu`, from its inputs, its statistics and the gradient in y.

    Args:
        x, weight, bias, eps: as they were.
        grad: ∂loss/∂y.
        mean, var: as `batch_norm_silu` returned them. That they depend on x is accounted for.
        out: (grad_x, grad_weight, grad_bias) to write into; without it x must be float32.

    Returns:
        ∂loss/∂x [M, C] of the dtype of x, ∂loss/∂weight and ∂loss/∂bias [C] float32.
    """
    return _C.batch_norm_silu_grad(x, grad, weight, bias, mean, var, eps, out)
