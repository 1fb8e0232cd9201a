"""Fit the scores that the app shows: `python training/calibrate.py runs/t/best.pt --data DATA -o scores.json`

A net's raw score compares the spread of its softmax with that of an ideal label. It measures how narrow the
distribution is, not how often the point is correct. This command maps it, part by part, to the share of correct points;
a point is correct if its own OKS is at least `--right`. All points in images without people count as wrong. The map is
the centered isotonic regression of correctness on score, thinned to a few knots. Put it into the card with
`training/export.py … --card scores.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from edgepose import EdgeposeError
from edgepose.images import read_image
from edgepose.runtime import Session
from edgepose_training.command import command, output_file
from edgepose_training.data.coco import read_coco_wholebody
from edgepose_training.data.registry import empty_images, find_files, sample_people
from edgepose_training.evaluation.calibration import (
    Calibration,
    Observations,
    Rows,
    calibrate,
    observe,
    plot,
    reliabilities,
)
from edgepose_training.evaluation.checkpoint_predictors import CheckpointSession
from edgepose_training.evaluation.predictors import CropPredictor


def _observed(args: argparse.Namespace, split: str, predictor: CropPredictor) -> Observations:
    """A sample of a split's people, and an eighth as many of its images without people."""
    people = read_coco_wholebody(*find_files(args.data, split), predictor.skeleton)
    empty = islice(empty_images(args.data, split), max(args.people // 8, 1))
    return observe(predictor, sample_people(people, None, args.people), _readable(empty), args.right)


def _readable(paths: Iterable[Path]) -> Iterator[np.ndarray]:
    for path in paths:
        with suppress(EdgeposeError):
            yield read_image(path)


def run(args: argparse.Namespace) -> tuple[Calibration, dict[str, Rows]]:
    """The card's entry, and how well it holds on the other split."""
    make = CheckpointSession if args.model.suffix == ".pt" else Session
    session = make(args.model, args.device, args.threads)
    if session.card is None or not session.card.relative:
        raise EdgeposeError(f"{args.model} has no card with beta and sigma: its raw scores cannot be calibrated.")
    session.card = replace(session.card, calibration={})
    predictor = CropPredictor(args.model.stem, session)
    calibration = calibrate(_observed(args, args.split, predictor), predictor.skeleton)
    return calibration, reliabilities(_observed(args, args.check, predictor), calibration, predictor.skeleton)


@command()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a .pt checkpoint or an .onnx file with a card")
    parser.add_argument("--data", type=Path, required=True, help="folder with annotations/ and images/")
    parser.add_argument("-o", "--output", type=output_file, required=True, help="JSON with entries of the card")
    parser.add_argument("--split", default="train", help="split to fit on")
    parser.add_argument("--check", default="val", help="split to check on")
    parser.add_argument("--people", type=int, default=1500, help="sample of each split")
    parser.add_argument("--right", type=float, default=0.2, help="OKS of a point from which it is right")
    parser.add_argument("--plot", type=output_file, help="reliability on --check as an image (PNG, SVG)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args(argv)
    calibration, rows = run(args)
    args.output.write_text(json.dumps({"calibration": calibration}) + "\n")
    if args.plot:
        plot(rows, args.plot)
    for part, row in rows.items():
        cells = [f"{score:.2f}→{right:.2f} ({count})" for score, right, count in row]
        print(f"{part:10} score→right on {args.check}: {', '.join(cells)}")
    print(f"Wrote {args.output}: give it to training/export.py as --card")
    return 0


if __name__ == "__main__":
    sys.exit(main())
