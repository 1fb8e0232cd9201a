"""Registration of operators, and what their kernels and gradients share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

LIB = torch.library.Library("edgepose", "DEF")


def define(schema: str, kernel: Callable[..., Any], fake: Callable[..., Any]) -> Callable[..., Any]:
    """Register one operator and return its callable. One kernel serves both devices: arrays know where they are."""
    name = schema.partition("(")[0]
    LIB.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    for key in ("CPU", "CUDA"):
        LIB.impl(name, without_tangents(name, kernel), key)
    torch.library.register_fake(f"edgepose::{name}", without_tangents(name, fake, traced=True), lib=LIB)
    return without_tangents(name, getattr(torch.ops.edgepose, name).default)


def without_tangents(name: str, function: Callable[..., Any], traced: bool = False) -> Callable[..., Any]:
    """`function`, refusing what forward-mode differentiation sends in: its results would pass for constants.

    It stands before the operator, where torch.func's tensors are still whole, and before the kernel, which compiled
    code calls by itself. A tracer's tensors do not tell their tangents: there any forward mode is refused.
    """

    def guarded(*args: Any) -> Any:
        if not torch.compiler.is_compiling() and _in_functional_grad():
            raise NotImplementedError(
                f"{name}: has no derivative under torch.func (grad, vjp, jacrev); use backward() or torch.autograd.grad"
            )
        if forward_ad._current_level >= 0 and (traced or torch.compiler.is_compiling() or any(tangents(args))):
            raise NotImplementedError(
                f"{name}: has no forward-mode derivative (jvp, jacfwd); use backward(), or pass detached tensors"
            )
        return function(*args)

    return guarded


def _in_functional_grad() -> bool:
    """Whether torch.func differentiates what runs. It cannot see the derivative that is registered with autograd."""
    level = torch._C._functorch.peek_interpreter_stack()
    return level is not None and level.key() == torch._C._functorch.TransformType.Grad


def tangents(values: tuple[Any, ...]) -> Iterator[bool]:
    """Which of the tensors carry one. A generator: torch.compile, which fails on dual tensors, does not trace it."""
    for value in values:
        if isinstance(value, Tensor):
            yield forward_ad.unpack_dual(value).tangent is not None


def extent(size: float) -> int:
    """A length for an output. Of sizes that no array has the kernel complains, in its own words."""
    return int(size) if 0 <= size <= 2**30 else 0


def pair(op: str, name: str, values: Any) -> Any:
    if len(values) != 2:
        raise TypeError(f"{op}: {name} expected two numbers (x, y), got {values}")
    return values


def plain(tensor: Tensor | None) -> Tensor | None:
    """Kernels refuse tensors that record gradients; below autograd, where operators run, that mark means nothing."""
    return tensor.detach() if tensor is not None and tensor.requires_grad else tensor


def no_gradient(message: str) -> Callable[..., None]:
    """The backward of an operator that has none: better an error than a gradient that is silently missing."""

    def backward(*_: Any) -> None:
        raise RuntimeError(message)

    return backward


def keep_gradients(ctx: Any, *grads: Tensor) -> None:
    """For the backward: the gradients that the forward pass has computed beside the loss, outputs to no one else."""
    ctx.mark_non_differentiable(*grads)
    ctx.set_materialize_grads(False)  # else autograd fills a tensor of zeros as large as each of them
    ctx.save_for_backward(*grads)


def chain(op: str, grad: Tensor, upstream: Tensor | None) -> Tensor | None:
    """The gradient [N, K, …] that the forward pass has left, times that of the loss [N, K]; None where that is none."""
    if upstream is None:
        return None
    if torch.is_grad_enabled():  # create_graph=True; what comes out of here would pass for a constant
        raise RuntimeError(f"{op}: has a first derivative only; call backward without create_graph")
    # A plain sum, the common end of a loss, scales nothing: reading [N, K] values saves a pass over the gradient.
    # On a GPU looking costs more than it saves; tensors of a tracer, of other types, and of vmap have no values to see.
    batched = torch._C._functorch.is_batchedtensor(upstream) or torch._C._functorch.is_legacy_batchedtensor(upstream)
    if type(upstream) is Tensor and not batched and upstream.device.type == "cpu" and bool((upstream == 1).all()):
        return grad
    # The loss may be scaled beyond float16 (torch's GradScaler begins at 65,536): the product is float32's.
    return (grad * upstream[(...,) + (None,) * (grad.ndim - 2)]).to(grad.dtype)
