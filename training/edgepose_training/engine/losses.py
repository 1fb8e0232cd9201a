"""Losses of SimCC, RTMPose, DWPose and FPD as named functions, with their reductions spelled out.

The papers disagree on reductions by factors of hundreds (bin sum or bin mean, batch sum or batch mean, ÷ K or
not), so each recipe says its own; nothing is shared but the unreduced divergence per keypoint.

N people, K keypoints, B bins of one axis. `weight` [N, K]: 0 leaves a point out.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from edgepose_training.engine.heatmaps import gaussian_maps

Pair = tuple[Tensor, Tensor]  # one tensor for each axis, x and y


class Kernels(Protocol):
    """The ops that the losses stand on: fused (`edgepose.torch`) or plain (`PlainTorch`)."""

    @staticmethod
    def heatmap_mse(student: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor: ...

    @staticmethod
    def simcc_kl_div(student: Tensor, target: Tensor, *, beta: float, target_beta: float | None = None) -> Tensor: ...

    @staticmethod
    def simcc_encode(
        keypoints: Tensor, visible: Tensor, *, input_size: tuple[float, float], split_ratio: float,
        sigma: tuple[float, float], kind: str = "gaussian", center: str = "round", normalize: bool = False,
        smoothing: float = 0.1
    ) -> tuple[Tensor, Tensor, Tensor]: ...  # fmt: skip


class PlainTorch:
    """The twins of the kernels in torch's own operations, for comparison (`--no-kernels`)."""

    @staticmethod
    def heatmap_mse(student: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """weight · Σ_cells (student − target)², [N, K] float32."""
        squares = (student.float() - target.float()).square().sum((-2, -1))
        return squares if weight is None else squares * weight

    @staticmethod
    def simcc_kl_div(student: Tensor, target: Tensor, *, beta: float, target_beta: float | None = None) -> Tensor:
        """Σ_bins t·(log t − log softmax(β·student)), [N, K] float32; t = softmax(target_beta·target), or target."""
        student, target = student.float(), target.float()
        log_q = F.log_softmax(beta * student, dim=-1)
        if target_beta is None:
            return (torch.special.xlogy(target, target) - target * log_q).sum(-1)
        log_t = F.log_softmax(target_beta * target, dim=-1)
        return (log_t.exp() * (log_t - log_q)).sum(-1)

    @staticmethod
    def simcc_encode(
        keypoints: Tensor, visible: Tensor, *, input_size: tuple[float, float], split_ratio: float,
        sigma: tuple[float, float], kind: str = "gaussian", center: str = "round", normalize: bool = False,
        smoothing: float = 0.1
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Labels of the kinds of `edgepose.ops.simcc_encode`; zero rows where `visible` [N, K] is below 0.5, and with
        weight 0 where the label lies outside on either axis."""
        axes, shown = [], visible >= 0.5
        outside = torch.zeros_like(shown)
        dense = kind in ("gaussian", "laplace")
        for axis in (0, 1):
            bins = int(input_size[axis] * split_ratio)
            middle = keypoints[..., axis].float() * split_ratio
            if center == "round" or not dense:
                middle = torch.round(middle)
            z = torch.arange(bins, device=keypoints.device, dtype=torch.float32) - middle[..., None]
            axes.append(_label_row(z, kind, sigma[axis], normalize, smoothing))
            reach = 3 * sigma[axis] if dense else 0.0
            outside |= (middle - reach >= bins) | (middle + reach + dense < 0)
        drawn = (shown & ~outside)[..., None]
        return axes[0] * drawn, axes[1] * drawn, visible * ~(shown & outside)


def _label_row(z: Tensor, kind: str, sigma: float, normalize: bool, smoothing: float) -> Tensor:
    """A label over its bins, from their distances `z` to its middle."""
    match kind:
        case "gaussian":
            return torch.exp(-0.5 * (z / sigma).square()) / (sigma * math.sqrt(2 * math.pi) if normalize else 1)
        case "laplace":
            return torch.exp(-z.abs() / sigma) / (2 * sigma if normalize else 1)
        case "onehot" | "smooth":
            rest = smoothing if kind == "smooth" else 0.0
            return torch.where(z == 0, 1 - rest, rest / (z.shape[-1] - 1))
    raise ValueError(f"label_kind expected gaussian, laplace, onehot or smooth, got {kind!r}")


def _divergence(
    ops: type[Kernels] | Kernels, pred: Pair, target: Pair, beta: float, target_beta: float | None
) -> tuple[Tensor, Tensor]:
    """Unreduced divergence of both axes, [N, K] each."""
    return (
        ops.simcc_kl_div(pred[0], target[0], beta=beta, target_beta=target_beta),
        ops.simcc_kl_div(pred[1], target[1], beta=beta, target_beta=target_beta),
    )


def simcc_loss(ops: Kernels, pred: Pair, target: Pair, weight: Tensor) -> Tensor:
    """SimCC (paper §3, code's default criterion): bin sum, × w, sum over batch, keypoints and axes, ÷ N. β = 1."""
    x, y = _divergence(ops, pred, target, 1.0, None)
    return ((x + y) * weight).sum() / weight.shape[0]


def simcc_norm_loss(ops: Kernels, pred: Pair, target: Pair, weight: Tensor) -> Tensor:
    """SimCC's criterion for Gaussian labels and its `norm_` configs: bin **mean**, × w, mean over all, x + y. β = 1."""
    x, y = _divergence(ops, pred, target, 1.0, None)
    return ((x / pred[0].shape[-1] + y / pred[1].shape[-1]) * weight).mean()


def rtmpose_loss(ops: Kernels, pred: Pair, target: Pair, weight: Tensor, beta: float) -> Tensor:
    """RTMPose: labels softened by softmax(β·t); bin **mean**, × w, **sum** over batch and keypoints, ÷ K; x + y."""
    x, y = _divergence(ops, pred, target, beta, beta)
    return ((x / pred[0].shape[-1] + y / pred[1].shape[-1]) * weight).sum() / weight.shape[1]


def wholebody_loss(ops: Kernels, pred: Pair, target: Pair, weight: Tensor, beta: float) -> Tensor:
    """RTMPose's divergence with DWPose's reduction of its logit term: bin sum, batch mean, ÷ K; x + y.

    Label and distillation terms then live on one scale, whatever the batch.
    """
    x, y = _divergence(ops, pred, target, beta, beta)
    return ((x + y) * weight).sum() / weight.numel()


def dwpose_logit_loss(ops: Kernels, pred: Pair, teacher: Pair, beta: float, trained: Tensor | None = None) -> Tensor:
    """DWPose logit distillation: no label mask; bin sum, keypoint sum, batch mean, x + y, ÷ K.

    `trained` [K]: 0 for points that no data labels, which no teacher knows either.
    """
    x, y = _divergence(ops, pred, teacher, beta, beta)
    per_point = x + y
    if trained is not None:
        per_point = per_point * trained
    return per_point.sum() / per_point.numel()


def dwpose_feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """DWPose feature distillation as its code has it: squared differences summed over everything, ÷ N.

    student and teacher [N, C, h, w], the student's already aligned to the teacher's channels.
    """
    return (student.float() - teacher.float()).square().sum() / student.shape[0]


def mirrored_mean(pair: Pair, mirrored: Pair, swap: Tensor, split_ratio: int) -> Pair:
    """Mean logits [N, K, Wx], [N, K, Wy] of an image and of its mirror image, left and right swapped by `swap` [K].

    Mirroring takes pixel p to W − 1 − p, and bin b = k·p to k·(W − 1) − b. The last k − 1 bins of x have no
    counterpart and stay the image's own.
    """
    common = pair[0].shape[2] - (split_ratio - 1)
    back = mirrored[0][:, swap, :common].flip(2)
    x = torch.cat(((pair[0][..., :common] + back) / 2, pair[0][..., common:]), dim=2)
    return x, (pair[1] + mirrored[1][:, swap]) / 2


def heatmap_loss(logits: Tensor, keypoints: Tensor, weight: Tensor, stride: int, sigma: float = 1.0) -> Tensor:
    """Cross-entropy of a softmax over all cells against a Gaussian label: the auxiliary head's loss.

    logits [N, K, h, w]; keypoints [N, K, 2] in input pixels; `sigma` in cells. Mean over batch and keypoints.
    """
    n, k, h, w = logits.shape
    label = gaussian_maps(keypoints, (h, w), stride, sigma)
    label = label / label.sum((-2, -1), keepdim=True).clamp(min=1e-6)
    log_q = F.log_softmax(logits.float().flatten(2), dim=-1).view(n, k, h, w)
    return -((label * log_q).sum((-2, -1)) * weight).sum() / (n * k)


def heatmap1d_loss(pred: Pair, target: Pair, weight: Tensor) -> Tensor:
    """Mean squares of both axes' vectors to labels of peak 1, × w, ½ of the mean over all, x + y: the heat-map loss
    below along single axes."""
    return sum(0.5 * ((p.float() - t).square().mean(-1) * weight).mean() for p, t in zip(pred, target, strict=True))


def fpd_loss(
    ops: Kernels,
    stacks: list[Tensor],
    target: Tensor,
    teacher: Tensor | None,
    weight: Tensor,
    alpha: float = 0.5,
    trained: Tensor | None = None,
) -> dict[str, Tensor]:
    """FPD §3.2 on every stack: (1 − α)·MSE to the label and α·MSE to the teacher's last heat maps, as two terms.

    Reduction of the public re-implementation: half the mean square over batch and pixels, mean over keypoints,
    sum over stacks. The labels' term is weighted; the teacher's is not, as its answer stands for hidden points
    too. An image without any label has the teacher's term alone, at weight 1. Without a teacher α is 0: the
    heat-map loss of SimpleBaseline and of the hourglass. `trained` [K]: 0 for points that no data labels.
    """
    unlabeled = (weight == 0).all(1)
    share = torch.where(unlabeled, 1.0, alpha if teacher is not None else 0.0)[:, None].expand_as(weight)
    terms = {"label": (target, (1 - share) * weight)}
    if teacher is not None:
        terms["teacher"] = (teacher.contiguous(), share)
    cells = target.shape[-2] * target.shape[-1]
    known = torch.ones_like(weight) if trained is None else trained
    return {
        name: sum(
            0.5 * (ops.heatmap_mse(maps.contiguous(), wanted, weight=factor * known) / cells).mean() for maps in stacks
        )
        for name, (wanted, factor) in terms.items()
    }


def decay(epoch: int, epochs: int) -> float:
    """DWPose r(t) = 1 − (t − 1)/t_max with t counted from 1; `epoch` here counts from 0. Source: DWPose §3.2."""
    return 1.0 - epoch / epochs
