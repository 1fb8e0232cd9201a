"""Measure a model on labeled people: `python training/evaluate.py MODEL --data DATA`.

MODEL is an `.onnx` file or the name of a shipped model, run by the app's runtime, or a checkpoint (`.pt`).
Boxes are ground truth (padding from the model's card, 1.25) or come from a detection file. The same run measures
baselines: the mean pose of the training people in each box, the mean face and hands in their true boxes, other models
(`--compare`), and the net that made the body labels (`--teachers`). Every mean and AP has a 95 % bootstrap interval
over images.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepose import EdgeposeError, Skeleton
from edgepose.modelcard import REFINES
from edgepose_training.command import command, output_file
from edgepose_training.data import sources
from edgepose_training.data.annotations import load_document
from edgepose_training.data.coco import Person, ReadReport, read_coco_wholebody
from edgepose_training.data.registry import find_files, sample_people
from edgepose_training.evaluation.baselines import TinyPose
from edgepose_training.evaluation.coco_results import results_of
from edgepose_training.evaluation.detections import detector_stats, read_boxes
from edgepose_training.evaluation.evaluator import evaluate, report, without_nan
from edgepose_training.evaluation.ignored import Ignored, ignored_of, image_files, unlabeled_people
from edgepose_training.evaluation.labels import Labels
from edgepose_training.evaluation.predictors import ModelPredictor, Predictor, make_predictor, tell_apart
from edgepose_training.evaluation.protocols import measure


def _read(args: argparse.Namespace, split: str, skeleton: Skeleton, report: ReadReport) -> list[Person]:
    annotations, images = _files(args, split)
    return read_coco_wholebody(
        annotations, images, skeleton, split=split, category=args.category, report=report
    )  # fmt: skip


def _files(args: argparse.Namespace, split: str) -> tuple[Path, Path]:
    """Labels and image folder of a split."""
    if split == args.split and args.annotations:
        return args.annotations, args.images or args.data / "images"
    annotations, images = find_files(args.data, split)
    return annotations, args.images or images


def _predictor(args: argparse.Namespace, model: str) -> ModelPredictor:
    size = tuple(args.input_size) if args.input_size else None
    return make_predictor(
        model, flip=args.flip, device=args.device, threads=args.threads, input_size=size, refine=args.refine
    )


def _predictors(args: argparse.Namespace) -> tuple[ModelPredictor, list[Predictor]]:
    """The model, and all that are measured: it, those beside it and the labeling net."""
    first, *others = (_predictor(args, model) for model in (args.model, *args.compare))
    predictors: list[Predictor] = [first, *others]
    if args.teachers:
        predictors.append(TinyPose(args.teachers, first.skeleton, args.threads))
    tell_apart(predictors)
    for other in others:
        if other.skeleton.keypoints != first.skeleton.keypoints:
            raise EdgeposeError(f"{other.name} has other keypoints than {first.name}: compare them apart.")
    return first, predictors


def _by_protocol(args: argparse.Namespace) -> dict[str, Any]:
    if not (args.annotations and args.images):
        raise EdgeposeError(f"--protocol {args.protocol} needs --annotations and --images.")
    if args.results:
        raise EdgeposeError(f"--results are COCO-WholeBody's: not with --protocol {args.protocol}.")
    boxes = None if args.boxes == "gt" else Path(args.boxes)
    where = args.annotations, args.images
    return measure(args.protocol, _predictor(args, args.model), *where, boxes=boxes, head_boxes=args.head_boxes)


def _in_own_boxes(
    args: argparse.Namespace, predictors: list[Predictor], people: list[Person], skeleton: Skeleton, ignored: Ignored
) -> tuple[dict[str, Any], Labels, list[dict[str, Any]]]:
    """Figures by predictor, what they were measured on, and the first one's results."""
    train = None if args.no_baselines else _read(args, "train", skeleton, ReadReport())
    figures, labels, predictions = evaluate(
        predictors, people, train, skeleton, sources.of_command(args),
        ignored=ignored, intervals=not args.no_intervals,
    )  # fmt: skip
    results = results_of(labels.image_id, labels.bbox, np.ones(len(labels)), predictions, skeleton)
    return {"predictors": figures}, labels, results


def _in_detected_boxes(
    args: argparse.Namespace, model: ModelPredictor, everyone: list[Person], chosen: list[Person], ignored: Ignored
) -> tuple[dict[str, Any], Labels, list[dict[str, Any]]]:
    """Figures on a detector's boxes, what they were measured on, and the results."""
    annotations, folder = _files(args, args.split)
    document = load_document(annotations)
    images = image_files(document, folder)
    if len(chosen) < len(everyone):  # their images, with everybody in them
        images = {image: images[image] for image in dict.fromkeys(person.image_id for person in chosen)}
    labels = Labels.of([person for person in everyone if person.image_id in images])
    ignored = replace(ignored, regions=[*ignored.regions, *unlabeled_people(document, everyone, model.skeleton)])
    boxes = read_boxes(Path(args.boxes))
    figures, results = detector_stats(
        model, boxes, images, labels, model.skeleton, ignored, intervals=not args.no_intervals
    )
    return {"detector": figures}, labels, results


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The whole evaluation as a JSON-ready record."""
    if args.protocol:
        return {"model": args.model, "flip": args.flip, args.protocol: _by_protocol(args)}
    if not args.data:
        raise EdgeposeError("Give the folder with annotations/ and images/ as --data, or a --protocol.")
    model, predictors = _predictors(args)
    reading = ReadReport()
    everyone = _read(args, args.split, model.skeleton, reading)
    chosen = sample_people(everyone, args.source, args.limit)
    ignored = ignored_of(load_document(_files(args, args.split)[0]), everyone, model.skeleton)
    record: dict[str, Any] = {
        "model": args.model, "split": args.split, "flip": args.flip, "skipped": dict(reading.skipped),
        "boxes": "ground truth" if args.boxes == "gt" else args.boxes,
    }  # fmt: skip
    if args.boxes == "gt":
        figures, labels, results = _in_own_boxes(args, predictors, chosen, model.skeleton, ignored)
    else:
        figures, labels, results = _in_detected_boxes(args, model, everyone, chosen, ignored)
    record |= figures | {"people": len(labels), "images": len(np.unique(labels.image_id))}
    if args.results:
        args.results.write_text(json.dumps(results))
    return record


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model name, .onnx file or .pt checkpoint")
    parser.add_argument("--data", type=Path, help="folder of COCO-WholeBody, or with annotations/ and images/")
    parser.add_argument(
        "--protocol",
        choices=("crowdpose", "mpii", "lsp"),
        help="another set, measured its own way; with --annotations (JSON or .mat) and --images",
    )
    parser.add_argument("--head-boxes", type=Path, help="MPII's .mat with headboxes_src, the unit of PCKh")
    parser.add_argument("--split", default="val", help="train, val, … (default: val)")
    parser.add_argument("--annotations", type=Path, help="annotation file, where DATA does not tell")
    parser.add_argument("--images", type=Path, help="image folder, where DATA does not tell")
    parser.add_argument("--category", help="name or id of the category to read, where the labels have several")
    parser.add_argument("--source", action="append", help="people of this source only (may be repeated)")
    sources.add_argument(parser)
    parser.add_argument("--boxes", default="gt", help="gt, or a COCO detection file (JSON): AP only; CrowdPose too")
    parser.add_argument("--flip", action="store_true", help="average with the mirrored image")
    parser.add_argument(
        "--refine",
        choices=REFINES["heatmap"],
        help="how points are read off between cells or bins (default: the card's): the highest alone, a quarter of a "
        "cell towards its higher neighbor (heat maps only), or DARK",
    )
    parser.add_argument("--compare", action="append", default=[], help="another model beside it (may be repeated)")
    parser.add_argument("--teachers", type=Path, help="folder with the net that made the body labels")
    parser.add_argument("--no-baselines", action="store_true", help="leave out the mean pose, face and hands")
    parser.add_argument("--no-intervals", action="store_true", help="COCO's AP without its bootstrap interval (faster)")
    parser.add_argument("--limit", type=int, help="a random sample of so many people; with --boxes, their images")
    parser.add_argument(
        "--input-size", type=int, nargs=2, metavar=("W", "H"), help="of a checkpoint in half-size epochs"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    parser.add_argument("--threads", type=int, help="CPU threads of the network")
    parser.add_argument("--json", type=output_file, help="write all figures here")
    parser.add_argument("--results", type=output_file, help="write the predictions here, as COCO-WholeBody results")
    return parser.parse_args(argv)


@command(logging.WARNING)
def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    record = run(args)
    text = json.dumps(without_nan(record), indent=1)
    if args.json:
        args.json.write_text(text)
    print(text if args.protocol else report(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
