"""Scores that mean something: from a net's bare score to the share of points that are right, part by part.

A bare score says how narrow the net's belief is, not how often it is right. The map is the centered isotonic
regression of right on score, thinned to a few knots, for the card.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgepose.skeletons import Skeleton

log = logging.getLogger("calibrate")


KNOTS = 12  # of each part's map: more only follow the noise


MIN_POINTS = 200  # labeled points of a part below which no map is fitted


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


def calibrate(
    scores: np.ndarray,  # [N, K] bare
    right: np.ndarray,  # [N, K] bool
    counted: np.ndarray,  # [N, K] bool: labeled, or known to be wrong
    skeleton: Skeleton,
) -> dict[str, list[list[float]]]:
    """Part → knots, for the parts with enough points."""
    fitted = {}
    for part, (start, stop) in skeleton.parts.items():
        mask = counted[:, start:stop]
        if mask.sum() < MIN_POINTS:
            log.warning("%s: only %d points, its scores stay as they are", part, mask.sum())
            continue
        fitted[part] = fit(scores[:, start:stop][mask], right[:, start:stop][mask])
    return fitted


def reliability(seen: np.ndarray, right: np.ndarray, bins: int = 5) -> list[tuple[float, float, int]]:
    """(mean score, share right, points) of equal score ranges that hold any points."""
    ranges = np.minimum((seen * bins).astype(int), bins - 1)
    rows = [(seen[ranges == b], right[ranges == b]) for b in range(bins)]
    return [(float(s.mean()), float(r.mean()), len(s)) for s, r in rows if len(s)]


def plot(rows: Mapping[str, Sequence[tuple[float, float, int]]], path: Path) -> None:
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
