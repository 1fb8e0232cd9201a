"""Losses of SimCC, RTMPose, DWPose and FPD as named functions, with their reductions spelled out.

The papers disagree on reductions by factors of hundreds (bin sum or bin mean, batch sum or batch mean, ÷ K or
not), so each recipe says its own; nothing is shared but the unreduced divergence per keypoint.

N people, K keypoints, B bins of one axis. `weight` [N, K]: 0 leaves a point out.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from edgepose_training.engine.kernels import Kernels

Pair = tuple[Tensor, Tensor]  # one tensor for each axis, x and y


def total(terms: Iterable[Tensor]) -> Tensor:
    """The sum of one term or more."""
    return reduce(torch.add, terms)


def _divergence(
    ops: Kernels, pred: Pair, target: Pair, beta: float, target_beta: float | None
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


def heatmap_loss(
    ops: Kernels,
    logits: Tensor,  # [N, K, h, w]
    keypoints: Tensor,  # [N, K, 2] in pixels of the input
    weight: Tensor,  # [N, K]
    input_size: tuple[int, int],  # W, H
    sigma: float = 1.0,  # cells
) -> Tensor:
    """Cross-entropy of a softmax over all cells against a Gaussian label: the auxiliary head's loss.

    Mean over batch and keypoints.
    """
    n, k, h, w = logits.shape
    label, _ = ops.heatmap_encode(
        keypoints, torch.ones_like(weight), input_size=input_size, heatmap_size=(w, h), sigma=sigma, center="exact"
    )
    label = label / label.sum((-2, -1), keepdim=True).clamp(min=1e-6)
    log_q = F.log_softmax(logits.float().flatten(2), dim=-1).view(n, k, h, w)
    return -((label * log_q).sum((-2, -1)) * weight).sum() / (n * k)


def heatmap1d_loss(pred: Pair, target: Pair, weight: Tensor) -> Tensor:
    """Mean squares of both axes' vectors to labels of peak 1, × w, ½ of the mean over all, x + y: the heat-map loss
    below along single axes."""
    return total(0.5 * ((p.float() - t).square().mean(-1) * weight).mean() for p, t in zip(pred, target, strict=True))


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
        name: total(
            0.5 * (ops.heatmap_mse(maps.contiguous(), wanted, weight=factor * known) / cells).mean() for maps in stacks
        )
        for name, (wanted, factor) in terms.items()
    }


def decay(epoch: int, epochs: int) -> float:
    """DWPose r(t) = 1 − (t − 1)/t_max with t counted from 1; `epoch` here counts from 0. Source: DWPose §3.2."""
    return 1.0 - epoch / epochs
