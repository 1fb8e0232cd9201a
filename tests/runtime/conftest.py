"""Nets whose answers are known: one that always says the same, one that finds colored dots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from figures import DOTS, FIGURE

from edgepose.modelcard import METADATA_KEY, ModelCard
from edgepose.skeletons import Skeleton

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import helper, numpy_helper  # noqa: E402

FLOAT = onnx.TensorProto.FLOAT


def dots_skeleton() -> Skeleton:
    return Skeleton.from_dict(
        {
            "name": "dots",
            "keypoints": list(DOTS),
            "swap": [[1, 2], [3, 4]],
            "links": [[0, 1], [0, 2], [0, 3], [0, 4]],
        }
    )


def save(nodes: list, inits: dict, inputs: dict, outputs: dict, path: Path, card: ModelCard | None = None) -> Path:
    def values(shapes: dict) -> list:
        return [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in shapes.items()]

    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in inits.items()]
    graph = helper.make_graph(nodes, "net", values(inputs), values(outputs), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if card is not None:
        helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def constant_net(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a net that answers with the given arrays ([1, …] each, repeated for every row of the batch)."""

    def make(
        answers: dict[str, np.ndarray],
        input_shape: tuple = ("N", 3, 256, 192),
        card: ModelCard | None = None,
        batch: str | int = "N",
        output_shapes: dict | None = None,
    ) -> Path:
        node = helper.make_node
        nodes = [
            node("Slice", ["input", "zero", "one", "channels"], ["corner"]),  # [N, 1, 1, 1]
            node("Reshape", ["corner", "flat"], ["column"]),
            node("Mul", ["column", "nought"], ["nothing"]),  # [N] zeros: brings N along
        ]
        inits: dict = {
            "zero": np.zeros(3, np.int64),
            "one": np.ones(3, np.int64),
            "channels": np.array([1, 2, 3]),
            "flat": np.array([-1]),
            "nought": np.zeros(1, np.float32),
        }
        shapes = {}
        for name, answer in answers.items():
            tail = answer.shape[1:]
            inits |= {
                f"{name}_rows": answer.astype(np.float32),
                f"{name}_tail": np.array([-1, *[1] * len(tail)]),
            }
            nodes += [
                node("Reshape", ["nothing", f"{name}_tail"], [f"{name}_nothing"]),
                node("Add", [f"{name}_nothing", f"{name}_rows"], [name]),
            ]
            shapes[name] = (output_shapes or {}).get(name, (batch, *tail))
        path = tmp_path_factory.mktemp("nets") / "constant.onnx"
        return save(nodes, inits, {"input": (batch, *input_shape[1:])}, shapes, path, card)

    return make


@pytest.fixture
def peaks() -> Callable[..., np.ndarray]:
    """Logits [1, K, bins] with one bin of the given height per keypoint, zeros elsewhere."""

    def make(bins: int, at: list[int], height: float = 0.9) -> np.ndarray:
        rows = np.zeros((1, len(at), bins), np.float32)
        rows[0, np.arange(len(at)), at] = height
        return rows

    return make


@pytest.fixture(scope="session")
def dot_net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net that really looks: it finds the dot of each color, at 48 × 64, and knows when there is none."""
    width, height = 48, 64
    colors = np.array(list(DOTS.values()), np.float32).reshape(1, -1, 3, 1, 1) / 255
    card = ModelCard("dots", input_size=(width, height), mean=(0, 0, 0), std=(255, 255, 255), sigma=(2.0, 2.3),
                     skeleton=dots_skeleton())  # fmt: skip
    ring = np.arange(-4, 5, dtype=np.float32)
    bell = np.exp(-0.5 * (ring[:, None] ** 2 + ring**2) / 1.3**2)
    node = helper.make_node
    nodes = [
        node("Unsqueeze", ["input", "one"], ["pixels"]),
        node("Sub", ["pixels", "colors"], ["apart"]),
        node("Mul", ["apart", "apart"], ["squares"]),
        node("ReduceSum", ["squares", "two"], ["distance"], keepdims=0),  # [N, K, H, W]
        node("Mul", ["distance", "sharpness"], ["cold"]),
        node("Exp", ["cold"], ["alike"]),
        node("Conv", ["alike", "bell"], ["map"], group=5, pads=[4] * 4),  # one peak, however large the dot
    ]
    for axis, keep in (("x", 2), ("y", 3)):
        nodes += [
            node("ReduceMax", ["map"], [f"line_{axis}"], axes=[keep], keepdims=1),
            node("Resize", [f"line_{axis}", "", f"scale_{axis}"], [f"fine_{axis}"], mode="linear",
                 coordinate_transformation_mode="asymmetric"),
            node("Squeeze", [f"fine_{axis}", f"axis_{axis}"], [f"simcc_{axis}"]),
        ]  # fmt: skip
    inits = {
        "one": np.array([1]),
        "two": np.array([2]),
        "bell": np.tile(3 * bell / bell.sum(), (5, 1, 1, 1)),
        "colors": colors,
        "sharpness": np.array(-6.0, np.float32),
        "scale_x": np.array([1, 1, 1, 2], np.float32),
        "scale_y": np.array([1, 1, 2, 1], np.float32),
        "axis_x": np.array([2]),
        "axis_y": np.array([3]),
    }
    outputs = {"simcc_x": ("N", 5, 2 * width), "simcc_y": ("N", 5, 2 * height)}
    path = tmp_path_factory.mktemp("nets") / "dots.onnx"
    return save(nodes, inits, {"input": ("N", 3, height, width)}, outputs, path, card)


@pytest.fixture
def draw_figures() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Makes a frame [H, W, 3] with figures in the given boxes, and their true points [N, 5, 2]."""
    import cv2

    def make(size: tuple[int, int], bboxes: list[tuple[float, ...]]) -> tuple[np.ndarray, np.ndarray]:
        frame = np.zeros((size[1], size[0], 3), np.uint8)
        boxes = np.array(bboxes, np.float32).reshape(-1, 4)
        points = boxes[:, None, :2] + FIGURE * (boxes[:, 2:] - boxes[:, :2])[:, None]
        for box, figure in zip(boxes, points, strict=True):
            radius = max(int((box[3] - box[1]) * 0.05), 1)
            for (x, y), rgb in zip(figure, DOTS.values(), strict=True):
                cv2.circle(frame, (round(x * 16), round(y * 16)), radius * 16, rgb[::-1], -1, cv2.LINE_AA, 4)
        return frame, points

    return make
