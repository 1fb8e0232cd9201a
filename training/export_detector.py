"""Export a detector's checkpoint: `python training/export_detector.py runs/detector/run/best.pt -o edgepose-det.onnx`.

The file takes `input` [N, 3, H, W] with H and W any multiples of 32 and answers `cells` [N, 5, A]; boxes and their
suppression are made of them by `edgepose.detectors`, for all frames of a batch. It is written only if onnxruntime
and torch agree, at the card's size and at a wide one.
"""

from __future__ import annotations

import argparse
import datetime
import io
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from edgepose import EdgeposeError, ModelCard
from edgepose_training import onnx_graph
from edgepose_training.data import MEAN, STD
from edgepose_training.detector_run import load_net
from edgepose_training.export import HALF_TOLERANCE, OPSET, TOLERANCE, read_entries, run_onnx, with_entries, write
from edgepose_training.models.detector import CELL_VALUES, DetectorNet

FRAMES = 2


def load_for_export(path: Path) -> tuple[DetectorNet, ModelCard]:
    """The net of a checkpoint in eval mode, and the card that its config implies."""
    net, config, state = load_net(path)
    pictures = state["step"] * config.batch
    card = ModelCard(
        name=path.stem,
        task="detector",
        input_size=(config.input_size, config.input_size),
        channel_order="rgb",
        mean=MEAN,
        std=STD,
        sigma=None,
        beta=None,
        recipe=f"CSPNeXt blocks, task-aligned assignment, quality focal and GIoU losses, {pictures} pictures",
        date=datetime.date.today().isoformat(),
    )
    return net, card


def to_onnx(net: DetectorNet, card: ModelCard) -> onnx.ModelProto:
    """Trace the net into ONNX with dynamic batch, height and width."""
    width, height = card.input_size
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of its own deprecation
        torch.onnx.export(
            net.cpu().eval(),
            (torch.zeros(FRAMES, 3, height, width),),
            buffer,
            input_names=["input"],
            output_names=["cells"],
            dynamic_axes={"input": {0: "N", 2: "H", 3: "W"}, "cells": {0: "N", 2: "A"}},
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(buffer.getvalue())
    onnx_graph.simplify(model)
    onnx_graph.drop_unused_initialisers(model)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("cells", TensorProto.FLOAT, ["N", CELL_VALUES, "A"]))
    return model


def check_parity(net: DetectorNet, model: onnx.ModelProto, card: ModelCard, tolerance: float) -> float:
    """Largest difference of torch and onnxruntime as a share of the largest value. Raises EdgeposeError beyond."""
    width, height = card.input_size
    generator = np.random.default_rng(0)
    worst = 0.0
    for size in ((height, width), (32 * max(height // 64, 1), width)):
        batch = generator.standard_normal((FRAMES, 3, *size), np.float32)
        with torch.inference_mode():
            expected = net(torch.from_numpy(batch)).numpy()
        found = run_onnx(model, batch)[0]
        if found.shape != expected.shape:
            raise EdgeposeError(f"Not written: shapes {found.shape} of onnxruntime, {expected.shape} of torch.")
        difference = float(np.abs(found - expected).max() / np.abs(expected).max())
        worst = max(worst, difference if np.isfinite(difference) else np.inf)
    if worst > tolerance:
        raise EdgeposeError(f"Not written: torch and onnxruntime differ by {worst:.2g} (≤ {tolerance:g}).")
    return worst


def export(
    checkpoint: Path, entries: dict[str, Any] | None = None, half_weights: bool = False
) -> tuple[onnx.ModelProto, ModelCard, float]:
    """A checked ONNX model with its card, and how far it is from torch. Raises EdgeposeError if too far."""
    net, card = load_for_export(checkpoint)
    card = with_entries(card, entries or {})
    model = to_onnx(net, card)
    difference = check_parity(net, model, card, TOLERANCE)
    if half_weights:
        onnx_graph.store_half(model)
        difference = check_parity(net, model, card, HALF_TOLERANCE)
    onnx_graph.write_card(model, card)
    onnx.checker.check_model(model, full_check=True)
    return model, card, difference


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .onnx file")
    parser.add_argument("--name", help="name in the card (default: the output's)")
    parser.add_argument("--threshold", type=float, help="score from which a box is a person by default")
    parser.add_argument("--card", type=Path, help="TOML or JSON with entries of the card: licence, data, accuracy, …")
    parser.add_argument("--half-weights", action="store_true", help="store weights as float16 (compute stays float32)")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        entries = {"name": args.name or args.output.stem} | (read_entries(args.card) if args.card else {})
        if args.threshold is not None:
            entries["thresholds"] = {"person": args.threshold}
        model, card, difference = export(args.checkpoint, entries, args.half_weights)
        write(model, args.output)
    except EdgeposeError as error:
        print(error, file=sys.stderr)
        return 2
    size = args.output.stat().st_size / 2**20
    print(f"{args.output}: {card.name}, {size:.1f} MiB, {difference:.1g} of the largest value from torch")
    return 0


if __name__ == "__main__":
    sys.exit(main())
