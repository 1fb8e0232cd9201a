"""What the scores of a trained net are relative to: how wide its answer is where the point may lie anywhere near.

A net that has learned what can be learned answers with the mean of its labels over the places where the point may be.
How much of the softmax that spreads over differs from label to label: a smoothed one is flat to a tenth, one at β = 1
almost all over. So the place's uncertainty is what is scored: 1 / √(1 + (s / s₀)²) for a standard deviation of s
pixels, whatever kind, β and number of bins the labels have. s₀ is the width of RTMPose's labels under its softmax.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from edgepose.ops import simcc_decode, simcc_encode
from edgepose_training.config import Config

SOFTENED = ("rtmpose", "wholebody")  # losses whose target is softmax(β · label); SimCC's take the label itself
AS_THE_LABEL = 0.95  # score of an answer as narrow as the label; what is narrower still ranks above it, up to 1
FLAT = 0.1  # share of the ideal score that an answer without any information may have
Knots = dict[str, list[list[float]]]


def label_beta(config: Config) -> float:
    """The multiplier of the logits in the softmax that the label loss sees."""
    return config.beta if config.label_loss in SOFTENED else 1.0


def score_knots(config: Config) -> Knots:
    """The card's entry; empty for labels that `simcc_decode` itself knows, Gaussians under RTMPose's softmax."""
    targets = _targets(config)
    rtmposes = config.label_loss in SOFTENED and config.label_kind == "gaussian" and not config.label_normalize
    if rtmposes and all(1 / len(target) < FLAT * _bare(target) for target in targets):
        return {}
    widths = [config.split_ratio * sqrt(side / 320) for side in config.input_size]
    return {axis: _knots(target, width) for axis, target, width in zip("xy", targets, widths, strict=True)}


def _targets(config: Config) -> list[np.ndarray]:
    """What the softmax of each axis learns for a point in the middle, [Wx] and [Wy]; sums are 1."""
    middle = [[[(int(side * config.split_ratio) // 2) / config.split_ratio for side in config.input_size]]]
    rows = simcc_encode(
        np.array(middle, np.float64), np.ones((1, 1)), input_size=config.input_size, split_ratio=config.split_ratio,
        sigma=config.sigma, kind=config.label_kind, center=config.label_center, normalize=config.label_normalize,
        smoothing=config.label_smoothing,
    )[:2]  # fmt: skip
    softened = config.label_loss in SOFTENED
    targets = [row[0, 0].astype(np.float64) for row in rows]
    targets = [np.exp(config.beta * (row - row.max())) if softened else row for row in targets]
    return [row / row.sum() for row in targets]


def _knots(target: np.ndarray, width: float) -> list[list[float]]:
    """[[bare, …], [score, …]] of one axis; `width` is s₀ in bins."""
    bins = len(target)
    widest = max(bins / 4, 2 * width)
    knots = {1 / bins: 0.0}
    for s in (*np.geomspace(widest, width / 8, 16).tolist(), 0.0):
        bare = _bare(_blurred(target, s))
        if bare > max(knots) * (1 + 1e-6):
            knots[bare] = AS_THE_LABEL / sqrt(1 + (s / width) ** 2)
    knots = {bare: score for bare, score in knots.items() if bare < 1 - 1e-6} | {1.0: 1.0}
    return [[float(f"{bare:.8g}") for bare in knots], [round(score, 5) for score in knots.values()]]


def _blurred(target: np.ndarray, s: float) -> np.ndarray:
    """The mean of a target over places that are normally distributed, `s` bins wide; a ring, so that no edge counts."""
    if s == 0:
        return target
    steps = np.fft.fftfreq(len(target))
    blurred = np.fft.ifft(np.fft.fft(target) * np.exp(-2 * (np.pi * s * steps) ** 2)).real
    return np.maximum(blurred, 0)


def _bare(distribution: np.ndarray) -> float:
    """e to minus the entropy, as `simcc_decode` scores logits of it."""
    logits = np.log(np.maximum(distribution, 1e-30)).astype(np.float32)[None, None]
    return float(simcc_decode(logits, logits, score="entropy")[1][0, 0])
