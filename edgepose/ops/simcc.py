"""Decoding, labels and losses of SimCC. Re-exported by `edgepose.ops`."""

from __future__ import annotations

from typing import Any

from .. import _C


def simcc_decode(
    simcc_x: Any,  # [N, K, Wx] float32, float16 or bfloat16
    simcc_y: Any,  # [N, K, Wy]
    *,
    split_ratio: float = 2.0,
    score: str = "min",
    beta: float | None = None,
    sigma: tuple[float, float] | None = None,
    refine: str = "none",
    affine: Any = None,  # [N, 2, 3] float32 or float64
    flipped: tuple[Any, Any, Any] | None = None,  # [N, K, Wx], [N, K, Wy], [K] int64
    flip_shift: str = "exact",
    out: tuple[Any, Any] | None = None,
) -> tuple[Any, Any]:
    """Keypoints and scores from SimCC logits, in one pass over them.

    Args:
        simcc_x, simcc_y: logits over the bins of each axis; any strides along N and K, contiguous bins.
        split_ratio: bins per pixel.
        score: "min", "mean" or "max" of the two axes' maxima; "softmax": the smaller of the two peaks of
            softmax(beta · logits); or "entropy": the smaller e^(−H) of the two, H the softmax's entropy, which is one
            over the number of bins that it spreads over. Scores that are not above zero come out as 0.
        beta: temperature multiplier of the softmax; None is 1.
        sigma: label widths (x, y) in bins. With score="softmax" each axis is divided by what the ideal label
            softmax(beta · Gaussian) scores, with "entropy" both by the smaller of its two scores, and the result is
            clipped to [0, 1]. With refine="dark" they give the blur.
        refine: "none", or "dark": one Newton step on the logarithm of the blurred row (DARK, in mmpose's form), left
            out where the row is no hill or the step is longer than the blur reaches.
        affine: crop pixels → image pixels, applied to the keypoints.
        flipped: (flipped_x, flipped_y, swap): the logits of the mirrored crop, and which keypoint of it is which. They
            are put back in place and averaged with the others before anything else.
        flip_shift: a mirrored pixel W − 1 − x has its bins split_ratio − 1 away from the reversed row's. "exact" moves
            the reversed row by as much, or, for a fractional ratio k, the keypoint by (k − 1) / 2k pixels; "mmpose"
            does nothing, as mmpose.
        out: (keypoints, scores) to write into.

    Returns:
        keypoints [N, K, 2] float32: first argmax per axis ÷ split_ratio, in crop pixels or, with an affine, image
        pixels; scores [N, K] float32. A row with a NaN has bin 0 and its keypoint score 0; bins are always finite.

    Source: SimCC §3; mmpose codecs/simcc_label.py.
    """
    return _C.simcc_decode(simcc_x, simcc_y, split_ratio, score, beta, sigma, refine, affine, flipped, flip_shift, out)


def simcc_encode(
    keypoints: Any,  # [N, K, 2] float32 or float64, pixels of the crop
    visible: Any,  # [N, K] float32 or float64
    *,
    input_size: tuple[float, float],
    split_ratio: float = 2.0,
    sigma: tuple[float, float] | None = None,
    kind: str = "gaussian",
    center: str = "round",
    normalize: bool = False,
    smoothing: float = 0.1,
    out: tuple[Any, Any, Any] | None = None,
) -> tuple[Any, Any, Any]:
    """Labels over the bins of each axis, and the weight of each keypoint.

    Args:
        keypoints, visible: visible < 0.5 is not labeled.
        input_size: (W, H) of the crop in pixels; an axis has int(size · split_ratio) bins.
        split_ratio: bins per pixel.
        sigma: label widths (x, y) in bins; for kind="laplace" the scale b.
        kind: "gaussian"; "laplace"; "onehot"; "smooth": 1 − smoothing at the bin, smoothing / (bins − 1) elsewhere.
        center: "round": the nearest bin, half to even; "exact": the real-valued place (gaussian and laplace).
        normalize: divide by the density's integral, σ√(2π) or 2b; otherwise the peak is 1.
        out: (simcc_x, simcc_y, target_weight) to write into; the labels may be float16 or bfloat16 there.

    Returns:
        simcc_x [N, K, Wx], simcc_y [N, K, Wy], target_weight [N, K], float32. Unlabeled points get zero rows and keep
        `visible` as their weight. Labeled points out of range get zero rows and weight 0: μ − 3σ ≥ bins or
        μ + 3σ + 1 < 0 on either axis (gaussian, laplace), a bin outside 0 … bins − 1 (onehot, smooth), or a NaN.

    Source: SimCC §3.2, RTMPose §3.3; mmpose codecs/simcc_label.py.
    """
    return _C.simcc_encode(keypoints, visible, input_size, split_ratio, sigma, kind, center, normalize, smoothing, out)


def simcc_kl_div(
    student: Any,  # [N, K, B] float32, float16 or bfloat16
    target: Any,  # [N, K, B], of any of these dtypes
    *,
    beta: float = 1.0,
    target_beta: float | None = None,
    weight: Any = None,  # [N, K] float32
    loss: Any = None,  # [N, K] float32
    grad: Any = None,  # [N, K, B] of the student's dtype
) -> Any:
    """Σ_bins p (ln p − ln softmax(beta · student)) per keypoint: nothing is averaged or summed over points.

    Args:
        student, target: rows of one axis; any strides along N and K, contiguous bins.
        beta, target_beta: temperature multipliers. p = softmax(target_beta · target), or with None the target itself
            (≥ 0; its sum need not be 1, and 0 · ln 0 is 0).
        weight: multiplied into loss and gradient; a point of weight 0 has loss 0, whatever its logits.
        loss, grad: arrays to write into. `grad` receives ∂(weight · loss)/∂student, computed in the same pass.

    Returns:
        loss [N, K] float32.

    Source: SimCC §3.2, RTMPose §3.3, DWPose §3.2; mmpose losses/classification_loss.py, SimCC lib/core/loss.py.
    """
    return _C.simcc_kl_div(student, target, beta, target_beta, weight, loss, grad)


def simcc_gaussian_kl_div(
    simcc_x: Any,  # [N, K, Wx] float32, float16 or bfloat16
    simcc_y: Any,  # [N, K, Wy]
    keypoints: Any,  # [N, K, 2] float32 or float64, pixels of the crop
    visible: Any,  # [N, K] float32 or float64
    *,
    sigma: tuple[float, float],
    split_ratio: float = 2.0,
    center: str = "round",
    normalize: bool = False,
    beta: float = 1.0,
    target_beta: float | None = None,
    bin_mean: bool = False,
    loss: Any = None,  # [N, K] float32
    grad: tuple[Any, Any] | None = None,  # [N, K, Wx], [N, K, Wy] of the logits' dtype
) -> Any:
    """The divergence of logits to Gaussian labels that are never written down.

    `simcc_encode` of the keypoints followed by `simcc_kl_div` of both axes, in one pass over the logits.

    Args:
        simcc_x, simcc_y: logits; their numbers of bins give the size of the crop.
        keypoints, visible, sigma, split_ratio, center, normalize: as for `simcc_encode`.
        beta, target_beta: as for `simcc_kl_div`.
        bin_mean: divide the divergence of each axis by its number of bins.
        loss, grad: arrays to write into. `grad` receives the gradients of the loss in `simcc_x` and `simcc_y`.

    Returns:
        loss [N, K] float32: target_weight · (divergence in x + divergence in y). Points of weight 0 cost nothing.

    Source: RTMPose §3.3; mmpose codecs/simcc_label.py, losses/classification_loss.py.
    """
    return _C.simcc_gaussian_kl_div(
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
        loss,
        grad,
    )
