"""Look at what goes wrong: `python training/contact_sheet.py MODEL --data ../shared/data -o sheet.png`.

Draws the people with the lowest OKS and a random sample, each as a pair: the prediction left, the label
right. The caption names source, annotation and OKS. Points that the model itself holds for absent (score
below `--threshold`) are not drawn; a label shows every labelled point.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgepose import EdgeposeError, Poses, Skeleton
from edgepose.draw import draw_poses
from edgepose.transforms import apply_affine, bbox_to_center_scale, crop_affine
from edgepose_training.datasets import Person, read_coco_wholebody
from edgepose_training.evaluate import chosen
from edgepose_training.labels import Labels, Predictions
from edgepose_training.people import find_files
from edgepose_training.predictors import make_predictor, predict
from edgepose_training.summary import part_oks, part_slices

PANEL = (180, 240)  # W, H px of one of the two pictures of a pair
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
    """Prediction and label of one person side by side, [H, 2 W, 3] of `PANEL`; `black` leaves the picture out."""
    center, scale = bbox_to_center_scale(person.bbox[None], aspect=PANEL[0] / PANEL[1], padding=VIEW)
    affine = crop_affine(center, scale, PANEL)
    view = cv2.warpAffine(frame, affine[0], PANEL, flags=cv2.INTER_AREA, borderValue=GROUND)
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
    """A grid of captioned pictures of equal size."""
    height, width = cells[0][0].shape[:2]
    rows = -(-len(cells) // columns)
    canvas = np.full((rows * (height + CAPTION), columns * (width + 2), 3), GROUND, np.uint8)
    for number, (picture, caption) in enumerate(cells):
        top, left = number // columns * (height + CAPTION), number % columns * (width + 2)
        canvas[top + CAPTION : top + CAPTION + height, left : left + width] = picture
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
        frame = cv2.imread(str(person.image), cv2.IMREAD_COLOR)
        picture = pair(
            frame, person, predictions.keypoints[pick.row], predictions.scores[pick.row], skeleton,
            threshold=threshold, black=black,
        )  # fmt: skip
        cells.append((picture, f"{person.source} {person.annotation_id}  OKS {pick.oks:.2f}"))
    return sheet(cells, columns)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model name, .onnx file or .pt checkpoint")
    parser.add_argument("--data", type=Path, required=True, help="folder with annotations/ and images/")
    parser.add_argument("--split", default="val")
    parser.add_argument("--source", action="append", help="people of this source only (may be repeated)")
    parser.add_argument(
        "--input-size", type=int, nargs=2, metavar=("W", "H"), help="of a checkpoint in half-size epochs"
    )
    parser.add_argument("--part", default="wholebody", help="rank by this part (default: wholebody)")
    parser.add_argument("--worst", type=int, default=24, help="so many people of lowest OKS")
    parser.add_argument("--random", type=int, default=16, help="so many people at random, after them")
    parser.add_argument("--limit", type=int, help="look at a random sample of so many people only")
    parser.add_argument("--threshold", type=float, default=0.3, help="score from which a predicted point is drawn")
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--black", action="store_true", help="skeletons on black, without the pictures")
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG or JPEG")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        predictor = make_predictor(args.model, input_size=tuple(args.input_size) if args.input_size else None)
        picture = _sheet_of(args, predictor)
    except EdgeposeError as error:
        print(error, file=sys.stderr)
        return 2
    args.output.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(args.output), picture):
        print(f"{args.output}: cannot write the picture.", file=sys.stderr)
        return 2
    print(f"{args.output}: {picture.shape[1]} × {picture.shape[0]} px, prediction left, label right")
    return 0


def _sheet_of(args: argparse.Namespace, predictor) -> np.ndarray:
    skeleton = predictor.skeleton
    if args.part not in part_slices(skeleton):
        raise EdgeposeError(f"There is no part {args.part!r}: name one of {', '.join(part_slices(skeleton))}.")
    people = read_coco_wholebody(*find_files(args.data, args.split), skeleton, split=args.split)
    people, (predictions,) = predict(chosen(people, args.source, args.limit), [predictor])
    labels = Labels.of(people)
    oks = part_oks(labels, predictions, skeleton, part_slices(skeleton)[args.part], labels.visible)
    picks = worst(oks, args.worst) + sample(oks, args.random)
    if not picks:
        raise EdgeposeError(f"Nobody in {args.split} has a labelled point of {args.part!r}.")
    return draw(picks, people, predictions, skeleton, columns=args.columns, threshold=args.threshold, black=args.black)


if __name__ == "__main__":
    sys.exit(main())
