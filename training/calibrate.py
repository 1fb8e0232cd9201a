"""Fit the scores that people see: `python training/calibrate.py runs/t/best.pt --data DATA -o scores.json`

A net's bare score, over how few bins its softmax spreads relative to an ideal label's, says how narrow the net's belief
is, not how often it is right. Here it is mapped, part by part, to the share of points that are right: a point is
right if its own OKS is at least `--right`. Images without people count as points that are all wrong. The map
is the centered isotonic regression of right on score, thinned to a few knots; it goes into the card with
`training/export.py … --card scores.json`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from edgepose import EdgeposeError
from edgepose.modelcard import RELATIVE
from edgepose.runtime import Session
from edgepose_training.data.coco import load_json, read_coco_wholebody
from edgepose_training.data.registry import find_files, sample_people
from edgepose_training.evaluation.calibration import calibrate, plot, reliability
from edgepose_training.evaluation.checkpoint_predictors import CheckpointSession
from edgepose_training.evaluation.labels import Labels
from edgepose_training.evaluation.predictors import CropPredictor, predict


def _observations(args: argparse.Namespace, split: str, predictor: CropPredictor) -> tuple[np.ndarray, ...]:
    """Bare scores, right and counted, each [N, K], of a split's people and empty images."""
    skeleton = predictor.skeleton
    people = read_coco_wholebody(*find_files(args.data, split), skeleton)
    people, (found,) = predict(sample_people(people, None, args.people), [predictor])
    labels = Labels.of(people)
    distance = np.linalg.norm(found.keypoints - labels.keypoints, axis=2)
    spread = 2 * (2 * skeleton.sigmas[None]) ** 2 * labels.area[:, None]
    right = np.exp(-(distance**2) / spread) >= args.right
    empty = np.array(list(_empty_scores(args, split, predictor, max(args.people // 8, 1))))
    empty = empty.reshape(-1, skeleton.num_keypoints)
    scores = np.concatenate([found.scores, empty])
    counted = np.concatenate([labels.visible > 0, np.ones(empty.shape, bool)])
    return scores, np.concatenate([right, np.zeros(empty.shape, bool)]), counted


def _empty_scores(args: argparse.Namespace, split: str, predictor: CropPredictor, limit: int) -> Iterator[np.ndarray]:
    path = args.data / "annotations" / "negatives.json"
    images = [i for i in load_json(path)["images"] if i.get("split", split) == split] if path.is_file() else []
    for image in images[:limit]:
        frame = cv2.imread(str(args.data / "images" / image["file_name"]), cv2.IMREAD_COLOR)
        if frame is not None:
            height, width = frame.shape[:2]
            yield predictor(frame, np.array([[0, 0, width, height]], np.float32))[1][0]


def run(args: argparse.Namespace) -> dict[str, dict[str, list[list[float]]]]:
    """The card's entries; prints how well they hold on the other split."""
    make = CheckpointSession if args.model.suffix == ".pt" else Session
    session = make(args.model, args.device, args.threads)
    if session.card is None or session.card.score not in RELATIVE:
        raise EdgeposeError(f"{args.model} has no card with beta and sigma: its raw scores cannot be calibrated.")
    session.card = replace(session.card, calibration={})
    predictor = CropPredictor(args.model.stem, session)
    calibration = calibrate(*_observations(args, args.split, predictor), predictor.skeleton)
    scores, right, counted = _observations(args, args.check, predictor)
    rows = {}
    for part, (raw, seen) in calibration.items():
        start, stop = predictor.skeleton.parts[part]
        mask = counted[:, start:stop]
        shown = np.interp(scores[:, start:stop][mask], raw, seen)
        rows[part] = reliability(shown, right[:, start:stop][mask])
        cells = [f"{s:.2f}→{r:.2f} ({n})" for s, r, n in rows[part]]
        print(f"{part:10} score→right on {args.check}: {', '.join(cells)}")
    if args.plot:
        plot(rows, args.plot)
    return {"calibration": calibration}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a .pt checkpoint or an .onnx file with a card")
    parser.add_argument("--data", type=Path, required=True, help="folder with annotations/ and images/")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON with entries of the card")
    parser.add_argument("--split", default="train", help="split to fit on")
    parser.add_argument("--check", default="val", help="split to check on")
    parser.add_argument("--people", type=int, default=1500, help="sample of each split")
    parser.add_argument("--right", type=float, default=0.2, help="OKS of a point from which it is right")
    parser.add_argument("--plot", type=Path, help="reliability on --check as an image (PNG, SVG)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        args.output.write_text(json.dumps(run(args)) + "\n")
    except EdgeposeError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Wrote {args.output}: give it to training/export.py as --card")
    return 0


if __name__ == "__main__":
    sys.exit(main())
