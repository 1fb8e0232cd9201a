"""Edits of an ONNX graph after export: clean-up, smaller weights, a second graph behind it, the card."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgepose import ModelCard
from edgepose.modelcard import METADATA_KEY

MIN_HALF_ELEMENTS = 32  # smaller tensors (scalars, single rows) save nothing worth a Cast
MIN_INT8_ELEMENTS = 1024


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Constants folded, what nothing uses and what does nothing taken out.

    To be called before weights are stored smaller: it would fold the nodes that restore them.
    """
    import onnxslim

    slim: onnx.ModelProto = onnxslim.slim(model)
    return slim


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
    `DequantizeLinear` would say the same in one node, but runtimes keep it for their int8 kernels: where these are not
    switched off (onnxruntime: `session.disable_quant_qdq`), such a file runs 25 % slower. Other weights stay as they
    are.
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
    """By name of a weight of a convolution or `MatMul`: the axes of one output channel, for a number of dimensions."""
    axes: dict[str, Callable[[int], tuple[int, ...]]] = {}
    for node in model.graph.node:
        if node.op_type == "Conv":
            axes[node.input[1]] = lambda ndim: tuple(range(1, ndim))
        elif node.op_type == "ConvTranspose":  # [in, out, …]
            axes[node.input[1]] = lambda ndim: (0, *range(2, ndim))
        elif node.op_type == "MatMul":
            axes[node.input[1]] = lambda ndim: (ndim - 2,)
    return axes


def write_card(model: onnx.ModelProto, card: ModelCard) -> None:
    """Put the card into the metadata, replacing one that is there."""
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=METADATA_KEY, value=card.to_json())


def join(model: onnx.ModelProto, second: onnx.ModelProto) -> onnx.ModelProto:
    """`model` followed by `second`, whose inputs are called as `model`'s outputs are; it keeps its outputs' names."""
    second = onnx.compose.add_prefix(second, prefix := "second/")
    second.ir_version = model.ir_version
    joined = onnx.compose.merge_models(model, second, [(o.name, prefix + o.name) for o in model.graph.output])
    plain = {output.name: output.name.removeprefix(prefix) for output in joined.graph.output}
    for output in joined.graph.output:
        output.name = plain[output.name]
    for node in joined.graph.node:
        node.output[:] = [plain.get(name, name) for name in node.output]
    return joined


def _replace_nodes(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> None:
    nodes = list(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
