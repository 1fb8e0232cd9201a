"""What nets answer with. SimCC: two 1-D classifications, over the columns and over the rows; or a map of cells.

Encoder and decoder live under one meta so that they cannot drift apart. The arithmetic is that of the ops
``simcc_encode``, ``simcc_decode`` and ``heatmap_decode`` and nothing else: training calls the same ones through
``edgepose.torch``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import ops
from .modelcard import RELATIVE, SCORES, ModelCard

Float = NDArray[np.float32]


@dataclass(frozen=True)
class SimCC:
    """Meta of one net's output: bins = input_size × split_ratio; RTMPose's rule is sigma = √(bins / 16)."""

    input_size: tuple[int, int] = (192, 256)  # (W, H)
    split_ratio: float = 2.0  # bins per pixel
    sigma: tuple[float, float] | None = (4.9, 5.66)  # (x, y) width of the Gaussian labels, in bins
    beta: float | None = 10.0  # the softmax of the loss was softmax(beta · logits)
    # axis → [[bare, …], [score, …]], what "entropy" is relative to where that is no Gaussian; see `ModelCard`
    score_knots: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict, hash=False)

    @classmethod
    def from_card(cls, card: ModelCard) -> SimCC:
        return cls(card.input_size, card.split_ratio, card.sigma, card.beta, card.score_knots)

    @property
    def bins(self) -> tuple[int, int]:
        """(Wx, Wy)"""
        return int(self.input_size[0] * self.split_ratio), int(self.input_size[1] * self.split_ratio)

    def encode(
        self,
        keypoints: ArrayLike,  # [N, K, 2] pixels of the crop
        visible: ArrayLike,  # [N, K] weight of the label; below 0.5: not labeled
    ) -> tuple[Float, Float, Float]:  # [N, K, Wx], [N, K, Wy], [N, K]
        """Gaussian labels of peak 1 around the rounded bin, and the weights of the points: `edgepose.ops.simcc_encode`.

        Unlabeled points get zero rows and keep their weight; points whose label would lie outside the crop
        on either axis get zero rows and weight 0. Raises ValueError for other shapes and without a sigma.

        Source: SimCC §3.2; mmpose codecs/simcc_label.py.
        """
        if self.sigma is None:
            raise ValueError("SimCC.encode: sigma expected (x, y) bins, got None")
        simcc_x, simcc_y, weight = ops.simcc_encode(
            np.asarray(keypoints, np.float32),
            np.asarray(visible, np.float32),
            input_size=self.input_size,
            split_ratio=self.split_ratio,
            sigma=self.sigma,
        )
        return simcc_x, simcc_y, weight

    def decode(
        self,
        simcc_x: NDArray[np.floating],  # [N, K, Wx] logits
        simcc_y: NDArray[np.floating],  # [N, K, Wy]
        affine: Float | None = None,  # [N, 2, 3] crop → frame; None: pixels of the crop
        score: str = "calibrated",
        flipped: tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.int64]] | None = None,
        refine: str = "none",
    ) -> tuple[Float, Float]:  # [N, K, 2], [N, K]
        """Coordinates and scores. `flipped`, `refine`: as for `simcc_decode`; DARK needs a sigma.

        ``"entropy"`` is one over the number of bins that the softmax spreads over, ``"calibrated"`` its peak, both
        relative to an ideal label and so in [0, 1], a Gaussian under softmax(beta · …) unless there are `score_knots`,
        which are those of ``"entropy"``; ``"softmax"`` is the bare peak; ``"min"``, ``"mean"`` and
        ``"max"`` are maxima of the raw logits.
        """
        if score not in SCORES:
            raise ValueError(f"SimCC.decode: score expected one of {SCORES}, got {score!r}")
        if score in RELATIVE and (self.beta is None or self.sigma is None):
            raise ValueError(f"SimCC.decode: score {score!r} expected beta and sigma, got None")
        if refine == "dark" and (self.sigma is None or score == "softmax"):
            raise ValueError("SimCC.decode: refine 'dark' expected sigma and another score than 'softmax'")
        if self.score_knots and score in RELATIVE:
            return self._decode_by_knots(simcc_x, simcc_y, affine, score, flipped, refine)
        soft = score in (*RELATIVE, "softmax")
        keypoints, scores = ops.simcc_decode(
            simcc_x,
            simcc_y,
            split_ratio=self.split_ratio,
            score="softmax" if score == "calibrated" else score,
            beta=self.beta if soft else None,
            sigma=self.sigma if score in RELATIVE or refine == "dark" else None,
            refine=refine,
            affine=affine,
            flipped=flipped,
        )
        return keypoints, scores

    def _decode_by_knots(
        self,
        simcc_x: NDArray[np.floating],  # [N, K, Wx]
        simcc_y: NDArray[np.floating],  # [N, K, Wy]
        affine: Float | None,
        score: str,
        flipped: tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.int64]] | None,
        refine: str,
    ) -> tuple[Float, Float]:
        """Scores axis by axis through the knots, as the axes' labels may be flat to different degrees; the less
        certain axis counts."""
        if score != "entropy":
            raise ValueError(f"SimCC.decode: score expected 'entropy', which has knots, got {score!r}")
        # An axis of a single bin scores 1, which leaves the other axis' score as the smaller one.
        one = np.ones((*simcc_x.shape[:2], 1), simcc_x.dtype)
        pairs = ((simcc_x, one), (one, simcc_y))
        mirrored = None if flipped is None else ((flipped[0], one), (one, flipped[1]))
        scores = []
        for i, axis in enumerate("xy"):
            other = None if mirrored is None or flipped is None else (*mirrored[i], flipped[2])
            bare = ops.simcc_decode(
                *pairs[i], split_ratio=self.split_ratio, score="entropy", beta=self.beta, flipped=other
            )[1]
            raw, seen = self.score_knots[axis]
            scores.append(np.interp(bare, raw, seen))
        keypoints, _ = ops.simcc_decode(
            simcc_x,
            simcc_y,
            split_ratio=self.split_ratio,
            sigma=self.sigma if refine == "dark" else None,
            refine=refine,
            affine=affine,
            flipped=flipped,
        )
        return keypoints, np.minimum(*scores).astype(np.float32)


@dataclass(frozen=True)
class Heatmap:
    """Meta of one net's maps [N, K, h, w], regressed onto Gaussians of peak 1: any stride, read off the maps."""

    input_size: tuple[int, int] = (192, 256)  # (W, H)
    sigma: float = 2.0  # width of the labels, in cells: DARK blurs accordingly
    cell_offset: float = 0.0  # px: cell i of stride s is centered on pixel s·i + this

    @classmethod
    def from_card(cls, card: ModelCard) -> Heatmap:
        return cls(card.input_size, card.sigma[0] if card.sigma else 2.0, card.cell_offset)

    @property
    def blur(self) -> int:
        """Cells over which DARK blurs: mmpose's rule, (20σ − 7) // 3 made odd (11 for σ = 2, 17 for σ = 3)."""
        half = (int((20 * self.sigma - 7) // 3) - 1) // 2
        return 2 * min(max(half, 1), 63) + 1

    def decode(
        self,
        heatmaps: NDArray[np.floating],  # [N, K, h, w]
        affine: Float | None = None,  # [N, 2, 3] crop → frame; None: pixels of the crop
        refine: str = "quarter",
        flipped: tuple[NDArray[np.floating], NDArray[np.int64]] | None = None,  # [N, K, h, w], [K]
    ) -> tuple[Float, Float]:  # [N, K, 2], [N, K]
        """Coordinates, and the maps' peaks in [0, 1], by `edgepose.ops.heatmap_decode`.

        `flipped`: the maps of the mirrored crops, and which keypoint of them is which; the mean of both is read.
        """
        shift = np.full(2, self.cell_offset, np.float32)
        if flipped is not None:
            heatmaps, beside = self._mirrored_mean(heatmaps, *flipped)
            shift[0] += beside
        keypoints, peaks = ops.heatmap_decode(
            heatmaps,
            input_size=self.input_size,
            refine=refine,
            blur=self.blur,
            affine=_behind(affine, shift, len(heatmaps)),
        )
        return keypoints, np.minimum(peaks, 1)

    def _mirrored_mean(
        self, heatmaps: NDArray[np.floating], mirrored: NDArray[np.floating], swap: NDArray[np.int64]
    ) -> tuple[Float, float]:
        """Mean of the maps and of the mirrored ones turned back, and the pixels that points lie right of its peaks.

        Turned back, cell i of the mirrored map is centered s − 1 − 2·offset pixels right of the other's. Moved by the
        nearest whole number of cells (one, for nets of mmpose's convention, as SimpleBaseline does), the rest stays:
        half of it shows in the mean.
        """
        width = heatmaps.shape[-1]
        stride = self.input_size[0] / width
        apart = stride - 1 - 2 * self.cell_offset
        cells = round(apart / stride)
        columns = width - 1 - np.clip(np.arange(width) - cells, 0, width - 1)
        back = mirrored[:, swap][..., columns]
        mean: Float = np.float32(0.5) * (heatmaps.astype(np.float32) + back.astype(np.float32))
        return mean, (apart - cells * stride) / 2


def _behind(affine: Float | None, shift: Float, count: int) -> Float | None:
    """An affine [N, 2, 3] that moves points by `shift` [2] first; None where there is nothing to do."""
    if not shift.any():
        return affine
    moved = np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1)) if affine is None else affine.copy()
    moved[:, :, 2] += moved[:, :, :2] @ shift
    return moved
