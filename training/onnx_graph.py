"""Edits of an ONNX graph after export: constants, float16 storage, a decoder in standard ops, the card."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgepose import ModelCard
from edgepose.modelcard import METADATA_KEY

MIN_HALF_ELEMENTS = 32  # smaller tensors (scalars, single rows) save nothing worth a Cast


def simplify(model: onnx.ModelProto) -> None:
    """Make `Constant` nodes initialisers and take `Identity` nodes out, in place."""
    graph = model.graph
    outputs = {output.name for output in graph.output}
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = onnx.TensorProto()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
        elif node.op_type == "Identity" and node.output[0] not in outputs:
            renamed[node.output[0]] = renamed.get(node.input[0], node.input[0])
        else:
            kept.append(node)
    for node in kept:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    _replace_nodes(model, kept)


def drop_unused_initialisers(model: onnx.ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def set_output_shapes(model: onnx.ModelProto, shapes: dict[str, tuple[int | str, ...]]) -> None:
    """State the outputs' true shapes: tracing leaves K unknown, and TensorRT plans better with numbers."""
    for output in model.graph.output:
        value = helper.make_tensor_value_info(output.name, TensorProto.FLOAT, shapes[output.name])
        output.CopyFrom(value)


def store_half(model: onnx.ModelProto) -> None:
    """Store float32 weights as float16 with a `Cast` back: half the file, float32 arithmetic, in place.

    Values beyond float16's range stay float32. Runtimes fold the casts away when they load the file.
    """
    casts, initialisers = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < MIN_HALF_ELEMENTS:
            initialisers.append(tensor)
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.isfinite(half).all():
            initialisers.append(tensor)
            continue
        stored = f"{tensor.name}_half"
        initialisers.append(numpy_helper.from_array(half, stored))
        casts.append(
            helper.make_node("Cast", [stored], [tensor.name], name=f"{tensor.name}_cast", to=TensorProto.FLOAT)
        )
    del model.graph.initializer[:]
    model.graph.initializer.extend(initialisers)
    _replace_nodes(model, [*casts, *model.graph.node])


def write_card(model: onnx.ModelProto, card: ModelCard) -> None:
    """Put the card into the metadata, replacing one that is there."""
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=METADATA_KEY, value=card.to_json())


def append_decode(model: onnx.ModelProto, card: ModelCard) -> None:
    """End the graph in `keypoints` [N, K, 2] (pixels of the crop) and `scores` [N, K], in standard ops.

    The same numbers as `edgepose.ops.simcc_decode` with the card's score, followed by the card's calibration
    and its untrained points, for finite logits. For phones and browsers; edgepose itself runs the file
    without it.
    """
    builder = _Builder(model)
    axes = ("simcc_x", "simcc_y")
    bins = [builder.add("ArgMax", [name], axis=-1, keepdims=1, select_last_index=0) for name in axes]
    positions = [builder.add("Cast", [index], to=TensorProto.FLOAT) for index in bins]
    joined = builder.add("Concat", positions, axis=-1)
    builder.add("Div", [joined, builder.constant(np.float32(card.split_ratio))], output="keypoints")
    scores = _calibrated(builder, _axis_scores(builder, card, axes), card)
    trained = np.ones((1, card.skeleton.num_keypoints), np.float32)
    trained[:, list(card.untrained)] = 0
    builder.add("Mul", [scores, builder.constant(trained)], output="scores")
    count = card.skeleton.num_keypoints
    del model.graph.output[:]
    for name, shape in (("keypoints", ["N", count, 2]), ("scores", ["N", count])):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def _axis_scores(builder: _Builder, card: ModelCard, axes: Iterable[str]) -> str:
    """Name of the score [N, K] over both axes, before calibration."""
    soft = card.score in ("calibrated", "softmax")
    peaks = []
    for axis, name in enumerate(axes):
        values = name
        if soft:
            scaled = builder.add("Mul", [name, builder.constant(np.float32(card.beta))])
            values = builder.add("Softmax", [scaled], axis=-1)
        peak = builder.add("ReduceMax", [values], axes=[-1], keepdims=0)
        if card.score == "calibrated":
            ideal = ideal_peak(card.bins[axis], card.sigma[axis], card.beta)
            peak = builder.add("Div", [peak, builder.constant(np.float32(ideal))])
        peaks.append(peak)
    merged = builder.add({"mean": "Mean", "max": "Max"}.get(card.score, "Min"), peaks)
    limits = [builder.constant(np.float32(0))]  # not found is 0, never less
    if card.score == "calibrated":
        limits.append(builder.constant(np.float32(1)))
    return builder.add("Clip", [merged, *limits])


def ideal_peak(bins: int, sigma: float, beta: float) -> float:
    """Softmax peak of a perfect label: softmax(β · gauss(σ)), peak 1, in the middle of the axis."""
    label = np.exp(-0.5 * ((np.arange(bins) - bins // 2) / sigma) ** 2)
    return float(1 / np.exp(beta * (label - 1)).sum())


def _calibrated(builder: _Builder, scores: str, card: ModelCard) -> str:
    """The card's piecewise-linear curves, part by part: y₀ + Σ slopeᵢ · (clip(s, xᵢ, xᵢ₊₁) − xᵢ)."""
    if card.score != "calibrated" or not card.calibration:
        return scores
    pieces = []
    for part, (start, stop) in card.skeleton.parts.items():
        bounds = [builder.constant(np.array([value], np.int64)) for value in (start, stop, 1)]
        piece = builder.add("Slice", [scores, *bounds])
        if part in card.calibration:
            piece = _interpolated(builder, piece, *card.calibration[part])
        pieces.append(piece)
    return builder.add("Concat", pieces, axis=1)


def _interpolated(builder: _Builder, values: str, x: list[float], y: list[float]) -> str:
    total = builder.constant(np.float32(y[0]))
    for x0, x1, y0, y1 in zip(x, x[1:], y, y[1:], strict=False):
        if x1 <= x0:
            continue
        clipped = builder.add("Clip", [values, *(builder.constant(np.float32(bound)) for bound in (x0, x1))])
        rise = builder.add("Sub", [clipped, builder.constant(np.float32(x0))])
        step = builder.add("Mul", [rise, builder.constant(np.float32((y1 - y0) / (x1 - x0)))])
        total = builder.add("Add", [step, total])
    return total


class _Builder:
    """Appends nodes with fresh names to a graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._count = 0

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"decode_{kind.lower()}_{self._count}"

    def constant(self, value: np.ndarray | np.generic) -> str:
        name = self._name("constant")
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str | None = None, **attributes: object) -> str:
        name = output or self._name(kind)
        self._graph.node.append(helper.make_node(kind, inputs, [name], name=f"{name}_node", **attributes))
        return name


def _replace_nodes(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> None:
    nodes = list(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
