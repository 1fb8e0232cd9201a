"""Heat maps for tensors: labels, decoding, the mixed squared error."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import _C
from ._library import LIB, chain, define, extent, keep_gradients, no_gradient, pair, plain


def _encode_outputs(keypoints: Tensor, heatmap_size: list[int]) -> tuple[Tensor, Tensor]:
    n, k = keypoints.shape[:2]
    w, h = map(extent, pair("heatmap_encode", "heatmap_size", heatmap_size))
    maps = keypoints.new_empty((n, k, h, w), dtype=torch.float32)
    return maps, keypoints.new_empty((n, k), dtype=torch.float32)


def _encode(
    keypoints: Tensor, visible: Tensor, input_size: list[float], heatmap_size: list[int], sigma: float, center: str
) -> tuple[Tensor, Tensor]:
    if keypoints.ndim != 3:
        raise ValueError(f"heatmap_encode: keypoints expected shape [N, K, 2], got {list(keypoints.shape)}")
    outputs = _encode_outputs(keypoints, heatmap_size)
    _C.heatmap_encode(plain(keypoints), plain(visible), input_size, heatmap_size, sigma, center, outputs)
    return outputs


_heatmap_encode = define(
    "heatmap_encode(Tensor keypoints, Tensor visible, float[] input_size, int[] heatmap_size, float sigma, str center)"
    " -> (Tensor, Tensor)",
    _encode,
    lambda keypoints, visible, input_size, heatmap_size, *_: _encode_outputs(keypoints, heatmap_size),  # noqa: ARG005
)
torch.library.register_autograd(
    "edgepose::heatmap_encode",
    no_gradient("heatmap_encode: labels are targets and have no gradient; pass detached keypoints"),
    lib=LIB,
)


def heatmap_encode(
    keypoints: Tensor,  # [N, K, 2] float32 or float64, pixels of the crop
    visible: Tensor,  # [N, K] float32 or float64
    *,
    input_size: tuple[float, float],
    heatmap_size: tuple[int, int],
    sigma: float = 2.0,
    center: str = "round",
) -> tuple[Tensor, Tensor]:
    """heatmaps [N, K, h, w] and target_weight [N, K], float32: see `edgepose.ops.heatmap_encode`."""
    maps, weight = _heatmap_encode(keypoints, visible, input_size, heatmap_size, sigma, center)
    return maps, weight


# ---- heatmap_decode ----


def _decode_outputs(heatmaps: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    n, k = heatmaps.shape[:2]
    return heatmaps.new_empty((n, k, 2), dtype=torch.float32), heatmaps.new_empty((n, k), dtype=torch.float32)


def _decode(
    heatmaps: Tensor, affine: Tensor | None, input_size: list[float], refine: str, blur: int
) -> tuple[Tensor, Tensor]:
    if heatmaps.ndim != 4:
        raise ValueError(f"heatmap_decode: heatmaps expected shape [N, K, h, w], got {list(heatmaps.shape)}")
    outputs = _decode_outputs(heatmaps)
    _C.heatmap_decode(plain(heatmaps), input_size, refine, blur, plain(affine), outputs)
    return outputs


_heatmap_decode = define(
    "heatmap_decode(Tensor heatmaps, Tensor? affine, float[] input_size, str refine, int blur) -> (Tensor, Tensor)",
    _decode,
    _decode_outputs,
)
torch.library.register_autograd(
    "edgepose::heatmap_decode",
    no_gradient("heatmap_decode: an argmax has no gradient; call it on detached maps or under torch.no_grad()"),
    lib=LIB,
)


def heatmap_decode(
    heatmaps: Tensor,  # [N, K, h, w] float32, float16 or bfloat16
    *,
    input_size: tuple[float, float],
    refine: str = "none",
    blur: int = 11,
    affine: Tensor | None = None,  # [N, 2, 3] float32 or float64
) -> tuple[Tensor, Tensor]:
    """Keypoints [N, K, 2] and scores [N, K], float32: see `edgepose.ops.heatmap_decode`. Not differentiable."""
    keypoints, scores = _heatmap_decode(heatmaps, affine, input_size, refine, blur)
    return keypoints, scores


# ---- heatmap_mse ----


def _mse_outputs(student: Tensor, want_grad: bool) -> tuple[Tensor, Tensor]:
    loss = student.new_empty(student.shape[:2], dtype=torch.float32)
    return loss, student.new_empty(student.shape if want_grad else (0, 0, 0, 0))


def _mse(
    student: Tensor,
    target: Tensor,
    teacher: Tensor | None,
    weight: Tensor | None,
    teacher_weight: Tensor | None,
    alpha: float,
    want_grad: bool,
) -> tuple[Tensor, Tensor]:
    if student.ndim != 4:
        raise ValueError(f"heatmap_mse: student expected shape [N, K, h, w], got {list(student.shape)}")
    maps, weights = (plain(student), plain(target), plain(teacher)), (plain(weight), plain(teacher_weight))
    loss, grad = _mse_outputs(student, want_grad)
    _C.heatmap_mse(*maps, alpha, *weights, loss, grad if want_grad else None)
    return loss, grad


def _mse_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    if any(constant is not None and constant.requires_grad for constant in inputs[1:5]):
        raise ValueError("heatmap_mse: all but student expected without requires_grad, got one with it; detach() it")
    keep_gradients(ctx, output[1])


def _mse_backward(ctx: Any, upstream: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    return (chain("heatmap_mse", ctx.saved_tensors[0], upstream),) + (None,) * 6


_heatmap_mse = define(
    "heatmap_mse(Tensor student, Tensor target, Tensor? teacher, Tensor? weight, Tensor? teacher_weight, float alpha, "
    "bool want_grad) -> (Tensor, Tensor)",
    _mse,
    lambda student, *rest: _mse_outputs(student, want_grad=rest[-1]),
)
torch.library.register_autograd("edgepose::heatmap_mse", _mse_backward, setup_context=_mse_setup, lib=LIB)


def heatmap_mse(
    student: Tensor,  # [N, K, h, w] float32, float16 or bfloat16
    target: Tensor,  # [N, K, h, w]
    teacher: Tensor | None = None,  # [N, K, h, w]
    *,
    alpha: float = 0.5,
    weight: Tensor | None = None,  # [N, K] float32
    teacher_weight: Tensor | None = None,  # [N, K] float32
) -> Tensor:
    """The mixed squared error [N, K] float32, differentiable once in `student`: see `edgepose.ops.heatmap_mse`."""
    want_grad = student.requires_grad and torch.is_grad_enabled()
    loss: Tensor = _heatmap_mse(student, target, teacher, weight, teacher_weight, alpha, want_grad)[0]
    return loss
