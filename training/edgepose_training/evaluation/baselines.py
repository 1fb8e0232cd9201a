"""Baselines that need no training: mean shapes, and another project's body net."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgepose import EdgeposeError, ops
from edgepose.skeletons import Skeleton
from edgepose.transforms import bbox_to_center_scale, crop_affine, invert_affine
from edgepose_training.evaluation.labels import Labels, Predictions

TINYPOSE_FILE = "pp_tinypose_256x192.onnx"
TINYPOSE_INPUT = (192, 256)  # W, H
IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}


def mean_shape(
    keypoints: np.ndarray,  # [N, K, 2]
    visible: np.ndarray,  # [N, K] > 0 where labeled
    boxes: np.ndarray,  # [N, 4] xyxy; rows with NaN are left out
) -> np.ndarray:
    """Mean position [K, 2] of every point in box units over the people that have it; 0.5 if none has."""
    size = boxes[:, 2:] - boxes[:, :2]
    relative = (keypoints - boxes[:, None, :2]) / size[:, None]
    labeled = (visible > 0) & np.isfinite(boxes).all(1)[:, None]
    total = np.where(labeled[..., None], relative, 0).sum(0)
    count = labeled.sum(0)[:, None]
    mean: np.ndarray = np.divide(total, count, out=np.full(total.shape, 0.5), where=count > 0)
    return mean


def placed(shape: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """A mean shape [K, 2] put into boxes [N, 4]: [N, K, 2] px, NaN where the box is."""
    points: np.ndarray = boxes[:, None, :2] + shape * (boxes[:, 2:] - boxes[:, :2])[:, None]
    return points


def mean_pose(train: Labels, people: Labels) -> Predictions:
    """The mean pose of the training people placed in each person's box."""
    keypoints = placed(mean_shape(train.keypoints, train.visible, train.bbox), people.bbox)
    return Predictions("mean pose in the box", keypoints, np.ones(keypoints.shape[:2]))


def mean_parts(train: Labels, people: Labels, parts: Mapping[str, tuple[int, int]]) -> Predictions:
    """The mean face and the mean left and right hand, each placed in the part's own true box."""
    keypoints = np.full(people.keypoints.shape, np.nan)
    known = tuple(part for part in ("face", "lefthand", "righthand") if part in parts)
    for part in known:
        points = slice(*parts[part])
        shape = mean_shape(train.keypoints[:, points], train.visible[:, points], train.part_boxes[part])
        keypoints[:, points] = placed(shape, people.part_boxes[part])
    return Predictions("mean face and hands in their true boxes", keypoints, np.ones(keypoints.shape[:2]), known)


class TinyPose:
    """PP-TinyPose: heat maps [N, 17, 64, 48] of the 17 body points.

    It made the teacher's body labels (v = 1) and has seen COCO train2017: only ground-truth points compare
    fairly.
    """

    name = "labeling net (PP-TinyPose)"
    parts = ("body",)

    def __init__(self, teachers: str | Path, skeleton: Skeleton, threads: int | None = None) -> None:
        # Not through edgepose.runtime: that one accepts SimCC nets only, and this one is none.
        import onnxruntime

        path = Path(teachers) / TINYPOSE_FILE
        if not path.is_file():
            raise EdgeposeError(f"{path}: the labeling net is not there; leave --teachers out or correct it.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning starves other work
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._count = skeleton.num_keypoints
        start, stop = skeleton.parts["body"]
        self._swap = np.asarray(skeleton.swap[start:stop]) - start

    def __call__(self, frame: np.ndarray, bboxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        width, height = TINYPOSE_INPUT
        center, scale = bbox_to_center_scale(bboxes, aspect=width / height, padding=1.25)
        affine = crop_affine(center, scale, TINYPOSE_INPUT)
        crops = ops.crop_normalize(frame, affine, input_size=TINYPOSE_INPUT, channel_order="rgb", **IMAGENET)
        maps = self._heatmaps(crops)
        mirrored = self._heatmaps(np.ascontiguousarray(crops[..., ::-1]))[:, self._swap, :, ::-1]
        body, peaks = ops.heatmap_decode(
            (maps + mirrored) / 2, input_size=TINYPOSE_INPUT, refine="dark", affine=invert_affine(affine)
        )
        keypoints = np.zeros((len(bboxes), self._count, 2), np.float32)
        scores = np.zeros((len(bboxes), self._count), np.float32)
        keypoints[:, : body.shape[1]], scores[:, : body.shape[1]] = body, peaks
        return keypoints, scores

    def _heatmaps(self, crops: np.ndarray) -> np.ndarray:
        maps: np.ndarray = self._session.run(None, {self._session.get_inputs()[0].name: crops})[0]
        return maps
