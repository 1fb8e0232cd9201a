"""Registration of operators, and what their kernels and gradients share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

LIB = torch.library.Library("edgepose", "DEF")  # type: ignore[no-untyped-call]


def define(schema: str, kernel: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    """Register one operator and return what is called. Its kernel serves both devices: arrays say where they are."""
    name = schema.partition("(")[0]
    LIB.define(schema, tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]
    for key in ("CPU", "CUDA"):
        LIB.impl(name, kernel, key)  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"edgepose::{name}", fake, lib=LIB)
    return getattr(torch.ops.edgepose, name).default


def plain(tensor: Tensor | None) -> Tensor | None:
    """Kernels refuse tensors that record gradients; below autograd, where operators run, that mark means nothing."""
    return tensor.detach() if tensor is not None and tensor.requires_grad else tensor


def no_gradient(message: str) -> Callable[..., None]:
    """The backward of an operator that has none: better an error than a gradient that is silently missing."""

    def backward(*_: Any) -> None:
        raise RuntimeError(message)

    return backward


def chain(op: str, grad: Tensor, upstream: Tensor) -> Tensor:
    """The gradient [N, K, B] that the forward pass has left, times that of the loss [N, K]."""
    if torch.is_grad_enabled():  # create_graph=True; what comes out of here would pass for a constant
        raise RuntimeError(f"{op}: has a first derivative only; call backward without create_graph")
    # A plain sum, the common end of a loss, scales nothing: a look at [N, K] values saves a pass over [N, K, B]. On a
    # GPU looking costs more than it saves, and a tracer's tensors, which are of other types, have no values to look at.
    plain_sum = type(upstream) is Tensor and upstream.device.type == "cpu" and bool((upstream == 1).all())
    return grad if plain_sum else grad * upstream.unsqueeze(-1).to(grad.dtype)
