"""Edits of an ONNX graph: how weights are stored."""

import numpy as np
import onnx
import onnx.reference
from onnx import TensorProto, helper, numpy_helper

from edgepose_training.deploy import onnx_graph


def test_int8_storage_rounds_each_output_channel_by_its_own_step():
    """Of a convolution the first axis is the output channel, of a matrix product the last; zeros stay zeros."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(40, 4, 3, 3)).astype(np.float32) * np.logspace(-6, 3, 40)[:, None, None, None]
    kernel[5] = 0
    product = rng.normal(size=(48, 64)).astype(np.float32) * np.logspace(3, -6, 64)
    weights = {"kernel": kernel.astype(np.float32), "product": product.astype(np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["y"]),
        helper.make_node("MatMul", ["z", "product"], ["w"]),
        helper.make_node("Identity", ["kernel"], ["restored_kernel"]),
        helper.make_node("Identity", ["product"], ["restored_product"]),
    ]
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "z")}
    outputs = [helper.make_tensor_value_info(f"restored_{name}", TensorProto.FLOAT, None) for name in weights]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    model = helper.make_model(helper.make_graph(nodes, "g", list(values.values()), outputs, tensors))
    onnx_graph.store_int8(model)
    evaluator = onnx.reference.ReferenceEvaluator(model)
    feeds = {"x": np.zeros((1, 4, 8, 8), np.float32), "z": np.zeros((1, 48), np.float32)}
    restored = dict(zip(weights, evaluator.run(None, feeds), strict=True))
    for name, axes in (("kernel", (1, 2, 3)), ("product", (0,))):
        step = np.abs(weights[name]).max(axis=axes, keepdims=True) / 127
        assert (np.abs(restored[name] - weights[name]) <= 0.5001 * step).all()
    assert not restored["kernel"][5].any()


def test_weights_beyond_halfs_range_stay_float32():
    values = np.full(64, 1e5, np.float32)
    tensors = [numpy_helper.from_array(values, "huge"), numpy_helper.from_array(np.ones(64, np.float32), "fine")]
    output = helper.make_tensor_value_info("sum", TensorProto.FLOAT, [64])
    nodes = [helper.make_node("Add", ["huge", "fine"], ["sum"])]
    model = helper.make_model(helper.make_graph(nodes, "g", [], [output], tensors))
    onnx_graph.store_half(model)
    kept = {tensor.name: tensor for tensor in model.graph.initializer}
    np.testing.assert_array_equal(numpy_helper.to_array(kept["huge"]), values)
    assert "fine_half" in kept
