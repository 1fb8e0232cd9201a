"""From a camera's frame to the network's input. Re-exported by `edgepose.ops`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _C


def crop_normalize(
    frame: Any,  # [H, W, 3] uint8, BGR
    affine: Any,  # [N, 2, 3] float32 or float64, frame → crop
    *,
    input_size: tuple[int, int],
    mean: Sequence[float],  # [3]
    std: Sequence[float],  # [3]
    channel_order: str = "rgb",
    out: Any = None,  # [N, 3, h, w] float32, float16 or bfloat16
) -> Any:
    """Warp, color order, normalization and layout in one pass: all crops of one frame as one network input.

    Args:
        frame: pixels BGR as cameras and OpenCV give them; any stride between rows.
        affine: pixel indices of the frame → pixel indices of the crop, as `cv2.warpAffine` takes it.
        input_size: (w, h) of the crops.
        mean, std: on the scale 0 … 255, in the order of the output's channels.
        channel_order: "rgb" or "bgr": what the network was trained on.
        out: array to write into.

    Returns:
        [N, 3, h, w] float32: (bilinear value − mean) / std, the world outside the frame counting as black. Values are
        not rounded to gray levels in between. An affine without an inverse gives a black crop.
    """
    return _C.crop_normalize(frame, affine, input_size, mean, std, channel_order, out)
