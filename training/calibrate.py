"""Fit the scores that people see: `python training/calibrate.py runs/t/best.pt --data ../shared/data -o scores.json`

A net's bare score, over how few bins its softmax spreads relative to an ideal label's, says how narrow the net's belief
is, not how often it is right. Here it is mapped, part by part, to the share of points that are right: a point is
right if its own OKS is at least `--right`. Pictures without people count as points that are all wrong. The map
is the centred isotonic regression of right on score, thinned to a few knots; it goes into the card with
`training/export.py … --card scores.json`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from edgepose import EdgeposeError
from edgepose.modelcard import RELATIVE
from edgepose.runtime import Session
from edgepose.skeletons import Skeleton
from edgepose_training.checkpoint_predictors import CheckpointSession
from edgepose_training.datasets import load_json, read_coco_wholebody
from edgepose_training.evaluate import chosen
from edgepose_training.labels import Labels
from edgepose_training.people import find_files
from edgepose_training.predictors import CropPredictor, predict

log = logging.getLogger("calibrate")

KNOTS = 12  # of each part's map: more only follow the noise
MIN_POINTS = 200  # labelled points of a part below which no map is fitted


def isotonic(scores: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rising steps nearest to `right` [M] over `scores` [M]: mean score, share right and points of each.

    Pool adjacent violators. A step counts at its middle: the line through the middles rises everywhere, so that no two
    scores become the same (centred isotonic regression, Oron and Flournoy, 2017).
    """
    values, place = np.unique(scores.astype(float), return_inverse=True)
    counts = np.bincount(place)
    means = np.bincount(place, right.astype(float)) / counts
    steps: list[tuple[float, float, int]] = []
    for here in zip(values.tolist(), means.tolist(), counts.tolist(), strict=True):
        while steps and steps[-1][1] >= here[1]:
            before = steps.pop()
            count = before[2] + here[2]
            here = (
                (before[0] * before[2] + here[0] * here[2]) / count,
                (before[1] * before[2] + here[1] * here[2]) / count,
                count,
            )
        steps.append(here)
    at, share, points = (np.array(column) for column in zip(*steps, strict=True))
    return at, share, points


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
    counted: np.ndarray,  # [N, K] bool: labelled, or known to be wrong
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


def _observations(args: argparse.Namespace, split: str, predictor: CropPredictor) -> tuple[np.ndarray, ...]:
    """Bare scores, right and counted, each [N, K], of a split's people and empty pictures."""
    skeleton = predictor.skeleton
    people = read_coco_wholebody(*find_files(args.data, split), skeleton)
    people, (found,) = predict(chosen(people, None, args.people), [predictor])
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
    parser.add_argument("--plot", type=Path, help="reliability on --check as a picture (PNG, SVG)")
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
