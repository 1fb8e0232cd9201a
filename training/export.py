"""Export a checkpoint: `python training/export.py runs/t/best.pt -o edgepose-t.onnx`.

The file carries its model card and is written only if onnxruntime and torch agree on it, for one person and
for three.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgepose import EdgeposeError, ModelCard
from edgepose_training.command import command, output_file
from edgepose_training.data.coco import Person, read_coco_wholebody
from edgepose_training.data.registry import find_files
from edgepose_training.deploy import onnx_file
from edgepose_training.deploy.exporter import export
from edgepose_training.engine.cards import load_for_export

log = logging.getLogger("export")


HELD_OUT = 500  # validation people on whom int8 is measured beside float32


def _int8_people(checkpoint: Path, data: Path) -> tuple[list[Person], list[Person]]:
    """People to calibrate on, and a sample of the validation people to measure on; none where there are none."""
    skeleton = load_for_export(checkpoint)[1].skeleton
    assert skeleton is not None
    training = read_coco_wholebody(*find_files(data, "train"), skeleton)
    try:
        valid = read_coco_wholebody(*find_files(data, "val"), skeleton)
    except EdgeposeError as error:
        log.warning("accuracy of int8 is not measured: %s", error)
        return training, []
    return training, [valid[i] for i in np.random.default_rng(0).permutation(len(valid))[:HELD_OUT]]


def _beside(measured: dict[str, Any]) -> str:
    """int8's accuracy beside float32's, a line a part."""
    lines = [f"mean OKS on {measured['people']} people of val, their own boxes: int8 / float32"]
    parts = ((part, row) for part, row in measured.items() if part != "people")
    return "\n".join(lines + [f"  {part}: {row['int8']:.3f} / {row['float32']:.3f}" for part, row in parts])


@command()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    onnx_file.add_arguments(parser, output_file)
    parser.add_argument("--int8", action="store_true", help="quantize the convolutions, calibrated on people of --data")
    parser.add_argument(
        "--data", type=Path, help="folder of COCO-WholeBody, or with annotations/ and images/, for --int8"
    )
    parser.add_argument("--with-decode", action="store_true", help="end in keypoints and scores, for other runtimes")
    args = parser.parse_args(argv)

    def exported(entries: dict[str, Any]) -> tuple[onnx.ModelProto, ModelCard, float]:
        if args.int8 and not args.data:
            raise EdgeposeError("--int8 needs --data with people to calibrate on.")
        people, held_out = _int8_people(args.checkpoint, args.data) if args.int8 else (None, [])
        return export(
            args.checkpoint, entries=entries, weights=args.weights, int8_people=people, held_out=held_out,
            with_decode=args.with_decode,
        )  # fmt: skip

    card, sentence = onnx_file.run(args, exported)
    print(sentence)
    if args.int8 and "int8" in card.accuracy:
        print(_beside(card.accuracy["int8"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
