"""Export a detector's checkpoint: `python training/export_detector.py runs/detector/run/best.pt -o edgepose-det.onnx`.

The file takes `input` [N, 3, H, W] (H and W are multiples of 32) and returns `cells` [N, 5, A];
`edgepose.detectors` decodes them into boxes and suppresses duplicates, for all frames of a batch. The file is
written only if onnxruntime and torch agree, at the card's size and at a wide one.
"""

from __future__ import annotations

import argparse
import sys

from edgepose_training.command import command, output_file
from edgepose_training.deploy import onnx_file
from edgepose_training.detector.exporter import export


@command()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    onnx_file.add_arguments(parser, output_file)
    parser.add_argument("--threshold", type=float, help="score from which a box is a person by default")
    args = parser.parse_args(argv)
    told = {} if args.threshold is None else {"thresholds": {"person": args.threshold}}
    _, sentence = onnx_file.run(args, lambda entries: export(args.checkpoint, entries | told, args.weights))
    print(sentence)
    return 0


if __name__ == "__main__":
    sys.exit(main())
