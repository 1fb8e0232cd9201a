"""Does a net reject keypoints outside the image? Images and boxes of upright people are cut at the waist.

The share of the cut-off labeled keypoints whose score still passes the threshold, and of the visible ones whose score
does, by part and, for the body, at other thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.data.coco import Person
from edgepose_training.evaluation.predictors import ModelPredictor, frames

TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


ABOVE_HIPS = 0.15  # of the torso's length: where the waist is


LEAN = 0.5  # sideways over down, of a torso that still counts as upright


LEAST = 24  # px of torso: less of a person is no image to be cut


VISIBLE = (0.5, 0.8, 0.9)  # shares of the visible body points


GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True)
class Answers:
    """Scores of M people cut at the waist."""

    scores: np.ndarray  # [M, K]
    visible: np.ndarray  # [M, K] bool: labeled, above the cut and inside the image
    cut_off: np.ndarray  # [M, K] bool: labeled, below the cut


def waist(person: Person, skeleton: Skeleton) -> float | None:
    """Row of the image at which an upright person is cut; None for the others."""
    rows = [skeleton.keypoints.index(name) for name in TORSO]
    if not (person.visible[rows] > 0).all():
        return None
    shoulders, hips = person.keypoints[rows].reshape(2, 2, 2).mean(axis=1)
    across, down = (hips - shoulders).tolist()
    if down < LEAST or abs(across) > LEAN * down:
        return None
    return float(hips[1] - ABOVE_HIPS * down)


def cut_at_waist(people: Sequence[Person], predictor: ModelPredictor) -> Answers:
    """The predictor's scores on the upper halves of the upright people."""
    rows = list(_rows(people, predictor))
    if not rows:
        raise EdgeposeError("nobody here stands upright with shoulders and hips labeled: choose other people")
    return Answers(*(np.stack(column) for column in zip(*rows, strict=True)))


def _rows(people: Sequence[Person], predictor: ModelPredictor) -> Iterator[tuple[np.ndarray, ...]]:
    for frame, group in frames(people):
        for person in group:
            at = waist(person, predictor.skeleton)
            if at is None or at - person.bbox[1] < LEAST:
                continue
            left = frame[: int(at)]
            box = np.minimum(person.bbox, [np.inf, np.inf, np.inf, at])
            _, scores = predictor(left, box[None].astype(np.float32))
            labeled, y = person.visible > 0, person.keypoints[:, 1]
            yield scores[0], labeled & (y < int(at)), labeled & (y > at)


def shares(answers: Answers, thresholds: np.ndarray, points: slice) -> dict[str, float]:
    """Share of the visible and of the cut-off points that pass, and how many points those are."""
    passing = (answers.scores >= thresholds)[:, points]
    result: dict[str, float] = {}
    for name, mask in (("visible", answers.visible[:, points]), ("cut_off", answers.cut_off[:, points])):
        result[name] = float(passing[mask].mean()) if mask.any() else float("nan")
        result[f"{name}_points"] = int(mask.sum())
    return result


def measure(answers: Answers, thresholds: np.ndarray, skeleton: Skeleton) -> dict[str, Any]:
    """By part and over all points at the model's thresholds [K]; for the body at other ones, too."""
    parts = {part: slice(start, stop) for part, (start, stop) in skeleton.parts.items()} | {"all": slice(None)}
    body = parts.get("body", slice(None))
    return {
        "people": len(answers.scores),
        "parts": {part: shares(answers, thresholds, points) for part, points in parts.items()},
        "body_at": {str(at): shares(answers, np.full(len(thresholds), at), body) for at in GRID},
        "body_where_visible_pass": {str(share): _where(answers, share, body) for share in VISIBLE},
    }


def _where(answers: Answers, share: float, points: slice) -> dict[str, float]:
    """`shares` at the threshold that this share of the visible points passes; with that `threshold`."""
    seen = answers.scores[:, points][answers.visible[:, points]]
    threshold = float(np.quantile(seen, 1 - share)) if seen.size else float("nan")
    return shares(answers, np.full(answers.scores.shape[1], threshold), points) | {"threshold": threshold}


def report(figures: dict[str, Any]) -> str:
    lines = [f"{figures['people']} people cut at the waist", "", "| points | visible pass | cut off pass |"]
    lines.append("| --- | --- | --- |")
    rows = figures["parts"] | {f"body at {at}": row for at, row in figures["body_at"].items()}
    rows |= {f"body at {row['threshold']:.3f}": row for row in figures["body_where_visible_pass"].values()}
    for name, row in rows.items():
        counts = {key: row[f"{key}_points"] for key in ("visible", "cut_off")}
        cells = [f"{100 * row[key]:.1f} % of {count}" if count else "–" for key, count in counts.items()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
