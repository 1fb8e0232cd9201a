"""Ways from a frame and its boxes to keypoints: the app's own runtime; or a session's crops, mirrored too."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from edgepose import EdgeposeError, TopdownEstimator
from edgepose.modelcard import simcc_outputs
from edgepose.posenet import PoseNet
from edgepose.runtime import Session
from edgepose.skeletons import Skeleton
from edgepose_training.datasets import Person
from edgepose_training.labels import Predictions

log = logging.getLogger(__name__)


class Predictor(Protocol):
    name: str
    skeleton: Skeleton

    def __call__(self, frame: np.ndarray, bboxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """frame [H, W, 3] uint8 BGR, bboxes [N, 4] xyxy → keypoints [N, K, 2] px, scores [N, K]."""


class RuntimePredictor:
    """The very class that the app runs, so that what ships is what is measured."""

    def __init__(self, model: str | Path, device: str = "cpu", threads: int | None = None) -> None:
        self._estimator = TopdownEstimator(model, device, threads=threads, sequence=False)
        self.name = Path(model).stem
        self.skeleton, self.thresholds = self._estimator.skeleton, self._estimator.thresholds

    def __call__(self, frame: np.ndarray, bboxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        poses = self._estimator(frame, bboxes)
        return poses.keypoints, poses.scores


class CropPredictor:
    """A session between the runtime's own crop and decode, with the flip test where it is asked for."""

    def __init__(self, name: str, session: Session, *, flip: bool = False) -> None:
        self.name = name
        self._net = PoseNet(session)
        self._flip = flip
        self._x, self._y = simcc_outputs(session.outputs)
        self.skeleton, self.thresholds = self._net.skeleton, self._net.thresholds

    def __call__(self, frame: np.ndarray, bboxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        crops, to_frame = self._net.crop(frame, np.asarray(bboxes, np.float32))
        logits = self._net.session.run(crops)
        if self._flip:
            mirrored = self._net.session.run(np.ascontiguousarray(crops[..., ::-1]))
            swapped_x, swapped_y = (mirrored[name][:, self.skeleton.swap] for name in (self._x, self._y))
            merged_x, shift_px = flip_merge_x(logits[self._x], swapped_x, self._net.card.split_ratio)
            logits = {self._x: merged_x, self._y: (logits[self._y] + swapped_y) / 2}
            to_frame[:, :, 2] -= shift_px * to_frame[:, :, 0]  # the decoder's x is `shift_px` too large
        return self._net.decode(logits, to_frame)


def flip_merge_x(
    simcc_x: np.ndarray,  # [N, K, Wx] logits of the crop
    mirrored_x: np.ndarray,  # [N, K, Wx] logits of the mirrored crop, left and right already swapped
    split_ratio: float,
) -> tuple[np.ndarray, float]:
    """Averaged logits [N, K, Wx], and by how many crop pixels a position read from them is too large.

    A mirrored picture holds pixel x at W − 1 − x, so the reversed vector peaks split_ratio − 1 bins too high.
    Whole bins are moved back here; a fraction of a bin cannot be, and is left for the coordinate: half of it,
    as only one of the two averaged vectors is off.
    """
    reversed_x = mirrored_x[..., ::-1]
    excess = split_ratio - 1
    if not float(excess).is_integer():
        return (simcc_x + reversed_x) / 2, excess / (2 * split_ratio)
    bins = int(excess)
    last = np.repeat(reversed_x[..., -1:], bins, axis=-1)
    return (simcc_x + np.concatenate([reversed_x[..., bins:], last], axis=-1)) / 2, 0.0


def make_predictor(
    model: str,
    *,
    flip: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    input_size: tuple[int, int] | None = None,
) -> Predictor:
    """The runtime itself for an ONNX file or a shipped name; its crop, and its decode if it has one, for the rest.

    `input_size` (W, H) looks at a checkpoint that was trained on smaller pictures so far.
    """
    if Path(model).suffix == ".pt":
        return _of_checkpoint(model, flip, device, threads, input_size)
    if input_size is not None:
        raise EdgeposeError(f"{model} has one input size: another is for checkpoints (.pt) in training only.")
    if flip:
        return CropPredictor(Path(model).stem, Session(model, device, threads), flip=True)
    return RuntimePredictor(model, device, threads)


def _of_checkpoint(
    path: str, flip: bool, device: str, threads: int | None, input_size: tuple[int, int] | None
) -> Predictor:
    # Late: measuring an ONNX file should not need torch.
    from edgepose_training.checkpoint_predictors import CheckpointSession, HeatmapPredictor, answers_with_maps

    if answers_with_maps(path):
        return HeatmapPredictor(path, device, threads, input_size, flip=flip)
    return CropPredictor(Path(path).stem, CheckpointSession(path, device, threads, input_size), flip=flip)


def frames(people: Sequence[Person]) -> Iterator[tuple[np.ndarray, list[Person]]]:
    """Each readable picture once, with its people."""
    ordered = sorted(people, key=lambda person: str(person.image))
    for path, group in groupby(ordered, lambda person: person.image):
        frame = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if frame is None:
            log.warning("%s: not a readable image, its people are left out", path)
            continue
        yield frame, list(group)


def predict(people: Sequence[Person], predictors: Sequence[Predictor]) -> tuple[list[Person], list[Predictions]]:
    """Run all predictors on the labels' boxes, picture by picture, leaving out unreadable pictures."""
    kept: list[Person] = []
    found: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in predictors]
    for frame, group in frames(people):
        bboxes = np.stack([person.bbox for person in group])
        for answers, predictor in zip(found, predictors, strict=True):
            answers.append(predictor(frame, bboxes))
        kept += group
    if not kept:
        raise EdgeposeError("None of the pictures could be read: check the image folder.")
    return kept, [_stacked(predictor, answers) for predictor, answers in zip(predictors, found, strict=True)]


def _stacked(predictor: Predictor, answers: list[tuple[np.ndarray, np.ndarray]]) -> Predictions:
    keypoints, scores = (np.concatenate(arrays) for arrays in zip(*answers, strict=True))
    return Predictions(predictor.name, keypoints, scores, getattr(predictor, "parts", None))
