"""A checkpoint as a checked ONNX file with its card, in float32 or int8."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from edgepose import ModelCard
from edgepose_training.data.coco import Person
from edgepose_training.deploy import onnx_file, onnx_graph
from edgepose_training.deploy.decode import decoder
from edgepose_training.engine.cards import load_for_export

BATCHES = (1, 3)  # people on whom torch and onnxruntime are compared
# Bare scores compare an answer's spread with a label's, and are small where the answer is right: from these on most of
# edgepose-t's points are (its card's calibration). The runtime's default of .3 for all would hide nearly everybody.
BARE_THRESHOLD, BARE_THRESHOLDS = 0.05, {"face": 0.2, "lefthand": 0.08, "righthand": 0.08}


def with_thresholds(card: ModelCard) -> ModelCard:
    """The card with a threshold for the parts whose scores nobody calibrated and nobody gave one."""
    if card.score != "entropy" or card.score_knots or card.skeleton is None:
        return card
    parts = [part for part in card.skeleton.parts if part not in card.calibration]
    bare = {part: BARE_THRESHOLDS.get(part, BARE_THRESHOLD) for part in parts}
    return dataclasses.replace(card, thresholds=bare | card.thresholds)


def to_onnx(net: nn.Module, card: ModelCard) -> onnx.ModelProto:
    """The net as ONNX with a dynamic batch; outputs are raw: `simcc_x` and `simcc_y`, or `heatmaps`.

    The card has a skeleton.
    """
    width, height = card.input_size
    assert card.skeleton is not None
    answers = card.answers(card.skeleton.num_keypoints)
    axes = {name: {0: "N"} for name in ("input", *answers)}
    model = onnx_file.trace(net, [torch.zeros(2, 3, height, width)], ["input"], list(answers), axes)
    onnx_graph.set_output_shapes(model, {name: ("N", *shape) for name, shape in answers.items()})
    return model


def decoder_to_onnx(card: ModelCard) -> onnx.ModelProto:
    """The card's decoder as ONNX: what the net answers → `keypoints` [N, K, 2], `scores` [N, K]."""
    assert card.skeleton is not None
    count = card.skeleton.num_keypoints
    answers, outputs = card.answers(count), ("keypoints", "scores")
    examples = [torch.zeros(2, *shape) for shape in answers.values()]
    axes = {name: {0: "N"} for name in (*answers, *outputs)}
    model = onnx_file.trace(decoder(card), examples, list(answers), outputs, axes)
    onnx_graph.set_output_shapes(model, {"keypoints": ("N", count, 2), "scores": ("N", count)})
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

    With `int8_people` the checked float32 model is quantized on their crops. How far int8 may be from it is no matter
    of logits but of accuracy: both are measured on the people `held_out`, and the card has the figures as
    `accuracy["int8"]`.
    """
    net, card = load_for_export(checkpoint)
    card = with_thresholds(onnx_file.with_entries(card, entries or {}))
    model = to_onnx(net, card)
    width, height = card.input_size
    shapes = [(count, height, width) for count in BATCHES]
    if int8_people is None:
        difference = onnx_file.check_and_store(net, model, shapes, weights)
    else:
        from edgepose_training.deploy.quantization import accuracy, calibration_crops, quantize

        onnx_file.check_and_store(net, model, shapes, "float32")
        full, model = model, quantize(model, list(calibration_crops(int8_people, card)))
        onnx_file.store_weights(model, weights)  # those that it did not quantize
        if held_out:
            measured = accuracy({"int8": model, "float32": full}, card, held_out)
            card = dataclasses.replace(card, accuracy=card.accuracy | {"int8": measured})
        difference = onnx_file.check_parity(net, model, shapes, np.inf)
    if with_decode:
        model = onnx_graph.join(model, decoder_to_onnx(card))
    onnx_file.sign(model, card)
    return model, card, difference
