"""What needs no training, to stand beside what was trained: mean shapes, and another project's body net."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from edgepose import EdgeposeError, ops
from edgepose.skeletons import Skeleton
from edgepose.transforms import apply_affine, bbox_to_center_scale, crop_affine, invert_affine
from edgepose_training.evaluation.labels import Labels, Predictions

TINYPOSE_FILE = "pp_tinypose_256x192.onnx"
TINYPOSE_INPUT = (192, 256)  # W, H
TINYPOSE_STRIDE = 4
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
    return np.divide(total, count, out=np.full(total.shape, 0.5), where=count > 0)


def placed(shape: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """A mean shape [K, 2] put into boxes [N, 4]: [N, K, 2] px, NaN where the box is."""
    return boxes[:, None, :2] + shape * (boxes[:, 2:] - boxes[:, :2])[:, None]


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
        points, peaks = heatmap_peaks((maps + mirrored) / 2)
        body = apply_affine(invert_affine(affine), points * TINYPOSE_STRIDE)
        keypoints = np.zeros((len(bboxes), self._count, 2), np.float32)
        scores = np.zeros((len(bboxes), self._count), np.float32)
        keypoints[:, : body.shape[1]], scores[:, : body.shape[1]] = body, peaks
        return keypoints, scores

    def _heatmaps(self, crops: np.ndarray) -> np.ndarray:
        return self._session.run(None, {self._session.get_inputs()[0].name: crops})[0]


def heatmap_peaks(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Peaks [N, K, 2] (x, y cells, sub-cell) and heights [N, K] of heat maps [N, K, h, w].

    The sub-cell part is one Newton step on the log of the smoothed map (DARK).
    """
    count, points, height, width = maps.shape
    flat = maps.reshape(count, points, -1)
    y, x = np.divmod(flat.argmax(-1), width)  # [N, K]
    inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    smooth = np.stack([cv2.GaussianBlur(one.transpose(1, 2, 0), (11, 11), 0) for one in maps])
    smooth = smooth.reshape(count, height, width, points)  # OpenCV drops a last axis of one
    log_maps = np.log(np.maximum(smooth, 1e-10))
    step = _newton_step(log_maps, np.clip(x, 2, width - 3), np.clip(y, 2, height - 3))
    return np.stack([x, y], -1) + np.where(inside[..., None], step, 0), flat.max(-1)


def _newton_step(log_maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """−H⁻¹·g [N, K, 2] of log_maps [N, h, w, K] at cells x, y [N, K], by central differences; 0 where H is no peak."""
    n, k = np.ogrid[: x.shape[0], : x.shape[1]]

    def at(dx: int, dy: int) -> np.ndarray:
        return log_maps[n, y + dy, x + dx, k].astype(np.float64)

    gx, gy = (at(1, 0) - at(-1, 0)) / 2, (at(0, 1) - at(0, -1)) / 2
    xx = (at(2, 0) - 2 * at(0, 0) + at(-2, 0)) / 4
    yy = (at(0, 2) - 2 * at(0, 0) + at(0, -2)) / 4
    xy = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / 4
    determinant = xx * yy - xy * xy
    peak = determinant > 1e-12
    step = -np.stack([yy * gx - xy * gy, xx * gy - xy * gx], -1) / np.where(peak, determinant, 1)[..., None]
    return np.where(peak[..., None], np.clip(step, -1, 1), 0)
