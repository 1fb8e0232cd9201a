"""People drawn in pairs, the prediction left and the label right: those of the lowest OKS, or a random sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edgepose import Skeleton
from edgepose.images import read_image
from edgepose.transforms import apply_affine, bbox_to_center_scale, crop_affine
from edgepose_training.data.coco import Person
from edgepose_training.data.pictures import GROUND, drawn, sheet
from edgepose_training.evaluation.labels import Predictions

PANEL = (180, 240)  # W, H px of one of the two images of a pair


VIEW = 1.5  # of the box: shows what stands around, and points that ran away


@dataclass(frozen=True)
class Pick:
    """A person on the sheet."""

    row: int  # in the labels
    oks: float


def worst(oks: np.ndarray, count: int) -> list[Pick]:
    """The lowest defined values of OKS [N], lowest first."""
    order = np.argsort(oks, kind="stable")  # NaN sorts last
    return [Pick(int(row), float(oks[row])) for row in order[:count] if np.isfinite(oks[row])]


def sample(oks: np.ndarray, count: int, seed: int = 0) -> list[Pick]:
    """People drawn at random from those with a defined OKS [N]."""
    defined = np.flatnonzero(np.isfinite(oks))
    rows = np.random.default_rng(seed).permutation(defined)[:count]
    return [Pick(int(row), float(oks[row])) for row in rows]


def pair(
    frame: np.ndarray,  # [H, W, 3] uint8 BGR
    person: Person,
    keypoints: np.ndarray,  # [K, 2] px
    scores: np.ndarray,  # [K]
    skeleton: Skeleton,
    *,
    threshold: float = 0.3,
    black: bool = False,
) -> np.ndarray:
    """Prediction and label of one person side by side, [H, 2 W, 3] of `PANEL`; `black` leaves the image out."""
    center, scale = bbox_to_center_scale(person.bbox[None], aspect=PANEL[0] / PANEL[1], padding=VIEW)
    affine = crop_affine(center, scale, PANEL)
    view: np.ndarray = cv2.warpAffine(frame, affine[0], PANEL, flags=cv2.INTER_AREA, borderValue=GROUND)
    sides = []
    for points, shown, limit in ((keypoints, scores, threshold), (person.keypoints, person.visible > 0, 0.5)):
        placed = apply_affine(affine, points[None])[0]
        sides.append(drawn(view, placed, shown, skeleton, threshold=limit, black=black))
    return np.hstack(sides)


def draw(
    picks: Sequence[Pick],
    people: Sequence[Person],
    predictions: Predictions,
    skeleton: Skeleton,
    *,
    columns: int = 4,
    threshold: float = 0.3,
    black: bool = False,
) -> np.ndarray:
    """The sheet of these people, best read from left to right."""
    cells = []
    for pick in picks:
        person = people[pick.row]
        image = pair(
            read_image(person.image), person, predictions.keypoints[pick.row], predictions.scores[pick.row], skeleton,
            threshold=threshold, black=black,
        )  # fmt: skip
        cells.append((image, f"{person.source} {person.annotation_id}  OKS {pick.oks:.2f}"))
    return sheet(cells, columns)
