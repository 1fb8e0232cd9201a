"""Measure a detector: `python training/evaluate_detector.py MODEL.onnx --beside RTMDET.onnx --data DIR`.

Measures every file in one run: AP50 of large people, recall of tall people (at the default threshold, and at the one
where 8 % of the empty windows have a false positive), false positives, close-ups, and time on one thread, alternating
between the files. `-o benchmarks/detector.md` writes the table, and the numbers as .json beside it. The lists of people
are used without cleaning: most were made with RTMDet-nano, which therefore agrees with them better than an equally good
detector.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edgepose_training.command import command, output_file
from edgepose_training.data import sources
from edgepose_training.detector.evaluator import evaluate, markdown
from edgepose_training.evaluation.evaluator import without_nan


@command()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the .onnx file that is measured")
    parser.add_argument("--beside", type=Path, required=True, help="another detector, the yardstick of time")
    parser.add_argument("--data", type=Path, required=True, help="folder with annotations/ and images/")
    sources.add_argument(parser)
    parser.add_argument("--split", default="val", help="split to measure on (default: val); trials: dev, see split.py")
    parser.add_argument("-o", "--output", type=output_file, help="markdown file; the numbers go beside it as .json")
    parser.add_argument("--limit", type=int, help="about so many images only, for a first look")
    args = parser.parse_args(argv)
    roles = sources.of_command(args)
    results = evaluate([args.model, args.beside], args.data, args.limit, roles, args.split)
    words = ["python training/evaluate_detector.py", args.model.name, "--beside", args.beside.name, "--data DATA"]
    words += ["--sources", args.sources] if args.sources else []
    words += ["--split", args.split] if args.split != "val" else []
    text = markdown(results, " ".join(words))
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")
        numbers = json.dumps(without_nan(results), indent=1, allow_nan=False)
        args.output.with_suffix(".json").write_text(numbers + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
