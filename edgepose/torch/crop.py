"""crop_normalize for tensors."""

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
