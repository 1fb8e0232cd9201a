"""The ops of `edgepose.ops` for torch tensors: `torch.library` operators with fake kernels, on the CPU and on CUDA.

They trace through `torch.compile` without graph breaks, run on the current stream and can be captured in a CUDA graph.
Names, arguments, shapes and errors are those of `edgepose.ops`. The only module of edgepose that imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from . import _C

__all__ = ["crop_normalize", "simcc_decode", "simcc_encode", "simcc_gaussian_kl_div", "simcc_kl_div"]

_LIB = torch.library.Library("edgepose", "DEF")  # type: ignore[no-untyped-call]


def _define(schema: str, kernel: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    """Register one operator and return what is called. Its kernel serves both devices: arrays say where they are."""
    name = schema.partition("(")[0]
    _LIB.define(schema, tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]
    for key in ("CPU", "CUDA"):
        _LIB.impl(name, kernel, key)  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"edgepose::{name}", fake, lib=_LIB)
    return getattr(torch.ops.edgepose, name).default


def _plain(tensor: Tensor | None) -> Tensor | None:
    """Kernels refuse tensors that record gradients; below autograd, where operators run, that mark means nothing."""
    return tensor.detach() if tensor is not None and tensor.requires_grad else tensor


def _no_gradient(message: str) -> Callable[..., None]:
    """The backward of an operator that has none: better an error than a gradient that is silently missing."""

    def backward(*_: Any) -> None:
        raise RuntimeError(message)

    return backward


# ---- crop_normalize ----


def _crop_outputs(frame: Tensor, affine: Tensor, input_size: list[int], *_: Any) -> Tensor:
    return frame.new_empty((affine.shape[0], 3, input_size[1], input_size[0]), dtype=torch.float32)


def _crop(
    frame: Tensor, affine: Tensor, input_size: list[int], mean: list[float], std: list[float], channel_order: str
) -> Tensor:
    out = _crop_outputs(frame, affine, input_size)
    _C.crop_normalize(frame, _plain(affine), input_size, mean, std, channel_order, out)
    return out


_crop_normalize = _define(
    "crop_normalize(Tensor frame, Tensor affine, int[] input_size, float[] mean, float[] std, str channel_order)"
    " -> Tensor",
    _crop,
    _crop_outputs,
)
torch.library.register_autograd(
    "edgepose::crop_normalize",
    _no_gradient("crop_normalize: has no gradient for the affine; pass it detached"),
    lib=_LIB,
)


def crop_normalize(
    frame: Tensor,  # [H, W, 3] uint8, BGR
    affine: Tensor,  # [N, 2, 3] float32 or float64, frame → crop
    *,
    input_size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    channel_order: str = "rgb",
) -> Tensor:
    """Crops [N, 3, h, w] float32 as the network wants them: see `edgepose.ops.crop_normalize`."""
    crops: Tensor = _crop_normalize(frame, affine, input_size, mean, std, channel_order)
    return crops


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
    refine: str,
    flipped_x: Tensor | None,
    flipped_y: Tensor | None,
    swap: Tensor | None,
    flip_shift: str,
    keypoints: Tensor,
    scores: Tensor,
) -> None:
    x, y, place, out = _plain(simcc_x), _plain(simcc_y), _plain(affine), (_plain(keypoints), _plain(scores))
    flipped = None if swap is None else (_plain(flipped_x), _plain(flipped_y), swap)
    _C.simcc_decode(x, y, split_ratio, score, beta, sigma, refine, place, flipped, flip_shift, out)


def _decode(simcc_x: Tensor, simcc_y: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    if simcc_x.ndim != 3:
        raise ValueError(f"simcc_decode: simcc_x expected shape [N, K, Wx], got {list(simcc_x.shape)}")
    keypoints, scores = _decode_outputs(simcc_x)
    _decode_into(simcc_x, simcc_y, *rest, keypoints, scores)  # type: ignore[call-arg]
    return keypoints, scores


_INPUTS = (
    "Tensor simcc_x, Tensor simcc_y, Tensor? affine, float split_ratio, str score, float? beta, float[]? sigma, "
    "str refine, Tensor? flipped_x, Tensor? flipped_y, Tensor? swap, str flip_shift"
)
_simcc_decode = _define(
    f"simcc_decode({_INPUTS}) -> (Tensor, Tensor)", _decode, lambda simcc_x, *_: _decode_outputs(simcc_x)
)
_simcc_decode_out = _define(
    f"simcc_decode_out({_INPUTS}, Tensor(a!) keypoints, Tensor(b!) scores) -> ()", _decode_into, lambda *_: None
)
torch.library.register_autograd(
    "edgepose::simcc_decode",
    _no_gradient("simcc_decode: an argmax has no gradient; call it on detached logits or under torch.no_grad()"),
    lib=_LIB,
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

    Not differentiable: a backward pass that reaches it raises RuntimeError.
    """
    mirrored = (None, None, None) if flipped is None else flipped
    args = (simcc_x, simcc_y, affine, split_ratio, score, beta, sigma, refine, *mirrored, flip_shift)
    if out is None:
        keypoints, scores = _simcc_decode(*args)
        return keypoints, scores
    _simcc_decode_out(*args, *out)
    return out


# ---- simcc_encode ----


def _encode_outputs(
    keypoints: Tensor, _visible: Tensor, input_size: list[float], split_ratio: float, *_: Any
) -> tuple[Tensor, Tensor, Tensor]:
    n, k = keypoints.shape[:2]
    wx, wy = (int(size * split_ratio) for size in input_size)
    shapes = (n, k, wx), (n, k, wy), (n, k)
    x, y, weight = (keypoints.new_empty(shape, dtype=torch.float32) for shape in shapes)
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
) -> tuple[Tensor, Tensor, Tensor]:
    if keypoints.ndim != 3:
        raise ValueError(f"simcc_encode: keypoints expected shape [N, K, 2], got {list(keypoints.shape)}")
    points, shown, outputs = (
        _plain(keypoints),
        _plain(visible),
        _encode_outputs(keypoints, visible, input_size, split_ratio),
    )
    _C.simcc_encode(points, shown, input_size, split_ratio, sigma, kind, center, normalize, smoothing, outputs)
    return outputs


_simcc_encode = _define(
    "simcc_encode(Tensor keypoints, Tensor visible, float[] input_size, float split_ratio, float[]? sigma, str kind, "
    "str center, bool normalize, float smoothing) -> (Tensor, Tensor, Tensor)",
    _encode,
    _encode_outputs,
)
torch.library.register_autograd(
    "edgepose::simcc_encode",
    _no_gradient("simcc_encode: labels are targets and have no gradient; pass detached keypoints"),
    lib=_LIB,
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
) -> tuple[Tensor, Tensor, Tensor]:
    """simcc_x [N, K, Wx], simcc_y [N, K, Wy] and target_weight [N, K], float32: see `edgepose.ops.simcc_encode`."""
    x, y, weight = _simcc_encode(keypoints, visible, input_size, split_ratio, sigma, kind, center, normalize, smoothing)
    return x, y, weight


# ---- simcc_kl_div ----


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
    _C.simcc_kl_div(_plain(student), _plain(target), beta, target_beta, _plain(weight), loss, out)
    return loss, grad


def _kl_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    if inputs[1].requires_grad or (inputs[2] is not None and inputs[2].requires_grad):
        raise ValueError("simcc_kl_div: target and weight expected without requires_grad, got one with it; detach() it")
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1])


def _kl_backward(ctx: Any, upstream: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    return (_chain("simcc_kl_div", ctx.saved_tensors[0], upstream),) + (None,) * 5


def _chain(op: str, grad: Tensor, upstream: Tensor) -> Tensor:
    """The gradient [N, K, B] that the forward pass has left, times that of the loss [N, K]."""
    if torch.is_grad_enabled():  # create_graph=True; what comes out of here would pass for a constant
        raise RuntimeError(f"{op}: has a first derivative only; call backward without create_graph")
    # A plain sum, the common end of a loss, scales nothing: a look at [N, K] values saves a pass over [N, K, B]. On a
    # GPU looking costs more than it saves, and a tracer's tensors, which are of other types, have no values to look at.
    plain_sum = type(upstream) is Tensor and upstream.device.type == "cpu" and bool((upstream == 1).all())
    return grad if plain_sum else grad * upstream.unsqueeze(-1).to(grad.dtype)


_simcc_kl_div = _define(
    "simcc_kl_div(Tensor student, Tensor target, Tensor? weight, float beta, float? target_beta, bool want_grad)"
    " -> (Tensor, Tensor)",
    _kl_div,
    lambda student, *rest: _kl_outputs(student, want_grad=rest[-1]),
)
torch.library.register_autograd("edgepose::simcc_kl_div", _kl_backward, setup_context=_kl_setup, lib=_LIB)


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


# ---- simcc_gaussian_kl_div ----


def _gaussian_kl_outputs(simcc_x: Tensor, simcc_y: Tensor, want_grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    loss = simcc_x.new_empty(simcc_x.shape[:2], dtype=torch.float32)
    grads = (axis.new_empty(axis.shape if want_grad else (0, 0, 0)) for axis in (simcc_x, simcc_y))
    return loss, *grads  # type: ignore[return-value]


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
    x, y, points, shown = _plain(simcc_x), _plain(simcc_y), _plain(keypoints), _plain(visible)
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
    ctx.mark_non_differentiable(output[1], output[2])
    ctx.save_for_backward(output[1], output[2])


def _gaussian_kl_backward(ctx: Any, upstream: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    grads = (_chain("simcc_gaussian_kl_div", grad, upstream) for grad in ctx.saved_tensors)
    wanted = ctx.needs_input_grad
    return *(grad if wanted[i] else None for i, grad in enumerate(grads)), *(None,) * 10


_simcc_gaussian_kl_div = _define(
    "simcc_gaussian_kl_div(Tensor simcc_x, Tensor simcc_y, Tensor keypoints, Tensor visible, float split_ratio, "
    "float[] sigma, str center, bool normalize, float beta, float? target_beta, bool bin_mean, bool want_grad)"
    " -> (Tensor, Tensor, Tensor)",
    _gaussian_kl,
    lambda simcc_x, simcc_y, *rest: _gaussian_kl_outputs(simcc_x, simcc_y, want_grad=rest[-1]),
)
torch.library.register_autograd(
    "edgepose::simcc_gaussian_kl_div", _gaussian_kl_backward, setup_context=_gaussian_kl_setup, lib=_LIB
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
    loss: Tensor = _simcc_gaussian_kl_div(
        simcc_x,
        simcc_y,
        keypoints,
        visible,
        split_ratio,
        sigma,
        center,
        normalize,
        beta,
        target_beta,
        bin_mean,
        want_grad,
    )[0]
    return loss
