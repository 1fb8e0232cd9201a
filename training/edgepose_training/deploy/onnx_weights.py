"""The weights in an exported ONNX file under the names that they have in its net.

torch's exporter calls each node by the path of its module (`/backbone/stem/stem.0/conv/Conv`), while many initializers
lose their names: batch norms are folded into convolutions, matrices transposed, equal tensors merged. So names are read
off the nodes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

Arrays = dict[str, np.ndarray]

# Op → what its inputs from the second on are called in the module.
LAYERS = {
    "Conv": ("weight", "bias"),
    "ConvTranspose": ("weight", "bias"),
    "Gemm": ("weight", "bias"),
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
    "LayerNormalization": ("weight", "bias"),
}


def float_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes in float32: smaller weights restored, activations no longer quantized.

    It ends in the net's own outputs where a decoder follows them in the file.
    """
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in plain.graph.initializer}
    nodes = [node for node in plain.graph.node if not _restored(node, constants)]
    del plain.graph.node[:], plain.graph.initializer[:]
    plain.graph.node.extend(_without_quantizers(nodes, constants))
    used = {name for node in plain.graph.node for name in node.input}
    plain.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items() if k in used)
    _end_in_answers(plain.graph)
    return plain


def _restored(node: onnx.NodeProto, constants: Arrays) -> bool:
    """Whether a node only makes a weight of a smaller one; what it makes is then among the constants."""
    if node.op_type not in ("Cast", "Mul", "DequantizeLinear") or not all(name in constants for name in node.input):
        return False
    first, *rest = (constants[name] for name in node.input)
    match node.op_type:
        case "Cast":
            value = first.astype(helper.tensor_dtype_to_np_dtype(_attribute(node, "to", 0)))
        case "Mul":
            value = first * rest[0]
        case _:
            value = _dequantized(first, rest, _attribute(node, "axis", 1))
    constants[node.output[0]] = value
    return True


def _dequantized(stored: np.ndarray, scale_and_zero: list[np.ndarray], axis: int) -> np.ndarray:
    scale, zero = (_along(axis, value, stored.ndim) for value in (*scale_and_zero, np.zeros((), np.int32))[:2])
    values: np.ndarray = (stored.astype(np.int32) - zero.astype(np.int32)).astype(np.float32) * scale
    return values


def _along(axis: int, value: np.ndarray, ndim: int) -> np.ndarray:
    return value.reshape([-1 if i == axis else 1 for i in range(ndim)]) if value.ndim else value


def _without_quantizers(nodes: list[onnx.NodeProto], constants: Arrays) -> Iterator[onnx.NodeProto]:
    """Pairs of QuantizeLinear and DequantizeLinear left out.

    One whose smallest value is 0 may stand for a ReLU, which the quantizer removes: it becomes one.
    """
    source = {node.output[0]: node for node in nodes if node.op_type == "QuantizeLinear"}
    for node in nodes:
        if node.op_type == "DequantizeLinear" and node.input[0] in source:
            quantizer = source[node.input[0]]
            zero = constants[quantizer.input[2]]
            op = "Relu" if int(zero) == np.iinfo(zero.dtype).min else "Identity"
            yield helper.make_node(op, [quantizer.input[0]], [node.output[0]], name=node.name)
        elif node.op_type != "QuantizeLinear":
            yield node


def _end_in_answers(graph: onnx.GraphProto) -> None:
    made = {name for node in graph.node for name in node.output}
    answers = [name for name in ("simcc_x", "simcc_y", "heatmaps") if name in made]
    if answers and [output.name for output in graph.output] != answers:
        del graph.output[:]
        graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in answers)


def module_of(node: str) -> str:
    """The module of a node: "/backbone/stem/stem.0/conv/Conv" → "backbone.stem.0.conv"."""
    path: list[str] = []
    for part in node.strip("/").split("/")[:-1]:
        if path and part.startswith(f"{path[-1]}."):  # a list of modules, then its member
            path.pop()
        path.append(part)
    return ".".join(path)


class ExportedWeights:
    """The weights of a `float_graph` by `module.parameter`, shaped as torch has them."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._constants = {tensor.name: np.array(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
        self._read: dict[str, set[str]] = {}  # module → the constants that its nodes read
        self.layers: Arrays = {}  # a convolution that a norm was folded into has a bias, its module may have none
        for node in graph.node:
            module, inputs = module_of(node.name), [name for name in node.input if name in self._constants]
            self._read.setdefault(module, set()).update(inputs)
            if len(node.input) > 1 and node.input[1] in self._constants:
                self._add_layer(node, module)

    @property
    def modules(self) -> set[str]:
        """Names of the layers."""
        return {name.rpartition(".")[0] for name in self.layers}

    def get(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """A layer's parameter, or any other: by its own name, else what its module reads in that shape."""
        if name in self.layers:
            return self.layers[name]
        if name in self._constants and self._constants[name].shape == shape:
            return self._constants[name]
        read = [self._constants[source] for source in self._read.get(name.rpartition(".")[0], ())]
        fitting = [value for value in read if value.shape == shape]
        return fitting[0] if len(fitting) == 1 else None

    def _add_layer(self, node: onnx.NodeProto, module: str) -> None:
        for parameter, name in zip(LAYERS.get(node.op_type, ()), node.input[1:], strict=False):
            if name in self._constants:
                self.layers[f"{module}.{parameter}"] = self._constants[name]
        if node.op_type == "MatMul" or (node.op_type == "Gemm" and not _attribute(node, "transB", 0)):
            self.layers[f"{module}.weight"] = np.ascontiguousarray(self._constants[node.input[1]].T)


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(entry.i) for entry in node.attribute if entry.name == name), default)
