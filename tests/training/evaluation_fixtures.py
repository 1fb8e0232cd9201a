"""Small made-up images, labels and models for the tests of evaluation and export."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgepose import ModelCard, Skeleton
from edgepose.ops.reference import heatmap_encode
from edgepose.transforms import apply_affine, bbox_to_center_scale, crop_affine, invert_affine

INPUT_SIZE = (48, 64)  # W, H
WHOLEBODY = Skeleton.load("coco_wholebody")
FIELDS = {
    "body": "keypoints",
    "foot": "foot_kpts",
    "face": "face_kpts",
    "lefthand": "lefthand_kpts",
    "righthand": "righthand_kpts",
}
BOXES = {1: [[20, 10, 60, 100]], 2: [[5, 5, 40, 80], [70, 20, 50, 60]], 3: [[30, 30, 64, 64]]}  # xywh by image
SOURCES = {1: "coco", 2: "lspet", 3: "gesture"}


def card(skeleton: Skeleton = WHOLEBODY, **entries) -> ModelCard:
    defaults = {"input_size": INPUT_SIZE, "sigma": (2.45, 2.83), "skeleton": skeleton}
    return ModelCard(name="constant", **(defaults | entries))


def bins(skeleton: Skeleton = WHOLEBODY) -> np.ndarray:
    """Bins [K, 2] (x, y) at which the constant model peaks: spread over the crop, all different."""
    count = skeleton.num_keypoints
    return np.stack([20 + (np.arange(count) * 7) % 55, 10 + (np.arange(count) * 5) % 105], 1)


def constant_model(path: Path, model_card: ModelCard | None = None, peak: float = 1.0) -> Path:
    """A model that answers every crop with Gaussian logits around `bins`; the crop itself changes nothing."""
    model_card = model_card or card()
    logits = {}
    for axis, name in enumerate(("simcc_x", "simcc_y")):
        positions = np.arange(model_card.bins[axis])
        distance = (positions - bins(model_card.skeleton)[:, axis, None]) / model_card.sigma[axis]
        logits[name] = (peak * np.exp(-0.5 * distance**2)).astype(np.float32)[None]
    return _constant(path, model_card, logits)


def heatmap_card(skeleton: Skeleton = WHOLEBODY, **entries) -> ModelCard:
    maps = {"codec": "heatmap", "split_ratio": 0.25, "sigma": (2.0, 2.0), "beta": None, "score": "max"}
    return card(skeleton, **(maps | {"refine": "quarter"} | entries))


def constant_heatmaps(path: Path, model_card: ModelCard | None = None, peak: float = 1.0) -> Path:
    """The same as a net of heat maps: cells of 4 px, Gaussians around the real-valued places."""
    model_card = model_card or heatmap_card()
    skeleton = model_card.skeleton
    points, visible = (bins(skeleton) / 2).astype(np.float32)[None], np.ones((1, skeleton.num_keypoints), np.float32)
    sizes = {"input_size": model_card.input_size, "heatmap_size": model_card.bins}
    maps, _ = heatmap_encode(points, visible, **sizes, sigma=model_card.sigma[0], center="exact")
    return _constant(path, model_card, {"heatmaps": peak * maps})


def _constant(path: Path, model_card: ModelCard, answers: dict[str, np.ndarray]) -> Path:
    """A model that answers every crop with these arrays [1, …]."""
    width, height = model_card.input_size
    nodes = [
        # One zero a person: the mean of a crop times zero, so that the batch size follows the input.
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Mul", ["mean", "zero"], ["nothing_4d"]),
        helper.make_node("Squeeze", ["nothing_4d", "last"], ["nothing_3d"]),
        *(helper.make_node("Add", [f"{name}_row", f"nothing_{rows.ndim}d"], [name]) for name, rows in answers.items()),
    ]
    constants = [
        numpy_helper.from_array(np.float32(0).reshape(1, 1, 1, 1), "zero"),
        numpy_helper.from_array(np.array([3], np.int64), "last"),
        *(numpy_helper.from_array(rows, f"{name}_row") for name, rows in answers.items()),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, height, width])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *rows.shape[1:]])
            for name, rows in answers.items()
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.metadata_props.add(key="edgepose", value=model_card.to_json())
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def expected_keypoints(bboxes: np.ndarray, skeleton: Skeleton = WHOLEBODY) -> np.ndarray:
    """Where the constant model puts the points [N, K, 2] of people in these boxes [N, 4] xyxy."""
    width, height = INPUT_SIZE
    center, scale = bbox_to_center_scale(bboxes, aspect=width / height, padding=1.25)
    to_frame = invert_affine(crop_affine(center, scale, INPUT_SIZE))
    crop_points = np.broadcast_to(bins(skeleton) / 2, (len(bboxes), skeleton.num_keypoints, 2))
    return apply_affine(to_frame, crop_points.astype(np.float32))


def dataset(folder: Path, *, split: str = "val", offset: float = 0.0, skeleton: Skeleton = WHOLEBODY) -> Path:
    """Images and COCO-WholeBody labels that the constant model meets exactly, moved by `offset` px in x."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    images, annotations = [], []
    for image_id, boxes in BOXES.items():
        pixels = np.random.default_rng(image_id).integers(0, 255, (128, 128, 3), np.uint8)
        cv2.imwrite(str(folder / "images" / f"{image_id}.png"), pixels)
        images.append(
            {"id": image_id, "file_name": f"{image_id}.png", "width": 128, "height": 128, "source": SOURCES[image_id]}
        )
        for xywh in boxes:
            annotations.append(_annotation(len(annotations) + 1, image_id, xywh, offset, skeleton))
    document = {"images": images, "annotations": annotations}
    (folder / "annotations" / f"{split}.json").write_text(json.dumps(document))
    return folder


def _annotation(number: int, image_id: int, xywh: list, offset: float, skeleton: Skeleton) -> dict:
    x, y, w, h = xywh
    points = expected_keypoints(np.array([[x, y, x + w, y + h]], np.float32), skeleton)[0] + [offset, 0]
    entry = {"id": number, "image_id": image_id, "category_id": 1, "bbox": xywh, "area": 0.53 * w * h, "iscrowd": 0}
    for part, (start, stop) in skeleton.parts.items():
        triples = np.column_stack([points[start:stop], np.full(stop - start, 2)])
        entry[FIELDS[part]] = triples.astype(float).ravel().tolist()
        low, high = points[start:stop].min(0), points[start:stop].max(0)
        entry[f"{part}_box"] = [*map(float, low), *map(float, high - low)]
    return entry
