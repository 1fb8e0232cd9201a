"""Losses of SimCC, RTMPose, DWPose and FPD as named functions, with their reductions spelled out.

The papers disagree on reductions by factors of hundreds (bin sum or bin mean, batch sum or batch mean, ÷ K or
not), so each recipe says its own; nothing is shared but the unreduced divergence per keypoint.

N people, K keypoints, B bins of one axis. `weight` [N, K]: 0 leaves a point out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def kl_per_keypoint(logits: Tensor, target: Tensor, beta: float, target_beta: float | None = None) -> Tensor:
    """Σ_bins t·(log t − log softmax(β·logits)) → [N, K], float32; t = softmax(target_beta·target), or target itself.

    Plain torch twin of `edgepose.torch.simcc_kl_div`.
    """
    logits, target = logits.float(), target.float()
    log_q = F.log_softmax(beta * logits, dim=-1)
    if target_beta is None:
        return (torch.special.xlogy(target, target) - target * log_q).sum(-1)
    log_t = F.log_softmax(target_beta * target, dim=-1)
    return (log_t.exp() * (log_t - log_q)).sum(-1)


def simcc_labels(
    keypoints: Tensor, inside: Tensor, bins: tuple[int, int], split_ratio: float, sigma: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Gaussian labels of peak 1, centre rounded (half to even); all-zero rows where not `inside` [N, K].

    keypoints [N, K, 2] in input pixels. Plain torch twin of `edgepose.torch.simcc_encode`.
    """
    axes = []
    for axis in (0, 1):
        center = torch.round(keypoints[..., axis] * split_ratio)
        grid = torch.arange(bins[axis], device=keypoints.device, dtype=torch.float32)
        z = (grid - center[..., None]) / sigma[axis]
        axes.append(torch.exp(-0.5 * z.square()) * inside[..., None])
    return axes[0], axes[1]


def simcc_loss(pred: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor], weight: Tensor) -> Tensor:
    """SimCC (paper §3, code's default criterion): bin sum, × w, sum over batch, keypoints and axes, ÷ N. β = 1."""
    per_point = sum(kl_per_keypoint(p, t, 1.0) for p, t in zip(pred, target, strict=True))
    return (per_point * weight).sum() / weight.shape[0]


def rtmpose_loss(pred: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor], weight: Tensor, beta: float) -> Tensor:
    """RTMPose: labels softened by softmax(β·t); bin **mean**, × w, **sum** over batch and keypoints, ÷ K; x + y."""
    per_point = sum(kl_per_keypoint(p, t, beta, beta) / p.shape[-1] for p, t in zip(pred, target, strict=True))
    return (per_point * weight).sum() / weight.shape[1]


def wholebody_loss(pred: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor], weight: Tensor, beta: float) -> Tensor:
    """RTMPose's divergence with DWPose's reduction of its logit term: bin sum, batch mean, ÷ K; x + y.

    Label and distillation terms then live on one scale, whatever the batch.
    """
    per_point = sum(kl_per_keypoint(p, t, beta, beta) for p, t in zip(pred, target, strict=True))
    return (per_point * weight).sum() / weight.numel()


def dwpose_logit_loss(
    pred: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], beta: float, trained: Tensor | None = None
) -> Tensor:
    """DWPose logit distillation: no label mask; bin sum, keypoint sum, batch mean, x + y, ÷ K.

    `trained` [K]: 0 for points that no data labels, which no teacher knows either.
    """
    per_point = sum(kl_per_keypoint(p, t, beta, beta) for p, t in zip(pred, teacher, strict=True))
    if trained is not None:
        per_point = per_point * trained
    return per_point.sum() / per_point.numel()


def dwpose_feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """DWPose feature distillation as its code has it: squared differences summed over everything, ÷ N.

    student and teacher [N, C, h, w], the student's already aligned to the teacher's channels.
    """
    return (student.float() - teacher.float()).square().sum() / student.shape[0]


def heatmap_loss(logits: Tensor, keypoints: Tensor, weight: Tensor, stride: int, sigma: float = 1.0) -> Tensor:
    """Cross-entropy of a softmax over all cells against a Gaussian label: the auxiliary head's loss.

    logits [N, K, h, w]; keypoints [N, K, 2] in input pixels; `sigma` in cells. Mean over batch and keypoints.
    """
    n, k, h, w = logits.shape
    parts = []
    for axis, cells in ((0, w), (1, h)):
        centers = (torch.arange(cells, device=logits.device) + 0.5) * stride - 0.5
        z = (centers - keypoints[..., axis, None]) / (sigma * stride)
        parts.append(torch.exp(-0.5 * z.square()))
    label = parts[1].unsqueeze(-1) * parts[0].unsqueeze(-2)
    label = label / label.sum((-2, -1), keepdim=True).clamp(min=1e-6)
    log_q = F.log_softmax(logits.float().flatten(2), dim=-1).view(n, k, h, w)
    return -((label * log_q).sum((-2, -1)) * weight).sum() / (n * k)


def fpd_loss(
    stacks: list[Tensor], target: Tensor, teacher: Tensor | None, weight: Tensor, alpha: float = 0.5
) -> Tensor:
    """FPD §3.2: α·MSE to the teacher's last heat maps + (1 − α)·MSE to the label, on every stack.

    Reduction of the public re-implementation: half the weighted mean square over batch and pixels, mean over
    keypoints, sum over stacks. Without labels (all weights 0) call it with α = 1.
    """
    w = weight[..., None, None]
    total = stacks[0].new_zeros(())
    for maps in stacks:
        label_term = 0.5 * (w * (maps - target)).square().mean()
        teacher_term = 0.0 if teacher is None else 0.5 * (maps - teacher).square().mean()
        total = total + (label_term if teacher is None else alpha * teacher_term + (1 - alpha) * label_term)
    return total


def decay(epoch: int, epochs: int) -> float:
    """DWPose r(t) = 1 − (t − 1)/t_max with t counted from 1; `epoch` here counts from 0. Source: DWPose §3.2."""
    return 1.0 - epoch / epochs


def ideal_peak(sigma: float, beta: float) -> float:
    """Peak of softmax(β·label) for a Gaussian label of peak 1 and width `sigma` bins, on an endless axis."""
    reach = math.ceil(6 * sigma)
    grid = torch.arange(-reach, reach + 1, dtype=torch.float64)
    return float(torch.softmax(beta * torch.exp(-0.5 * (grid / sigma).square()), 0).max())
