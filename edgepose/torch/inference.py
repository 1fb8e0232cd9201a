"""crop_normalize and simcc_decode for tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import _C
from ._library import LIB, define, extent, no_gradient, pair, plain


def _crop_outputs(frame: Tensor, affine: Tensor, input_size: list[int], *rest: Any) -> Tensor:
    w, h = map(extent, pair("crop_normalize", "input_size", input_size))
    return frame.new_empty((affine.shape[0], 3, h, w), dtype=rest[-1])


def _crop(
    frame: Tensor,
    affine: Tensor,
    input_size: list[int],
    mean: list[float],
    std: list[float],
    channel_order: str,
    dtype: torch.dtype,
) -> Tensor:
    if affine.ndim != 3:
        raise ValueError(f"crop_normalize: affine expected shape [N, 2, 3], got {list(affine.shape)}")
    out = _crop_outputs(frame, affine, input_size, dtype)
    _C.crop_normalize(frame, plain(affine), input_size, mean, std, channel_order, out)
    return out


_crop_normalize = define(
    "crop_normalize(Tensor frame, Tensor affine, int[] input_size, float[] mean, float[] std, str channel_order, "
    "ScalarType dtype) -> Tensor",
    _crop,
    _crop_outputs,
)
torch.library.register_autograd(
    "edgepose::crop_normalize",
    no_gradient("crop_normalize: has no gradient for the affine; pass it detached"),
    lib=LIB,
)


def crop_normalize(
    frame: Tensor,  # [H, W, 3] uint8, BGR
    affine: Tensor,  # [N, 2, 3] float32 or float64, frame → crop
    *,
    input_size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    channel_order: str = "rgb",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Crops [N, 3, h, w] as the network wants them, float32, float16 or bfloat16: see `edgepose.ops.crop_normalize`."""
    crops: Tensor = _crop_normalize(frame, affine, input_size, mean, std, channel_order, dtype)
    return crops


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
    _decode_into(simcc_x, simcc_y, *rest, keypoints, scores)  # type: ignore[call-arg]
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
