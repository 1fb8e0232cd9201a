"""The decoder in torch ops that trace to standard ONNX, for `export.py --with-decode`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from edgepose import ModelCard
from edgepose.modelcard import RELATIVE
from edgepose.ops import simcc_decode


class SimCCDecoder(nn.Module):
    """Raw logits → keypoints [N, K, 2] in pixels of the crop and scores [N, K].

    The same numbers as `edgepose.ops.simcc_decode` with the card's score, followed by the card's calibration and its
    unsupervised keypoints, for finite logits. The card has a skeleton.
    """

    trained: Tensor

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        assert card.skeleton is not None
        self.card, self.parts = card, card.skeleton.parts
        self.ideal = ideal_scores(card) if card.score in RELATIVE and not card.score_knots else [1.0, 1.0]
        trained = torch.ones(card.skeleton.num_keypoints)
        trained[list(card.unsupervised_keypoints)] = 0
        self.register_buffer("trained", trained)

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

    def _calibrated(self, scores: Tensor) -> Tensor:
        if self.card.score not in RELATIVE or not self.card.calibration:
            return scores
        pieces = [interpolated(scores[:, start:stop], *self._knots(part)) for part, (start, stop) in self.parts.items()]
        return torch.cat(pieces, dim=1)

    def _knots(self, part: str) -> tuple[list[float], list[float]]:
        x, y = self.card.calibration.get(part, ([0.0, 1.0], [0.0, 1.0]))
        return list(x), list(y)


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
