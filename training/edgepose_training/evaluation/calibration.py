"""Calibration: from a net's raw score to the share of correct points, part by part.

A raw score measures how narrow the net's distribution is, not how often the point is correct. The map is the centered
isotonic regression of correctness on score, thinned to a few knots, for the card.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepose.skeletons import Skeleton
from edgepose_training.data.coco import Person
from edgepose_training.evaluation.labels import Labels
from edgepose_training.evaluation.predictors import ModelPredictor, predict
from edgepose_training.metrics.oks import keypoint_similarity

log = logging.getLogger("calibrate")


KNOTS = 12  # of each part's map: more only follow the noise
MIN_POINTS = 200  # labeled points of a part below which no map is fitted

Calibration = dict[str, list[list[float]]]  # part → [[score, …], [share right, …]], the card's entry
Rows = list[tuple[float, float, int]]  # mean score, share right, points


@dataclass(frozen=True)
class Observations:
    """What a net said of N people and of empty images, and whether it was right."""

    scores: np.ndarray  # [N, K] bare
    right: np.ndarray  # [N, K] bool
    counted: np.ndarray  # [N, K] bool: labeled, or known to be wrong


def observe(
    predictor: ModelPredictor,
    people: Sequence[Person],
    empty: Iterable[np.ndarray],  # [H, W, 3] BGR images without people
    right: float,
) -> Observations:
    """Bare scores on the labels' boxes and on whole empty images, whose points are all wrong.

    A point is right if its own OKS is at least `right`.
    """
    skeleton = predictor.skeleton
    people, (found,) = predict(people, [predictor])
    labels = Labels.of(people)
    similarity = keypoint_similarity(found.keypoints, labels.keypoints, labels.area, skeleton.sigmas)
    wrong = [predictor(frame, np.array([[0, 0, *frame.shape[1::-1]]], np.float32))[1][0] for frame in empty]
    scores = np.array(wrong).reshape(-1, skeleton.num_keypoints)
    return Observations(
        np.concatenate([found.scores, scores]),
        np.concatenate([similarity >= right, np.zeros(scores.shape, bool)]),
        np.concatenate([labels.visible > 0, np.ones(scores.shape, bool)]),
    )


def isotonic(scores: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rising steps nearest to `right` [M] over `scores` [M]: mean score, share right and points of each.

    A step counts at its middle: the line through the middles rises everywhere, so that no two scores become the same
    (centered isotonic regression, Oron and Flournoy, 2017).
    """
    from scipy.optimize import isotonic_regression

    values, place = np.unique(scores.astype(float), return_inverse=True)
    counts = np.bincount(place)
    steps = isotonic_regression(np.bincount(place, right.astype(float)) / counts, weights=counts)
    starts = steps.blocks[:-1]
    points = np.add.reduceat(counts, starts)
    return np.add.reduceat(values * counts, starts) / points, steps.x[starts], points


def fit(scores: np.ndarray, right: np.ndarray) -> list[list[float]]:
    """Knots [[score, …], [seen, …]] of a piecewise linear map from 0 to 1 for the card."""
    at, share, points = isotonic(scores, right)
    # Neighbouring steps are pooled to about as many points for each knot.
    group = ((np.cumsum(points) - points / 2) / len(scores) * KNOTS).astype(int)
    mass = np.bincount(group, points)
    at, share = (np.bincount(group, points * column)[mass > 0] / mass[mass > 0] for column in (at, share))
    knots = {0.0: 0.0} | {round(x, 5): round(y, 4) for x, y in zip(at.tolist(), share.tolist(), strict=True)}
    knots |= {1.0: max(knots.values())}
    return [list(knots), list(knots.values())]


def calibrate(seen: Observations, skeleton: Skeleton) -> Calibration:
    """Part → knots, for the parts with enough points."""
    fitted = {}
    for part, (start, stop) in skeleton.parts.items():
        mask = seen.counted[:, start:stop]
        if mask.sum() < MIN_POINTS:
            log.warning("%s: only %d points, its scores stay as they are", part, mask.sum())
            continue
        fitted[part] = fit(seen.scores[:, start:stop][mask], seen.right[:, start:stop][mask])
    return fitted


def reliabilities(seen: Observations, calibration: Calibration, skeleton: Skeleton) -> dict[str, Rows]:
    """How well the calibrated scores hold, by part."""
    rows = {}
    for part, (raw, shown) in calibration.items():
        start, stop = skeleton.parts[part]
        mask = seen.counted[:, start:stop]
        scores = np.interp(seen.scores[:, start:stop][mask], raw, shown)
        rows[part] = reliability(scores, seen.right[:, start:stop][mask])
    return rows


def reliability(seen: np.ndarray, right: np.ndarray, bins: int = 5) -> Rows:
    """(mean score, share right, points) of equal score ranges that hold any points."""
    ranges = np.minimum((seen * bins).astype(int), bins - 1)
    rows = [(seen[ranges == b], right[ranges == b]) for b in range(bins)]
    return [(float(s.mean()), float(r.mean()), len(s)) for s, r in rows if len(s)]


def plot(rows: Mapping[str, Rows], path: Path) -> None:
    """The reliability diagram: on the diagonal, a score of .8 is right in 80 % of cases. Areas: points."""
    from matplotlib.figure import Figure

    figure = Figure((5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.8", zorder=0)
    for part, ranges in rows.items():
        shown, right, counts = (np.array(column) for column in zip(*ranges, strict=True))
        axes.plot(shown, right, linewidth=1)
        axes.scatter(shown, right, 200 * counts / counts.sum(), label=part)
    axes.set(xlabel="score", ylabel="share of points that are right", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=110)
