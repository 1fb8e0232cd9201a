"""Heat maps: labels, decoding, the mixed squared error. Re-exported by `edgepose.ops`."""

from __future__ import annotations

from typing import Any

from .. import _C


def heatmap_encode(
    keypoints: Any,  # [N, K, 2] float32 or float64, pixels of the crop
    visible: Any,  # [N, K] float32 or float64
    *,
    input_size: tuple[float, float],
    heatmap_size: tuple[int, int],
    sigma: float = 2.0,
    center: str = "round",
    out: tuple[Any, Any] | None = None,
) -> tuple[Any, Any]:
    """Gaussian maps of peak 1, and the weight of each keypoint.

    Args:
        keypoints, visible: visible < 0.5 is not labeled.
        input_size: (W, H) of the crop in pixels.
        heatmap_size: (w, h) in cells.
        sigma: width in cells.
        center: "round": the cell ⌊μ + ½⌋ (cut towards 0, as mmpose and HRNet do), and no label beyond 3 sigma on either
            axis; "exact": the real-valued place, and no end.
        out: (heatmaps, target_weight) to write into; the maps may be float16 or bfloat16 there.

    Returns:
        heatmaps [N, K, h, w], target_weight [N, K], float32. Unlabeled points have zero maps and keep `visible` as
        their weight; labeled points with μ − 3σ ≥ cells or μ + 3σ + 1 < 0 on either axis have zero maps and weight 0.

    Source: mmpose codecs/utils/gaussian_heatmap.py; FPD §3.1.
    """
    return _C.heatmap_encode(keypoints, visible, input_size, heatmap_size, sigma, center, out)


def heatmap_decode(
    heatmaps: Any,  # [N, K, h, w] float32, float16 or bfloat16
    *,
    input_size: tuple[float, float],
    refine: str = "none",
    blur: int = 11,
    affine: Any = None,  # [N, 2, 3] float32 or float64
    out: tuple[Any, Any] | None = None,
) -> tuple[Any, Any]:
    """Keypoints and scores from heat maps.

    Args:
        heatmaps: any strides along N and K, contiguous maps.
        input_size: (W, H) of the crop in pixels.
        refine: "none"; "quarter": a quarter of a cell towards the higher neighbor on each axis that has two; "dark":
            one Newton step on the logarithm of the blurred map (DARK), left out within two cells of the border, where
            the map is no hill, and where the step is longer than the blur reaches.
        blur: odd number of cells that DARK blurs over.
        affine: crop pixels → image pixels, applied to the keypoints.
        out: (keypoints, scores) to write into.

    Returns:
        keypoints [N, K, 2] float32: cell of the first maximum · input_size / (w, h); scores [N, K] float32: the
        maximum, or 0 where it is not above zero. A map with a NaN has cell (0, 0) and score 0.

    Source: DARK §3; mmpose codecs/utils/refinement.py.
    """
    return _C.heatmap_decode(heatmaps, input_size, refine, blur, affine, out)


def heatmap_mse(
    student: Any,  # [N, K, h, w] float32, float16 or bfloat16
    target: Any,  # [N, K, h, w], of any of these dtypes
    teacher: Any = None,  # [N, K, h, w], of any of these dtypes
    *,
    alpha: float = 0.5,
    weight: Any = None,  # [N, K] float32
    teacher_weight: Any = None,  # [N, K] float32
    loss: Any = None,  # [N, K] float32
    grad: Any = None,  # [N, K, h, w] of the student's dtype
) -> Any:
    """(1 − alpha) · weight · Σ (student − target)² + alpha · teacher_weight · Σ (student − teacher)² per keypoint.

    Args:
        student, target, teacher: any strides along N and K, contiguous maps. Without a teacher alpha counts as 0.
        weight, teacher_weight: of each keypoint in either term; None is 1. A term of weight 0 is not looked at.
        loss, grad: arrays to write into. `grad` receives ∂loss/∂student, computed in the same pass.

    Returns:
        loss [N, K] float32, summed over the cells of a map and over nothing else.

    Source: FPD §3.2.
    """
    return _C.heatmap_mse(student, target, teacher, alpha, weight, teacher_weight, loss, grad)
