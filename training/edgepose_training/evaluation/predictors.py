"""Ways from a frame and its boxes to keypoints: the app's own runtime, or its crop and decode around a session."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np

from edgepose import EdgeposeError, TopdownEstimator
from edgepose.images import read_image
from edgepose.posemodel import PoseModel, PoseSession
from edgepose.skeletons import Skeleton
from edgepose_training.data.coco import Person
from edgepose_training.evaluation.labels import Predictions
from edgepose_training.progress import progress

log = logging.getLogger(__name__)


class Predictor(Protocol):
    """From a frame and boxes to keypoints."""

    name: str

    def __call__(self, frame: np.ndarray, bboxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """frame [H, W, 3] uint8 BGR, bboxes [N, 4] xyxy → keypoints [N, K, 2] px, scores [N, K]."""


class ModelPredictor(Predictor, Protocol):
    """A model's, which says what its points are."""

    skeleton: Skeleton
    thresholds: np.ndarray  # [K] scores from which points are shown


class RuntimePredictor:
    """The very class that the app runs, so that what ships is what is measured."""

    def __init__(
        self,
        model: str | Path,
        device: str = "cpu",
        threads: int | None = None,
        *,
        flip: bool = False,
        refine: str | None = None,
    ) -> None:
        self._estimator = TopdownEstimator(
            model, device, threads=threads, sequence=False, flip_test=flip, refine=refine
        )
        self.name = Path(model).stem
        self.skeleton, self.thresholds = self._estimator.skeleton, self._estimator.thresholds

    def __call__(self, frame: np.ndarray, bboxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        poses = self._estimator(frame, bboxes)
        return poses.keypoints, poses.scores


class CropPredictor:
    """What is no ONNX file, such as a checkpoint, between the runtime's own crop and decode."""

    def __init__(self, name: str, session: PoseSession, *, flip: bool = False, refine: str | None = None) -> None:
        self.name = name
        self._net = PoseModel(session, flip_test=flip, refine=refine)
        self.skeleton, self.thresholds = self._net.skeleton, self._net.thresholds

    def __call__(self, frame: np.ndarray, bboxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        crops, to_frame = self._net.crop(frame, np.asarray(bboxes, np.float32))
        return self._net.decode(self._net.run(crops), to_frame)


def make_predictor(
    model: str,
    *,
    flip: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    input_size: tuple[int, int] | None = None,
    refine: str | None = None,
) -> ModelPredictor:
    """The runtime itself for an ONNX file or a shipped name; its crop and its decode for a checkpoint.

    `input_size` (W, H) looks at a checkpoint that was trained on smaller images so far; `refine` reads points off in
    another way than the card says.
    """
    if Path(model).suffix == ".pt":
        # Late: measuring an ONNX file should not need torch.
        from edgepose_training.evaluation.checkpoint_predictors import CheckpointSession

        session = CheckpointSession(model, device, threads, input_size)
        return CropPredictor(Path(model).stem, session, flip=flip, refine=refine)
    if input_size is not None:
        raise EdgeposeError(f"{model} has one input size: another is for checkpoints (.pt) in training only.")
    return RuntimePredictor(model, device, threads, flip=flip, refine=refine)


def tell_apart(predictors: Sequence[Predictor]) -> None:
    """Number the names that come again, so that figures can go by name."""
    names: set[str] = set()
    for number, predictor in enumerate(predictors):
        predictor.name = f"{predictor.name} ({number})" if predictor.name in names else predictor.name
        names.add(predictor.name)


def pictures(images: Mapping[int, Path]) -> Iterator[tuple[int, np.ndarray]]:
    """Id and pixels [H, W, 3] BGR of each readable image."""
    for number, path in images.items():
        try:
            yield number, read_image(path)
        except EdgeposeError as error:
            log.warning("not a readable image, nobody is found in it: %s", error)


def frames(people: Sequence[Person]) -> Iterator[tuple[np.ndarray, list[Person]]]:
    """Each readable image once, with its people."""
    ordered = sorted(people, key=lambda person: str(person.image))
    for path, group in groupby(ordered, lambda person: person.image):
        try:
            frame = read_image(path)
        except EdgeposeError as error:
            log.warning("not a readable image, its people are left out: %s", error)
            continue
        yield frame, list(group)


def predict(people: Sequence[Person], predictors: Sequence[Predictor]) -> tuple[list[Person], list[Predictions]]:
    """Run all predictors on the labels' boxes, image by image, leaving out unreadable images."""
    kept: list[Person] = []
    found: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in predictors]
    images = len({person.image for person in people})
    for frame, group in progress(frames(people), "predict", images):
        bboxes = np.stack([person.bbox for person in group])
        for answers, predictor in zip(found, predictors, strict=True):
            answers.append(predictor(frame, bboxes))
        kept += group
    if not kept:
        raise EdgeposeError("None of the images could be read: check the image folder.")
    return kept, [_stacked(predictor, answers) for predictor, answers in zip(predictors, found, strict=True)]


def _stacked(predictor: Predictor, answers: list[tuple[np.ndarray, np.ndarray]]) -> Predictions:
    keypoints, scores = (np.concatenate(arrays) for arrays in zip(*answers, strict=True))
    parts, thresholds = (getattr(predictor, name, None) for name in ("parts", "thresholds"))
    return Predictions(predictor.name, keypoints, scores, parts, thresholds)
