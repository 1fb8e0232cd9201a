"""Fused kernels of SimCC, for numpy arrays and for any array that speaks DLPack (torch, cupy, jax, onnxruntime).

Every function validates all of its arguments at once and raises ValueError (shapes, values) or TypeError (dtypes, devices)
as `<op>: <argument> <expected>, got <actual>`. Results of CPU arrays are numpy arrays; results of CUDA arrays are made by
the arrays' own framework, on its current stream. `edgepose.ops.reference` holds the same functions in plain numpy: the
specification.
"""

from __future__ import annotations

from typing import Any

from .. import _C
from . import reference

__all__ = ["reference", "simcc_decode"]


def simcc_decode(
    simcc_x: Any,  # [N, K, Wx] float32, float16 or bfloat16
    simcc_y: Any,  # [N, K, Wy]
    *,
    split_ratio: float = 2.0,
    score: str = "min",
    beta: float | None = None,
    sigma: tuple[float, float] | None = None,
    affine: Any = None,  # [N, 2, 3] float32 or float64
    out: tuple[Any, Any] | None = None,
) -> tuple[Any, Any]:
    """Keypoints and scores from SimCC logits, in one pass over them.

    Args:
        simcc_x, simcc_y: logits over the bins of each axis; any strides along N and K, contiguous bins.
        split_ratio: bins per pixel.
        score: "min", "mean" or "max" of the two axes' maxima, or "softmax": the smaller of the two peaks of
            softmax(beta · logits). Scores that are not above zero come out as 0.
        beta: temperature multiplier of the softmax; None is 1.
        sigma: label widths (x, y) in bins. With score="softmax" each peak is divided by the one that the ideal label
            softmax(beta · Gaussian) has, and the result is clipped to [0, 1].
        affine: crop pixels → image pixels, applied to the keypoints.
        out: (keypoints, scores) to write into.

    Returns:
        keypoints [N, K, 2] float32: first argmax per axis ÷ split_ratio, in crop pixels or, with an affine, image pixels;
        scores [N, K] float32. A row with a NaN has bin 0 and its keypoint score 0; coordinates are always finite.

    Source: SimCC §3; mmpose codecs/simcc_label.py (spec §A.5, §B.3).
    """
    return _C.simcc_decode(simcc_x, simcc_y, split_ratio, score, beta, sigma, affine, out)
