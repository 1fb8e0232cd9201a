"""Decoding, labels and divergences of SimCC for tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import _C
from ._library import LIB, chain, define, extent, keep_gradients, no_gradient, pair, plain


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
    refine: str,
    flipped_x: Tensor | None,
    flipped_y: Tensor | None,
    swap: Tensor | None,
    flip_shift: str,
    keypoints: Tensor,
    scores: Tensor,
) -> None:
    x, y, place, out = plain(simcc_x), plain(simcc_y), plain(affine), (plain(keypoints), plain(scores))
    flipped = None if swap is None else (plain(flipped_x), plain(flipped_y), swap)
    _C.simcc_decode(x, y, split_ratio, score, beta, sigma, refine, place, flipped, flip_shift, out)


def _decode(simcc_x: Tensor, simcc_y: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    if simcc_x.ndim != 3:
        raise ValueError(f"simcc_decode: simcc_x expected shape [N, K, Wx], got {list(simcc_x.shape)}")
    keypoints, scores = _decode_outputs(simcc_x)
    _decode_into(simcc_x, simcc_y, *rest, keypoints, scores)  # type: ignore[call-arg]  # `rest` is the schema's
    return keypoints, scores


_INPUTS = (
    "Tensor simcc_x, Tensor simcc_y, Tensor? affine, float split_ratio, str score, float? beta, float[]? sigma, "
    "str refine, Tensor? flipped_x, Tensor? flipped_y, Tensor? swap, str flip_shift"
)
_simcc_decode = define(
    f"simcc_decode({_INPUTS}) -> (Tensor, Tensor)", _decode, lambda simcc_x, *_: _decode_outputs(simcc_x)
)
_simcc_decode_out = define(
    f"simcc_decode_out({_INPUTS}, Tensor(a!) keypoints, Tensor(b!) scores) -> ()", _decode_into, lambda *_: None
)
torch.library.register_autograd(
    "edgepose::simcc_decode",
    no_gradient("simcc_decode: an argmax has no gradient; call it on detached logits or under torch.no_grad()"),
    lib=LIB,
)


def simcc_decode(
    simcc_x: Tensor,  # [N, K, Wx] float32, float16 or bfloat16
    simcc_y: Tensor,  # [N, K, Wy]
    *,
    split_ratio: float = 2.0,
    score: str = "min",
    beta: float | None = None,
    sigma: tuple[float, float] | None = None,
    refine: str = "none",
    affine: Tensor | None = None,  # [N, 2, 3] float32 or float64
    flipped: tuple[Tensor, Tensor, Tensor] | None = None,  # [N, K, Wx], [N, K, Wy], [K] int64
    flip_shift: str = "exact",
    out: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Keypoints [N, K, 2] and scores [N, K], float32, from SimCC logits: see `edgepose.ops.simcc_decode`.

    Not differentiable: a backward pass that reaches it raises RuntimeError, and so does `out` where one is asked for.
    """
    if flipped is not None and len(flipped) != 3:
        raise TypeError(f"simcc_decode: flipped expected (flipped_x, flipped_y, swap), got {len(flipped)} of them")
    mirrored = (None, None, None) if flipped is None else flipped
    args = (simcc_x, simcc_y, affine, split_ratio, score, beta, sigma, refine, *mirrored, flip_shift)
    if out is None:
        keypoints, scores = _simcc_decode(*args)
        return keypoints, scores
    if len(out) != 2:
        raise TypeError(f"simcc_decode: out expected (keypoints, scores), got {len(out)} of them")
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (simcc_x, simcc_y, *out)):
        raise RuntimeError(
            "simcc_decode: out= records no gradient; call it on detached logits or under torch.no_grad()"
        )
    _simcc_decode_out(*args, *out)
    return out


def _encode_outputs(
    keypoints: Tensor, _visible: Tensor, input_size: list[float], split_ratio: float, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    n, k = keypoints.shape[:2]
    wx, wy = (extent(size * split_ratio) for size in pair("simcc_encode", "input_size", input_size))
    shapes = (n, k, wx), (n, k, wy), (n, k)
    dtypes = rest[-1], rest[-1], torch.float32
    x, y, weight = (keypoints.new_empty(shape, dtype=dtype) for shape, dtype in zip(shapes, dtypes, strict=True))
    return x, y, weight


def _encode(
    keypoints: Tensor,
    visible: Tensor,
    input_size: list[float],
    split_ratio: float,
    sigma: list[float] | None,
    kind: str,
    center: str,
    normalize: bool,
    smoothing: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    if keypoints.ndim != 3:
        raise ValueError(f"simcc_encode: keypoints expected shape [N, K, 2], got {list(keypoints.shape)}")
    points, shown = plain(keypoints), plain(visible)
    outputs = _encode_outputs(keypoints, visible, input_size, split_ratio, dtype)
    _C.simcc_encode(points, shown, input_size, split_ratio, sigma, kind, center, normalize, smoothing, outputs)
    return outputs


_simcc_encode = define(
    "simcc_encode(Tensor keypoints, Tensor visible, float[] input_size, float split_ratio, float[]? sigma, str kind, "
    "str center, bool normalize, float smoothing, ScalarType dtype) -> (Tensor, Tensor, Tensor)",
    _encode,
    _encode_outputs,
)
torch.library.register_autograd(
    "edgepose::simcc_encode",
    no_gradient("simcc_encode: labels are targets and have no gradient; pass detached keypoints"),
    lib=LIB,
)


def simcc_encode(
    keypoints: Tensor,  # [N, K, 2] float32 or float64, pixels of the crop
    visible: Tensor,  # [N, K] float32 or float64
    *,
    input_size: tuple[float, float],
    split_ratio: float = 2.0,
    sigma: tuple[float, float] | None = None,
    kind: str = "gaussian",
    center: str = "round",
    normalize: bool = False,
    smoothing: float = 0.1,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor, Tensor]:
    """simcc_x [N, K, Wx] and simcc_y [N, K, Wy], float32, float16 or bfloat16, and target_weight [N, K] float32.

    See `edgepose.ops.simcc_encode`.
    """
    options = kind, center, normalize, smoothing, dtype
    x, y, weight = _simcc_encode(keypoints, visible, input_size, split_ratio, sigma, *options)
    return x, y, weight


def _kl_outputs(student: Tensor, want_grad: bool) -> tuple[Tensor, Tensor]:
    loss = student.new_empty(student.shape[:2], dtype=torch.float32)
    return loss, student.new_empty(student.shape if want_grad else (0, 0, 0))


def _kl_div(
    student: Tensor, target: Tensor, weight: Tensor | None, beta: float, target_beta: float | None, want_grad: bool
) -> tuple[Tensor, Tensor]:
    if student.ndim != 3:
        raise ValueError(f"simcc_kl_div: student expected shape [N, K, B], got {list(student.shape)}")
    loss, grad = _kl_outputs(student, want_grad)
    out = grad if want_grad else None
    _C.simcc_kl_div(plain(student), plain(target), beta, target_beta, plain(weight), loss, out)
    return loss, grad


def _kl_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    if inputs[1].requires_grad or (inputs[2] is not None and inputs[2].requires_grad):
        raise ValueError("simcc_kl_div: target and weight expected without requires_grad, got one with it; detach() it")
    keep_gradients(ctx, output[1])


def _kl_backward(ctx: Any, upstream: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    return (chain("simcc_kl_div", ctx.saved_tensors[0], upstream),) + (None,) * 5


_simcc_kl_div = define(
    "simcc_kl_div(Tensor student, Tensor target, Tensor? weight, float beta, float? target_beta, bool want_grad)"
    " -> (Tensor, Tensor)",
    _kl_div,
    lambda student, *rest: _kl_outputs(student, want_grad=rest[-1]),
)
torch.library.register_autograd("edgepose::simcc_kl_div", _kl_backward, setup_context=_kl_setup, lib=LIB)


def simcc_kl_div(
    student: Tensor,  # [N, K, B] float32, float16 or bfloat16
    target: Tensor,  # [N, K, B]
    *,
    beta: float = 1.0,
    target_beta: float | None = None,
    weight: Tensor | None = None,  # [N, K] float32
) -> Tensor:
    """weight · KL(p ‖ softmax(beta · student)), [N, K] float32, differentiable once in `student`.

    The gradient is computed in the same pass over the logits. `target` and `weight` are constants: ValueError if they
    require gradients. See `edgepose.ops.simcc_kl_div`.
    """
    want_grad = student.requires_grad and torch.is_grad_enabled()
    loss: Tensor = _simcc_kl_div(student, target, weight, beta, target_beta, want_grad)[0]
    return loss


def _gaussian_kl_outputs(simcc_x: Tensor, simcc_y: Tensor, want_grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    loss = simcc_x.new_empty(simcc_x.shape[:2], dtype=torch.float32)
    grad_x, grad_y = (axis.new_empty(axis.shape if want_grad else (0, 0, 0)) for axis in (simcc_x, simcc_y))
    return loss, grad_x, grad_y


def _gaussian_kl(
    simcc_x: Tensor,
    simcc_y: Tensor,
    keypoints: Tensor,
    visible: Tensor,
    split_ratio: float,
    sigma: list[float],
    center: str,
    normalize: bool,
    beta: float,
    target_beta: float | None,
    bin_mean: bool,
    want_grad: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    if simcc_x.ndim != 3:
        raise ValueError(f"simcc_gaussian_kl_div: simcc_x expected shape [N, K, Wx], got {list(simcc_x.shape)}")
    x, y, points, shown = plain(simcc_x), plain(simcc_y), plain(keypoints), plain(visible)
    loss, *grads = _gaussian_kl_outputs(simcc_x, simcc_y, want_grad)
    out = (grads[0], grads[1]) if want_grad else None
    _C.simcc_gaussian_kl_div(
        x, y, points, shown, split_ratio, sigma, center, normalize, beta, target_beta, bin_mean, loss, out
    )
    return loss, grads[0], grads[1]


def _gaussian_kl_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    if inputs[2].requires_grad or inputs[3].requires_grad:
        raise ValueError(
            "simcc_gaussian_kl_div: keypoints and visible expected without requires_grad, got one with it; detach() it"
        )
    keep_gradients(ctx, output[1], output[2])


def _gaussian_kl_backward(ctx: Any, upstream: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    grads = (chain("simcc_gaussian_kl_div", grad, upstream) for grad in ctx.saved_tensors)
    wanted = ctx.needs_input_grad
    return *(grad if wanted[i] else None for i, grad in enumerate(grads)), *(None,) * 10


_simcc_gaussian_kl_div = define(
    "simcc_gaussian_kl_div(Tensor simcc_x, Tensor simcc_y, Tensor keypoints, Tensor visible, float split_ratio, "
    "float[] sigma, str center, bool normalize, float beta, float? target_beta, bool bin_mean, bool want_grad)"
    " -> (Tensor, Tensor, Tensor)",
    _gaussian_kl,
    lambda simcc_x, simcc_y, *rest: _gaussian_kl_outputs(simcc_x, simcc_y, want_grad=rest[-1]),
)
torch.library.register_autograd(
    "edgepose::simcc_gaussian_kl_div", _gaussian_kl_backward, setup_context=_gaussian_kl_setup, lib=LIB
)


def simcc_gaussian_kl_div(
    simcc_x: Tensor,  # [N, K, Wx] float32, float16 or bfloat16
    simcc_y: Tensor,  # [N, K, Wy]
    keypoints: Tensor,  # [N, K, 2] float32 or float64, pixels of the crop
    visible: Tensor,  # [N, K] float32 or float64
    *,
    sigma: tuple[float, float],
    split_ratio: float = 2.0,
    center: str = "round",
    normalize: bool = False,
    beta: float = 1.0,
    target_beta: float | None = None,
    bin_mean: bool = False,
) -> Tensor:
    """target_weight · divergence to Gaussian labels, [N, K] float32, differentiable once in the logits.

    No label tensor is made. See `edgepose.ops.simcc_gaussian_kl_div`.
    """
    want_grad = (simcc_x.requires_grad or simcc_y.requires_grad) and torch.is_grad_enabled()
    options = split_ratio, sigma, center, normalize, beta, target_beta, bin_mean
    loss: Tensor = _simcc_gaussian_kl_div(simcc_x, simcc_y, keypoints, visible, *options, want_grad)[0]
    return loss
