"""Export a checkpoint: `python training/export.py runs/t/best.pt -o edgepose-t.onnx`.

The file carries its model card and is written only if onnxruntime and torch agree on it, for one person and
for three.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from edgepose import EdgeposeError, ModelCard, Skeleton
from edgepose_training import onnx_file, onnx_graph
from edgepose_training.checkpoint import load_net
from edgepose_training.config import Config
from edgepose_training.data import MEAN, STD
from edgepose_training.datasets import Person, read_coco_wholebody
from edgepose_training.people import find_files

log = logging.getLogger("export")

BATCHES = (1, 3)  # people on whom torch and onnxruntime are compared
HELD_OUT = 500  # validation people on whom int8 is measured beside float32


def load_for_export(path: str | Path) -> tuple[nn.Module, ModelCard]:
    """The net of a checkpoint with its best weights, in eval mode, and the card that its config implies."""
    net, config, skeleton, state = load_net(path)
    return net, card_of(path, config, skeleton, state)


def card_of(path: str | Path, config: Config, skeleton: Skeleton, state: dict[str, Any]) -> ModelCard:
    """The card that a checkpoint implies. Raises EdgeposeError for a net that the runtime cannot decode."""
    if config.head == "heatmap":
        raise EdgeposeError(f"{path}: a net of heat maps; the runtime decodes SimCC vectors.")
    rtmpose = (config.backbone, config.head) == ("cspnext", "rtmcc")
    net_name = f"RTMPose-{config.size}" if rtmpose else f"{config.backbone}-{config.size} {config.head}"
    # Converted checkpoints tell their own story.
    recipe = state.get("recipe") or f"{net_name}, epoch {state.get('epoch', 0)} of {config.epochs}"
    return ModelCard(
        name=Path(path).stem,
        input_size=config.input_size,
        channel_order="rgb",
        mean=MEAN,
        std=STD,
        split_ratio=config.split_ratio,
        sigma=config.sigma,
        # Regressed heat vectors peak at 1 by themselves: their scores are read as they are.
        beta=None if config.head == "heatmap1d" else config.beta,
        score="min" if config.head == "heatmap1d" else "entropy",
        skeleton=skeleton,
        untrained=tuple(state.get("untrained", ())),
        recipe=recipe,
        date=datetime.date.today().isoformat(),
    )


def to_onnx(net: nn.Module, card: ModelCard) -> onnx.ModelProto:
    """The net as ONNX with a dynamic batch; outputs `simcc_x`, `simcc_y` are raw logits."""
    width, height = card.input_size
    outputs = ("simcc_x", "simcc_y")
    axes = {name: {0: "N"} for name in ("input", *outputs)}
    model = onnx_file.trace(net, torch.zeros(2, 3, height, width), outputs, axes)
    count, bins = card.skeleton.num_keypoints, card.bins
    onnx_graph.set_output_shapes(model, {name: ("N", count, n) for name, n in zip(outputs, bins, strict=True)})
    return model


def export(
    checkpoint: str | Path,
    *,
    entries: dict[str, Any] | None = None,
    weights: str = "float32",
    int8_people: Sequence[Person] | None = None,
    held_out: Sequence[Person] = (),
    with_decode: bool = False,
) -> tuple[onnx.ModelProto, ModelCard, float]:
    """A checked ONNX model with its card, and how far it is from torch. Raises EdgeposeError if too far.

    With `int8_people` the checked float32 model is quantised on their crops. How far int8 may be from it is no matter
    of logits but of accuracy: both are measured on the people `held_out`, and the card has the figures as
    `accuracy["int8"]`.
    """
    net, card = load_for_export(checkpoint)
    card = onnx_file.with_entries(card, entries or {})
    model = to_onnx(net, card)
    width, height = card.input_size
    shapes = [(count, height, width) for count in BATCHES]
    if int8_people is None:
        difference = onnx_file.check_and_store(net, model, shapes, weights)
    else:
        from edgepose_training.quantise import accuracy, calibration_crops, quantise

        onnx_file.check_and_store(net, model, shapes, "float32")
        full, model = model, quantise(model, list(calibration_crops(int8_people, card)))
        onnx_file.store_weights(model, weights)  # those that it did not quantise
        if held_out:
            measured = accuracy({"int8": model, "float32": full}, card, held_out)
            card = dataclasses.replace(card, accuracy=card.accuracy | {"int8": measured})
        difference = onnx_file.check_parity(net, model, shapes, np.inf)
    if with_decode:
        onnx_graph.append_decode(model, card)
    onnx_file.sign(model, card)
    return model, card, difference


def _int8_people(checkpoint: Path, data: Path) -> tuple[list[Person], list[Person]]:
    """People to calibrate on, and a sample of the validation people to measure on; none where there are none."""
    skeleton = load_for_export(checkpoint)[1].skeleton
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


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    onnx_file.add_arguments(parser)
    parser.add_argument("--int8", action="store_true", help="quantise the convolutions, calibrated on people of --data")
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

    card = onnx_file.run(args, exported)
    if card is not None and args.int8 and "int8" in card.accuracy:
        print(_beside(card.accuracy["int8"]))
    return 2 if card is None else 0


if __name__ == "__main__":
    sys.exit(main())
