"""Fixtures of the app's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from doubles import NUM_KEYPOINTS, Stream


@pytest.fixture
def stream() -> Iterator[Stream]:
    made = Stream()
    yield made
    made.close()


@pytest.fixture(scope="session")
def constant_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX pose net that always answers the same: point k at bins (100 + k, 200 + k) of 384 × 512.

    Without a card, as a third party would export it, so the runtime infers the RTMPose defaults.
    """
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    def logits(bins: int, first: int) -> np.ndarray:  # [1, K, bins]
        rows = np.zeros((1, NUM_KEYPOINTS, bins), np.float32)
        rows[0, np.arange(NUM_KEYPOINTS), first + np.arange(NUM_KEYPOINTS)] = 0.9
        return rows

    node, constant = helper.make_node, numpy_helper.from_array
    nodes = [
        node("ReduceMean", ["input"], ["gray"], axes=[1], keepdims=0),
        node("ReduceMean", ["gray"], ["mean"], axes=[1, 2], keepdims=1),
        node("Mul", ["mean", "nought"], ["nothing"]),  # [N, 1, 1] zeros: brings N along
        node("Add", ["nothing", "row_x"], ["simcc_x"]),
        node("Add", ["nothing", "row_y"], ["simcc_y"]),
    ]
    inits = [
        constant(np.zeros(1, np.float32), "nought"),
        constant(logits(384, 100), "row_x"),
        constant(logits(512, 200), "row_y"),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["N", 3, 256, 192])],
        [
            helper.make_tensor_value_info("simcc_x", onnx.TensorProto.FLOAT, ["N", NUM_KEYPOINTS, 384]),
            helper.make_tensor_value_info("simcc_y", onnx.TensorProto.FLOAT, ["N", NUM_KEYPOINTS, 512]),
        ],
        inits,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path_factory.mktemp("models") / "constant.onnx"
    onnx.save(model, path)
    return path
