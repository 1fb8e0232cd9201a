"""The ops that a training step stands on: the kernels of `edgepose.torch`, or their twins in torch's own operations.

`edgepose.ops` says what each op computes. The twins exist for comparison (`--no-kernels`) and for a GPU that the
kernels are not built for; tests hold both to the same numbers.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

import edgepose.torch


class Kernels(Protocol):
    """What losses and distillers call; shapes and meaning as in `edgepose.ops`."""

    def heatmap_encode(
        self, keypoints: Tensor, visible: Tensor, *, input_size: tuple[float, float], heatmap_size: tuple[int, int],
        sigma: float = 2.0, center: str = "round",
    ) -> tuple[Tensor, Tensor]: ...  # fmt: skip

    def heatmap_mse(self, student: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor: ...

    def simcc_kl_div(
        self, student: Tensor, target: Tensor, *, beta: float, target_beta: float | None = None
    ) -> Tensor: ...

    def simcc_encode(
        self, keypoints: Tensor, visible: Tensor, *, input_size: tuple[float, float], split_ratio: float,
        sigma: tuple[float, float], kind: str = "gaussian", center: str = "round", normalize: bool = False,
        smoothing: float = 0.1
    ) -> tuple[Tensor, Tensor, Tensor]: ...  # fmt: skip


def choose(kernels: bool) -> Kernels:
    """The kernels, or their twins."""
    if kernels:
        return edgepose.torch
    return PlainTorch()


class PlainTorch:
    """The twins, differentiated by autograd."""

    @staticmethod
    def heatmap_encode(
        keypoints: Tensor, visible: Tensor, *, input_size: tuple[float, float], heatmap_size: tuple[int, int],
        sigma: float = 2.0, center: str = "round",
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        factors, ranges = [], []
        for axis, cells in enumerate(heatmap_size):
            middle = keypoints[..., axis].float() * (cells / input_size[axis])
            middle = torch.trunc(middle + 0.5) if center == "round" else middle
            d = torch.arange(cells, device=keypoints.device) - middle[..., None]
            factor = torch.exp(-0.5 * (d / sigma).square())
            factors.append(factor * (d.abs() <= 3 * sigma) if center == "round" else factor)
            ranges.append(_in_range(middle, 3 * sigma, 1, cells))
        shown, weight = _shown(visible, ranges)
        maps = factors[1].unsqueeze(-1) * factors[0].unsqueeze(-2)
        return torch.where(shown[..., None], maps, 0.0), weight

    @staticmethod
    def heatmap_mse(student: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
        squares = (student.float() - target.float()).square().sum((-2, -1))
        return squares if weight is None else squares * weight

    @staticmethod
    def simcc_kl_div(student: Tensor, target: Tensor, *, beta: float, target_beta: float | None = None) -> Tensor:
        student, target = student.float(), target.float()
        log_q = F.log_softmax(beta * student, dim=-1)
        if target_beta is None:
            divergence: Tensor = (torch.special.xlogy(target, target) - target * log_q).sum(-1)
            return divergence
        log_t = F.log_softmax(target_beta * target, dim=-1)
        return (log_t.exp() * (log_t - log_q)).sum(-1)

    @staticmethod
    def simcc_encode(
        keypoints: Tensor, visible: Tensor, *, input_size: tuple[float, float], split_ratio: float,
        sigma: tuple[float, float], kind: str = "gaussian", center: str = "round", normalize: bool = False,
        smoothing: float = 0.1
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        dense = kind in ("gaussian", "laplace")
        labels, ranges = [], []
        for axis in (0, 1):
            bins = int(input_size[axis] * split_ratio)
            middle = keypoints[..., axis].float() * split_ratio
            middle = middle if center == "exact" and dense else torch.round(middle)
            z = torch.arange(bins, device=keypoints.device, dtype=torch.float32) - middle[..., None]
            labels.append(_label_row(z, kind, sigma[axis], normalize, smoothing))
            ranges.append(_in_range(middle, 3 * sigma[axis] if dense else 0.0, int(dense), bins))
        shown, weight = _shown(visible, ranges)
        return torch.where(shown, labels[0], 0.0), torch.where(shown, labels[1], 0.0), weight


def _in_range(middle: Tensor, reach: float, more: int, cells: int) -> Tensor:
    """Whether a label around `middle` that ends `reach` from it touches the cells of an axis."""
    return (middle - reach < cells) & (middle + reach + more >= 0)


def _shown(visible: Tensor, ranges: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Where a label is not all zero [N, K, 1], and the weights [N, K]: 0 for labeled points out of range."""
    labeled, inside = visible >= 0.5, ranges[0] & ranges[1]
    return (labeled & inside)[..., None], visible * ~(labeled & ~inside)


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
