"""People drawn in pairs, the prediction left and the label right: those of the lowest OKS, or a random sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edgepose import Poses, Skeleton
from edgepose.draw import draw_poses
from edgepose.images import read_image
from edgepose.transforms import apply_affine, bbox_to_center_scale, crop_affine
from edgepose_training.data.coco import Person
from edgepose_training.evaluation.labels import Predictions

PANEL = (180, 240)  # W, H px of one of the two images of a pair


CAPTION = 18  # px


VIEW = 1.5  # of the box: shows what stands around, and points that ran away


GROUND = (32, 32, 32)  # BGR


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
        poses = Poses(
            keypoints=apply_affine(affine, points[None]),
            scores=np.asarray(shown, np.float32)[None],
            bboxes=np.array([[0, 0, *PANEL]], np.float32),
            track_ids=np.array([-1]),
            bbox_scores=np.ones(1, np.float32),
        )
        sides.append(draw_poses(view, poses, skeleton, threshold=limit, background=0.0 if black else 1.0))
    return np.hstack(sides)


def sheet(cells: Sequence[tuple[np.ndarray, str]], columns: int) -> np.ndarray:
    """A grid of captioned images of equal size."""
    height, width = cells[0][0].shape[:2]
    rows = -(-len(cells) // columns)
    canvas = np.full((rows * (height + CAPTION), columns * (width + 2), 3), GROUND, np.uint8)
    for number, (image, caption) in enumerate(cells):
        top, left = number // columns * (height + CAPTION), number % columns * (width + 2)
        canvas[top + CAPTION : top + CAPTION + height, left : left + width] = image
        cv2.putText(
            canvas, caption, (left + 3, top + 13), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (230, 230, 230), 1, cv2.LINE_AA
        )
    return canvas


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
