"""A detector's checkpoint as a checked ONNX file with its card."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper

from edgepose import ModelCard
from edgepose_training.data.loaders import MEAN, STD
from edgepose_training.deploy import onnx_file
from edgepose_training.detector.checkpoints import load_net
from edgepose_training.detector.net import CELL_VALUES, DetectorNet

FRAMES = 2


def load_for_export(path: Path) -> tuple[DetectorNet, ModelCard]:
    """The net of a checkpoint in eval mode, and the card that its config implies."""
    net, config, state = load_net(path)
    images = state["step"] * config.batch
    card = ModelCard(
        name=path.stem,
        task="detector",
        input_size=(config.input_size, config.input_size),
        channel_order="rgb",
        mean=MEAN,
        std=STD,
        sigma=None,
        beta=None,
        recipe=f"CSPNeXt blocks, task-aligned assignment, quality focal and GIoU losses, {images} images",
        date=datetime.date.today().isoformat(),
    )
    return net, card


def to_onnx(net: DetectorNet, card: ModelCard) -> onnx.ModelProto:
    """The net as ONNX with dynamic batch, height and width."""
    width, height = card.input_size
    axes = {"input": {0: "N", 2: "H", 3: "W"}, "cells": {0: "N", 2: "A"}}
    model = onnx_file.trace(net, [torch.zeros(FRAMES, 3, height, width)], ["input"], ["cells"], axes)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("cells", TensorProto.FLOAT, ["N", CELL_VALUES, "A"]))
    return model


def export(
    checkpoint: Path, entries: dict[str, Any] | None = None, weights: str = "float32"
) -> tuple[onnx.ModelProto, ModelCard, float]:
    """A checked ONNX model with its card, and how far it is from torch. Raises EdgeposeError if too far."""
    net, card = load_for_export(checkpoint)
    card = onnx_file.with_entries(card, entries or {})
    model = to_onnx(net, card)
    width, height = card.input_size
    shapes = [(FRAMES, height, width), (FRAMES, 32 * max(height // 64, 1), width)]
    difference = onnx_file.check_and_store(net, model, shapes, weights)
    onnx_file.sign(model, card)
    return model, card, difference
