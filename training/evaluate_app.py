"""Measure who the app finds, and where it sees nobody's ghost: `python training/evaluate_app.py MODEL --data DATA`.

Runs detector, pose net and their joint decision as the app does, on single images of a split: images with people, and
the empty scenes of `negatives.json`. Three rows: the joint decision with crops turned for lying people, without,
and the pose net alone checking every detection. `--turn 90` turns all images first; `--frames 12` makes a clip of each.

`--fit rule.json` fits the decision's weights (`edgepose.decision.PersonRule`) instead, on the images of `--split` and
the empty scenes of `--scenes`; never give it val. The shipped weights were made with
`python training/evaluate_app.py edgepose-t --data SPLIT --split dev --scenes train dev --fit rule.json`, SPLIT from
`training/split.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edgepose import Detector, EdgeposeError, TopdownConfig, TopdownEstimator
from edgepose.decision import PersonRule
from edgepose.tracks import TrackerConfig
from edgepose_training.command import command
from edgepose_training.evaluation.found_people import find, find_in_clips, fit, looks_at, pictures_of, scenes_of


def make_rule(args: argparse.Namespace) -> PersonRule:
    """The weights that fit the split."""
    scenes = scenes_of(args.data, args.scenes or [args.split])
    pictures = pictures_of(args.data, args.split, args.pictures) + scenes
    detector = Detector(args.detector or "default", "cpu", args.lowest, threads=args.threads)
    looks = looks_at(_estimator(args, TopdownConfig()), detector, pictures)
    return fit(looks, len(scenes), args.allowed, args.lowest)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Counts of every way to decide, which are printed too."""
    quarters = args.turn // 90
    pictures = pictures_of(args.data, args.split, args.pictures, quarters)
    pictures += scenes_of(args.data, args.scenes or [args.split], quarters)
    rule = PersonRule(**json.loads(args.rule.read_text(encoding="utf-8"))) if args.rule else PersonRule()
    counts = {}
    for name, config in _ways(args, rule).items():
        estimator = _estimator(args, config)
        found = find_in_clips(estimator, pictures, args.frames) if args.frames else find(estimator, pictures)
        print(f"{name}: {found.row()}", flush=True)
        counts[name] = asdict(found)
    return counts


def _ways(args: argparse.Namespace, rule: PersonRule) -> dict[str, TopdownConfig]:
    """What is compared: how it is decided; in clips, how many looks must agree."""
    if not args.frames:
        return {
            "both nets decide": TopdownConfig(person_rule=rule),
            "without turned crops": TopdownConfig(person_rule=rule, turn_crops=False),
            "one after the other": TopdownConfig(person_rule=None, turn_crops=False),
        }
    config = TopdownConfig(person_rule=rule)
    ways = {}
    for words in args.confirm:
        needed, _, of = words.partition("/")
        if not (needed.isdecimal() and of.isdecimal() and 0 < int(needed) <= int(of)):
            raise EdgeposeError(f"--confirm {words}: expected looks that agree / looks, such as 3/5")
        looks = TrackerConfig(confirm=int(needed), confirm_of=int(of))
        ways[f"{words} looks"] = replace(config, tracker=looks)
    return ways


def _estimator(args: argparse.Namespace, config: TopdownConfig) -> TopdownEstimator:
    return TopdownEstimator(args.model, "cpu", detector=args.detector, threads=args.threads, config=config)


@command()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="default", help="a shipped pose net, or an .onnx file")
    parser.add_argument("--data", type=Path, required=True, help="folder with annotations/ and images/")
    parser.add_argument("--detector", help="another detector (default: the shipped one)")
    parser.add_argument("--split", default="val", help="split of the images with people (default: val)")
    parser.add_argument("--scenes", nargs="+", metavar="SPLIT", help="splits of the empty scenes (default: as --split)")
    parser.add_argument("--pictures", type=int, help="so many images with people, at random, always the same")
    parser.add_argument("--rule", type=Path, help="weights of the decision as JSON (default: the shipped ones)")
    parser.add_argument("--fit", type=Path, help="fit the weights and write them here")
    parser.add_argument("--allowed", type=float, default=1 / 60, help="share of empty scenes with a ghost, for --fit")
    parser.add_argument("--lowest", type=float, default=PersonRule.lowest_detection, help="lowest detection, for --fit")
    parser.add_argument("--turn", type=int, choices=(0, 90, 180, 270), default=0, help="turn all images by so much")
    parser.add_argument("--frames", type=int, help="make clips of so many frames: when is somebody shown?")
    parser.add_argument("--confirm", nargs="+", default=["1/1", "3/5"], metavar="N/M", help="looks, for --frames")
    parser.add_argument("--threads", type=int)
    parser.add_argument("-o", "--output", type=Path, help="write the counts as JSON")
    args = parser.parse_args(argv)
    if args.fit:
        text = json.dumps(asdict(make_rule(args)), indent=1)
        args.fit.write_text(text + "\n", encoding="utf-8")
        print(text)
        return 0
    counts = measure(args)
    if args.output:
        args.output.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
