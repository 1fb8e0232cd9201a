"""The decoder in torch ops that trace to standard ONNX, for `export.py --with-decode`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from edgepose import EdgeposeError, ModelCard
from edgepose.modelcard import RELATIVE
from edgepose.ops import simcc_decode


def decoder(card: ModelCard) -> nn.Module:
    """The decoder of a card, which has a skeleton. Raises EdgeposeError where the runtime refines and this cannot."""
    graph = HeatmapDecoder(card) if card.codec == "heatmap" else SimCCDecoder(card)
    if card.refine not in graph.refines:
        known = " or ".join(repr(name) for name in graph.refines)
        raise EdgeposeError(f"The decoder in the graph does not refine by {card.refine!r}: give refine = {known} in a "
                            "card, or leave --with-decode out.")  # fmt: skip
    return graph


class Decoder(nn.Module):
    """What a net answers → keypoints [N, K, 2] in pixels of the crop and scores [N, K].

    The same numbers as the runtime's ops give with the card's score and refinement, followed by the card's calibration
    and its unsupervised keypoints, for finite answers.
    """

    refines: tuple[str, ...] = ("none",)
    trained: Tensor

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        assert card.skeleton is not None
        self.card, self.parts = card, card.skeleton.parts
        trained = torch.ones(card.skeleton.num_keypoints)
        trained[list(card.unsupervised_keypoints)] = 0
        self.register_buffer("trained", trained)

    def _calibrated(self, scores: Tensor) -> Tensor:
        if not self.card.relative or not self.card.calibration:
            return scores
        pieces = [interpolated(scores[:, start:stop], *self._knots(part)) for part, (start, stop) in self.parts.items()]
        return torch.cat(pieces, dim=1)

    def _knots(self, part: str) -> tuple[list[float], list[float]]:
        x, y = self.card.calibration.get(part, ([0.0, 1.0], [0.0, 1.0]))
        return list(x), list(y)


class SimCCDecoder(Decoder):
    """`simcc_x` [N, K, Wx] and `simcc_y` [N, K, Wy] of raw logits."""

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        self.ideal = ideal_scores(card) if card.score in RELATIVE and not card.score_knots else [1.0, 1.0]

    def forward(self, simcc_x: Tensor, simcc_y: Tensor) -> tuple[Tensor, Tensor]:  # [N, K, Wx], [N, K, Wy]
        axes = (simcc_x, simcc_y)
        keypoints = torch.stack([logits.argmax(dim=-1) for logits in axes], dim=-1).float() / self.card.split_ratio
        per_axis = [self._axis_score(logits) / best for logits, best in zip(axes, self.ideal, strict=True)]
        if self.card.score_knots:
            per_axis = [
                interpolated(bare, *map(list, self.card.score_knots[axis]))
                for bare, axis in zip(per_axis, "xy", strict=True)
            ]
        return keypoints, self._calibrated(self._merged(*per_axis)) * self.trained

    def _axis_score(self, logits: Tensor) -> Tensor:
        if self.card.score in ("min", "mean", "max"):
            return logits.amax(dim=-1)
        assert self.card.beta is not None
        logits = logits * self.card.beta
        softmax = logits.softmax(dim=-1)
        if self.card.score != "entropy":
            return softmax.amax(dim=-1)
        return (softmax * logits.log_softmax(dim=-1)).sum(dim=-1).exp()  # of minus the entropy

    def _merged(self, x: Tensor, y: Tensor) -> Tensor:
        if self.card.score == "mean":
            merged = (x + y) / 2
        else:
            merged = torch.maximum(x, y) if self.card.score == "max" else torch.minimum(x, y)
        return merged.clamp(0, 1) if self.card.score in RELATIVE else merged.clamp(min=0)  # not found is 0, never less


class HeatmapDecoder(Decoder):
    """`heatmaps` [N, K, h, w]."""

    refines = ("none", "quarter")

    def forward(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        width, height = self.card.bins
        flat = heatmaps.flatten(2)
        cell = flat.argmax(dim=-1, keepdim=True)  # [N, K, 1]
        column, row = cell % width, cell // width
        places = torch.cat((column, row), dim=-1).float()
        if self.card.refine == "quarter":
            steps = (self._step(flat, cell, column, 1, width), self._step(flat, cell, row, width, height))
            places = places + 0.25 * torch.cat(steps, dim=-1)
        stride = torch.tensor([side / cells for side, cells in zip(self.card.input_size, self.card.bins, strict=True)])
        scores = flat.amax(dim=-1).clamp(0, 1)
        return places * stride + self.card.cell_offset, self._calibrated(scores) * self.trained

    @staticmethod
    def _step(flat: Tensor, cell: Tensor, place: Tensor, apart: int, count: int) -> Tensor:
        """−1, 0 or 1 towards the higher neighbor along one axis, [N, K, 1]; 0 at its ends."""
        inner = (place > 0) & (place < count - 1)
        behind, before = (flat.gather(2, (cell + d).clamp(0, flat.shape[-1] - 1)) for d in (-apart, apart))
        return (before - behind).sign() * inner.float()


def interpolated(values: Tensor, x: list[float], y: list[float]) -> Tensor:
    """Piecewise linear through the knots, flat beyond them: y₀ + Σ slopeᵢ · (clamp(v, xᵢ, xᵢ₊₁) − xᵢ)."""
    at, knots = torch.tensor(x), torch.tensor(y)
    width = at.diff()
    slopes = torch.where(width > 0, knots.diff() / width.clamp(min=1e-12), 0.0)
    rises = torch.minimum(torch.maximum(values[..., None], at[:-1]), at[1:]) - at[:-1]
    return knots[0] + (rises * slopes).sum(dim=-1)


def ideal_scores(card: ModelCard) -> list[float]:
    """What a perfect label scores bare on each axis, as `simcc_decode` has it: a Gaussian of peak 1 in the middle."""
    kind = "entropy" if card.score == "entropy" else "softmax"
    found = []
    assert card.sigma is not None
    for bins, sigma in zip(card.bins, card.sigma, strict=True):
        label = np.exp(-0.5 * ((np.arange(bins) - bins // 2) / sigma) ** 2).astype(np.float32)[None, None]
        found.append(float(simcc_decode(label, label, score=kind, beta=card.beta)[1][0, 0]))
    return [min(found)] * 2 if kind == "entropy" else found
