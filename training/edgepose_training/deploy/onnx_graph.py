"""Edits of an ONNX graph after export: constants, float16 storage, a decoder in standard ops, the card."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgepose import ModelCard
from edgepose.modelcard import METADATA_KEY, RELATIVE
from edgepose.ops import simcc_decode

MIN_HALF_ELEMENTS = 32  # smaller tensors (scalars, single rows) save nothing worth a Cast
MIN_INT8_ELEMENTS = 1024


def simplify(model: onnx.ModelProto) -> None:
    """Make `Constant` nodes initializers and take `Identity` nodes out, in place."""
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


def drop_unused_initializers(model: onnx.ModelProto) -> None:
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

    def halved(name: str, values: np.ndarray) -> _Stored | None:
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size < MIN_HALF_ELEMENTS or not np.isfinite(half).all():
            return None
        return [numpy_helper.from_array(half, f"{name}_half")], [_cast(f"{name}_half", name)]

    _store(model, halved)


def store_int8(model: onnx.ModelProto) -> None:
    """Store the weights of convolutions and matrix products as int8, one scale an output channel, in place.

    A quarter of the file; arithmetic stays float32: `Cast` and `Mul` in front of them are folded away at loading.
    Other weights stay as they are.
    """
    axes = _summed_axes(model)

    def rounded(name: str, values: np.ndarray) -> _Stored | None:
        if values.size < MIN_INT8_ELEMENTS or name not in axes or values.ndim < 2:
            return None
        scale = np.abs(values).max(axis=axes[name](values.ndim), keepdims=True) / np.float32(127)
        scale[scale == 0] = 1
        stored, scales, wide = f"{name}_int8", f"{name}_scale", f"{name}_wide"
        tensors = [numpy_helper.from_array(np.rint(values / scale).astype(np.int8), stored)]
        tensors.append(numpy_helper.from_array(scale.astype(np.float32), scales))
        product = helper.make_node("Mul", [wide, scales], [name], name=f"{name}_product")
        return tensors, [_cast(stored, wide), product]

    _store(model, rounded)


# What stands for a weight: tensors, and nodes that restore it.
_Stored = tuple[list[onnx.TensorProto], list[onnx.NodeProto]]


def _store(model: onnx.ModelProto, pack: Callable[[str, np.ndarray], _Stored | None]) -> None:
    """Replace each float32 initializer by what `pack` makes of its name and values; None leaves it."""
    initializers, restoring = [], []
    for tensor in model.graph.initializer:
        stored = None
        if tensor.data_type == TensorProto.FLOAT:
            stored = pack(tensor.name, numpy_helper.to_array(tensor))
        tensors, nodes = stored or ([tensor], [])
        initializers += tensors
        restoring += nodes
    del model.graph.initializer[:]
    model.graph.initializer.extend(initializers)
    _replace_nodes(model, [*restoring, *model.graph.node])


def _cast(source: str, target: str) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}_cast", to=TensorProto.FLOAT)


def _summed_axes(model: onnx.ModelProto) -> dict[str, Callable[[int], tuple[int, ...]]]:
    """By name of a weight of `Conv` or `MatMul`: the axes of one output channel, for a number of dimensions."""
    axes: dict[str, Callable[[int], tuple[int, ...]]] = {}
    for node in model.graph.node:
        if node.op_type == "Conv":
            axes[node.input[1]] = lambda ndim: tuple(range(1, ndim))
        elif node.op_type == "MatMul":
            axes[node.input[1]] = lambda ndim: (ndim - 2,)
    return axes


def write_card(model: onnx.ModelProto, card: ModelCard) -> None:
    """Put the card into the metadata, replacing one that is there."""
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=METADATA_KEY, value=card.to_json())


def append_decode(model: onnx.ModelProto, card: ModelCard) -> None:
    """End the graph in `keypoints` [N, K, 2] (pixels of the crop) and `scores` [N, K], in standard ops.

    The same numbers as `edgepose.ops.simcc_decode` with the card's score, followed by the card's calibration
    and its unsupervised keypoints, for finite logits. For phones and browsers; edgepose itself runs the file
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
    trained[:, list(card.unsupervised_keypoints)] = 0
    builder.add("Mul", [scores, builder.constant(trained)], output="scores")
    count = card.skeleton.num_keypoints
    del model.graph.output[:]
    for name, shape in (("keypoints", ["N", count, 2]), ("scores", ["N", count])):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def _axis_scores(builder: _Builder, card: ModelCard, axes: Iterable[str]) -> str:
    """Name of the score [N, K] over both axes, before calibration."""
    both = []
    ideal = ideal_scores(card) if card.score in RELATIVE else ()
    for axis, name in enumerate(axes):
        value = _axis_score(builder, card, name)
        if card.score in RELATIVE:
            value = builder.add("Div", [value, builder.constant(np.float32(ideal[axis]))])
        both.append(value)
    merged = builder.add({"mean": "Mean", "max": "Max"}.get(card.score, "Min"), both)
    limits = [builder.constant(np.float32(0))]  # not found is 0, never less
    if card.score in RELATIVE:
        limits.append(builder.constant(np.float32(1)))
    return builder.add("Clip", [merged, *limits])


def _axis_score(builder: _Builder, card: ModelCard, name: str) -> str:
    if card.score in ("min", "mean", "max"):
        return builder.add("ReduceMax", [name], axes=[-1], keepdims=0)
    scaled = builder.add("Mul", [name, builder.constant(np.float32(card.beta))])
    softmax = builder.add("Softmax", [scaled], axis=-1)
    if card.score != "entropy":
        return builder.add("ReduceMax", [softmax], axes=[-1], keepdims=0)
    terms = builder.add("Mul", [softmax, builder.add("LogSoftmax", [scaled], axis=-1)])
    last = builder.constant(np.array([-1], np.int64))
    return builder.add("Exp", [builder.add("ReduceSum", [terms, last], keepdims=0)])  # of minus the entropy


def ideal_scores(card: ModelCard) -> list[float]:
    """What a perfect label scores bare on each axis, as `simcc_decode` has it: a Gaussian of peak 1 in the middle."""
    kind = "entropy" if card.score == "entropy" else "softmax"
    found = []
    for bins, sigma in zip(card.bins, card.sigma, strict=True):
        label = np.exp(-0.5 * ((np.arange(bins) - bins // 2) / sigma) ** 2).astype(np.float32)[None, None]
        found.append(float(simcc_decode(label, label, score=kind, beta=card.beta)[1][0, 0]))
    return [min(found)] * 2 if kind == "entropy" else found


def _calibrated(builder: _Builder, scores: str, card: ModelCard) -> str:
    """The card's piecewise-linear curves, part by part: y₀ + Σ slopeᵢ · (clip(s, xᵢ, xᵢ₊₁) − xᵢ)."""
    if card.score not in RELATIVE or not card.calibration:
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
