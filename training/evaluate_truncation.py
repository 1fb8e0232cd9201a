"""Does a net reject points outside the image? `python training/evaluate_truncation.py MODEL --data DATA`

Images of upright people are cut at the waist: the net sees only the rows above it, and the box ends there. Reports the
share of cut-off labeled points whose score passes the model's threshold, and the share of visible labeled points whose
score does, by part. For the body it also reports other thresholds: given ones, and those that a given share of the
visible points passes, which compares nets with differently scaled scores.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from edgepose_training.command import command, output_file
from edgepose_training.data.coco import read_coco_wholebody
from edgepose_training.data.registry import find_files, sample_people
from edgepose_training.evaluation.predictors import make_predictor
from edgepose_training.evaluation.truncation import cut_at_waist, measure, report


@command(logging.WARNING)
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model name, .onnx file or .pt checkpoint")
    parser.add_argument("--data", type=Path, required=True, help="folder with annotations/ and images")
    parser.add_argument("--split", default="val", help="whose labels (default: val)")
    parser.add_argument("--limit", type=int, help="a random sample of so many people")
    parser.add_argument("--threads", type=int, help="CPU threads of the network")
    parser.add_argument("--json", type=output_file, help="write all figures here")
    args = parser.parse_args(argv)
    predictor = make_predictor(args.model, threads=args.threads)
    people = read_coco_wholebody(*find_files(args.data, args.split), predictor.skeleton, split=args.split)
    answers = cut_at_waist(sample_people(people, None, args.limit), predictor)
    figures = measure(answers, predictor.thresholds, predictor.skeleton)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))
    print(report(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
