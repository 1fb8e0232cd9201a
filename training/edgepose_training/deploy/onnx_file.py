"""From a net to a checked ONNX file with its card: tracing, parity with torch, the card's entries, writing.

`torch.onnx.export` is asked for its tracing exporter: the newer one needs onnxscript, and gains nothing for nets
without control flow.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import tomllib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from edgepose import EdgeposeError, ModelCard
from edgepose.modelcard import RENAMED
from edgepose_training.deploy import onnx_graph

OPSET = 17  # TensorRT ≥ 8.6 and OpenVINO ≥ 2023 take it whole
# Largest difference as a share of the largest value, by how the weights are stored. Two float32 implementations differ
# by some 1e-6; rounded weights by their rounding: 2⁻¹¹ of each, or 1/254 of the largest of an output channel.
TOLERANCES = {"float32": 1e-4, "float16": 2e-2, "int8": 1e-1}


def trace(
    net: nn.Module,
    examples: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    axes: dict[str, dict[int, str]],
) -> onnx.ModelProto:
    """The net as ONNX, from `inputs`, like `examples`, to `outputs`; `axes` names what is dynamic."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Tracing warns of its own deprecation, and of shape checks that hold for every input of this size.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.cpu().eval(), tuple(examples), buffer,  # type: ignore[arg-type]  # a buffer will do without dynamo
            input_names=list(inputs), output_names=list(outputs),
            dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    return onnx_graph.simplify(onnx.load_from_string(buffer.getvalue()))


def run_onnx(model: onnx.ModelProto, batch: np.ndarray) -> list[np.ndarray]:
    """Outputs of a model in memory, by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # initializers that it folds away are no news
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs: list[np.ndarray] = session.run(None, {session.get_inputs()[0].name: batch})
    return outputs


def check_parity(
    net: nn.Module, model: onnx.ModelProto, shapes: Sequence[tuple[int, int, int]], tolerance: float
) -> float:
    """Largest relative difference of torch and onnxruntime on random images; `shapes` are their (N, H, W).

    Raises EdgeposeError beyond `tolerance`.
    """
    generator = np.random.default_rng(0)
    worst = 0.0
    for count, height, width in shapes:
        batch = generator.standard_normal((count, 3, height, width), np.float32)
        with torch.inference_mode():
            answer = net(torch.from_numpy(batch))
        expected = [output.numpy() for output in (answer if isinstance(answer, tuple) else (answer,))]
        for ours, theirs in zip(expected, run_onnx(model, batch), strict=True):
            if ours.shape != theirs.shape:
                raise EdgeposeError(f"Not written: shapes {theirs.shape} of onnxruntime, {ours.shape} of torch.")
            difference = float(np.abs(ours - theirs).max() / max(float(np.abs(ours).max()), 1e-12))
            worst = max(worst, difference) if np.isfinite(difference) else np.inf
    if worst > tolerance:
        raise EdgeposeError(
            f"Not written: torch and onnxruntime differ by {worst:.2g} of the largest value (≤ {tolerance:g})."
        )
    return worst


def store_weights(model: onnx.ModelProto, weights: str) -> None:
    """Store the weights as TOLERANCES names it, in place; arithmetic stays float32."""
    if weights == "int8":
        onnx_graph.store_int8(model)
    elif weights == "float16":
        onnx_graph.store_half(model)


def check_and_store(
    net: nn.Module, model: onnx.ModelProto, shapes: Sequence[tuple[int, int, int]], weights: str
) -> float:
    """`check_parity` of the model as traced, and again with its weights stored as `weights` says."""
    difference = check_parity(net, model, shapes, TOLERANCES["float32"])
    if weights == "float32":
        return difference
    store_weights(model, weights)
    return check_parity(net, model, shapes, TOLERANCES[weights])


def sign(model: onnx.ModelProto, card: ModelCard) -> None:
    """Put the card into the file, and let onnx look at the whole."""
    onnx_graph.write_card(model, card)
    onnx.checker.check_model(model, full_check=True)


def with_entries(card: ModelCard, entries: dict[str, Any]) -> ModelCard:
    """The card with entries replaced. Raises EdgeposeError for an entry that a card does not have."""
    entries = {RENAMED.get(name, name): value for name, value in entries.items()}
    known = {field.name for field in dataclasses.fields(ModelCard)} - {"skeleton"}
    if unknown := sorted(set(entries) - known):
        raise EdgeposeError(f"A model card has no entry {unknown[0]!r}; known are {', '.join(sorted(known))}.")
    try:
        return dataclasses.replace(card, **entries)
    except (ValueError, TypeError) as error:
        raise EdgeposeError(f"The card's entries make no sense: {error}.") from error


def read_entries(path: Path) -> dict[str, Any]:
    """Card entries of a TOML or JSON file. Raises EdgeposeError."""
    try:
        text = path.read_text(encoding="utf-8")
        entries = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise EdgeposeError(f"{path}: cannot read the card's entries ({error}).") from error
    if not isinstance(entries, dict):
        raise EdgeposeError(f"{path}: expected entries by name.")
    return entries


def write(model: onnx.ModelProto, path: Path) -> None:
    """Write beside, then rename: a crash leaves the old file or the new one. Raises EdgeposeError if it cannot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_bytes(model.SerializeToString())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise EdgeposeError(f"{path}: cannot be written ({error.strerror}).") from error


# --- the command line that both exporters have


def add_arguments(parser: argparse.ArgumentParser, output_file: Callable[[str], Path]) -> None:
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=output_file, required=True, help="the .onnx file")
    parser.add_argument("--name", help="name in the card (default: the output's)")
    parser.add_argument(
        "--card", type=Path, action="append", default=[],
        help="TOML or JSON with entries of the card: license, data, accuracy, …; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--weights", choices=TOLERANCES, default="float32", help="how weights are stored; arithmetic stays float32"
    )


def run(
    args: argparse.Namespace, export: Callable[[dict[str, Any]], tuple[onnx.ModelProto, ModelCard, float]]
) -> tuple[ModelCard, str]:
    """Export with the entries that the arguments name, and write. Returns the card, and a sentence on the file."""
    entries: dict[str, Any] = {"name": args.name or args.output.stem}
    for path in args.card:
        entries |= read_entries(path)
    model, card, difference = export(entries)
    write(model, args.output)
    size = args.output.stat().st_size / 2**20
    return card, f"{args.output}: {card.name}, {size:.1f} MiB, {difference:.1g} of the largest value from torch"
