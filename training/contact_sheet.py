"""Show the worst predictions: `python training/contact_sheet.py MODEL --data DATA -o sheet.png`.

Draws the people with the lowest OKS and a random sample, each as a pair: prediction on the left, label on the right.
The caption gives source, annotation and OKS. Predicted points with a score below `--threshold` are not drawn; the label
shows every labeled point.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import cv2
import numpy as np

from edgepose import EdgeposeError
from edgepose_training.command import command, output_file
from edgepose_training.data.coco import read_coco_wholebody
from edgepose_training.data.registry import find_files, sample_people
from edgepose_training.evaluation.contact_sheets import draw, sample, worst
from edgepose_training.evaluation.labels import Labels
from edgepose_training.evaluation.predictors import ModelPredictor, make_predictor, predict
from edgepose_training.evaluation.summaries import part_oks, part_slices


@command(logging.WARNING)
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
    parser.add_argument("--black", action="store_true", help="skeletons on black, without the images")
    parser.add_argument("-o", "--output", type=output_file, required=True, help="PNG or JPEG")
    args = parser.parse_args(argv)
    predictor = make_predictor(args.model, input_size=tuple(args.input_size) if args.input_size else None)
    sheet = _sheet_of(args, predictor)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(args.output), sheet):
        raise EdgeposeError(f"{args.output}: cannot write the image.")
    print(f"{args.output}: {sheet.shape[1]} × {sheet.shape[0]} px, prediction left, label right")
    return 0


def _sheet_of(args: argparse.Namespace, predictor: ModelPredictor) -> np.ndarray:
    skeleton = predictor.skeleton
    if args.part not in part_slices(skeleton):
        raise EdgeposeError(f"There is no part {args.part!r}: name one of {', '.join(part_slices(skeleton))}.")
    people = read_coco_wholebody(*find_files(args.data, args.split), skeleton, split=args.split)
    people, (predictions,) = predict(sample_people(people, args.source, args.limit), [predictor])
    labels = Labels.of(people)
    oks = part_oks(labels, predictions, skeleton, part_slices(skeleton)[args.part], labels.visible)
    picks = worst(oks, args.worst) + sample(oks, args.random)
    if not picks:
        raise EdgeposeError(f"Nobody in {args.split} has a labeled point of {args.part!r}.")
    return draw(picks, people, predictions, skeleton, columns=args.columns, threshold=args.threshold, black=args.black)


if __name__ == "__main__":
    sys.exit(main())
