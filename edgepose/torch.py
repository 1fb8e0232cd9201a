"""The ops of `edgepose.ops` for torch tensors: `torch.library` operators with fake kernels, on the CPU and on CUDA.

They trace through `torch.compile` without graph breaks, run on the current stream and can be captured in a CUDA graph.
Names, arguments, shapes and errors are those of `edgepose.ops`. The only module of edgepose that imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import _C

__all__ = ["simcc_decode"]

_LIB = torch.library.Library("edgepose", "DEF")


def _define(schema: str, kernel: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    """Register one operator and return what is called. Its kernel serves both devices: the arrays say where they are."""
    name = schema.partition("(")[0]
    _LIB.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    for key in ("CPU", "CUDA"):
        _LIB.impl(name, kernel, key)
    torch.library.register_fake(f"edgepose::{name}", fake, lib=_LIB)
    return getattr(torch.ops.edgepose, name).default


def _plain(tensor: Tensor | None) -> Tensor | None:
    """Kernels refuse tensors that record gradients; below autograd, where operators run, that mark means nothing."""
    return tensor.detach() if tensor is not None and tensor.requires_grad else tensor


# ---- simcc_decode ----


def _decode_outputs(simcc_x: Tensor) -> tuple[Tensor, Tensor]:
    n, k = simcc_x.shape[:2]
    return simcc_x.new_empty((n, k, 2), dtype=torch.float32), simcc_x.new_empty((n, k), dtype=torch.float32)


def _decode_into(
    simcc_x: Tensor,
    simcc_y: Tensor,
    affine: Tensor | None,
    split_ratio: float,
    score: str,
    beta: float | None,
    sigma: list[float] | None,
    keypoints: Tensor,
    scores: Tensor,
) -> None:
    out = _plain(keypoints), _plain(scores)
    _C.simcc_decode(_plain(simcc_x), _plain(simcc_y), split_ratio, score, beta, sigma, _plain(affine), out)


def _decode(simcc_x: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
    if simcc_x.ndim != 3:
        raise ValueError(f"simcc_decode: simcc_x expected shape [N, K, Wx], got {list(simcc_x.shape)}")
    outputs = _decode_outputs(simcc_x)
    _decode_into(simcc_x, *args, *outputs)
    return outputs


def _no_gradient(*_: Any) -> None:
    raise RuntimeError("simcc_decode: an argmax has no gradient; call it on detached logits or under torch.no_grad()")


_INPUTS = "Tensor simcc_x, Tensor simcc_y, Tensor? affine, float split_ratio, str score, float? beta, float[]? sigma"
_simcc_decode = _define(
    f"simcc_decode({_INPUTS}) -> (Tensor, Tensor)", _decode, lambda simcc_x, *_: _decode_outputs(simcc_x)
)
_simcc_decode_out = _define(
    f"simcc_decode_out({_INPUTS}, Tensor(a!) keypoints, Tensor(b!) scores) -> ()", _decode_into, lambda *_: None
)
torch.library.register_autograd("edgepose::simcc_decode", _no_gradient, lib=_LIB)


def simcc_decode(
    simcc_x: Tensor,  # [N, K, Wx] float32, float16 or bfloat16
    simcc_y: Tensor,  # [N, K, Wy]
    *,
    split_ratio: float = 2.0,
    score: str = "min",
    beta: float | None = None,
    sigma: tuple[float, float] | None = None,
    affine: Tensor | None = None,  # [N, 2, 3] float32 or float64
    out: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Keypoints [N, K, 2] and scores [N, K], float32, from SimCC logits: see `edgepose.ops.simcc_decode`.

    Not differentiable: a backward pass that reaches it raises RuntimeError.
    """
    args = (simcc_x, simcc_y, affine, split_ratio, score, beta, sigma)
    if out is None:
        keypoints, scores = _simcc_decode(*args)
        return keypoints, scores
    _simcc_decode_out(*args, *out)
    return out
