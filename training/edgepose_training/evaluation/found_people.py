"""Who is found, and where nobody is: the app's whole chain (detector, pose net, decision) on single images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgepose import Detector, EdgeposeError, Poses, TopdownEstimator
from edgepose.boxes import iou_matrix
from edgepose.decision import FEATURES, PersonRule, person_features
from edgepose.draw import visible_points
from edgepose.images import read_image
from edgepose_training.data.annotations import load_document
from edgepose_training.data.registry import empty_images, find_files

SAME = 0.5  # overlap of a box that finds a listed person
NEAR = 0.1  # of the box, within which a point is right
TALL = 1 / 3  # of the image's height: people who count for the recall
_MOST = 10  # detections of an image that the fit looks at
_RIDGE = 1e-4  # keeps weights finite where the data can be told apart without error


@dataclass(frozen=True)
class Picture:
    """An image and the boxes of its people; none in an empty scene. Points and boxes are those of the file."""

    path: Path
    people: np.ndarray  # [M, 4] xyxy px
    labeled: np.ndarray  # [L, 4] of them, people with points,
    points: np.ndarray  # [L, 17, 3] and those of their bodies: x, y, visibility
    quarters: int = 0  # by which the image is turned clockwise when it is read

    def read(self) -> np.ndarray:  # [H, W, 3] BGR
        return np.ascontiguousarray(np.rot90(read_image(self.path), -self.quarters))

    def turned(self, xy: np.ndarray, size: tuple[int, int]) -> np.ndarray:  # [..., 2], (W, H) of the turned image
        """Points of the file in the turned image."""
        width, height = size if self.quarters % 2 == 0 else size[::-1]
        for _ in range(self.quarters % 4):
            xy = np.stack([height - 1 - xy[..., 1], xy[..., 0]], axis=-1)
            width, height = height, width
        return xy

    def turned_boxes(self, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:  # [N, 4]
        corners = self.turned(boxes.reshape(-1, 2, 2), size)
        return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def pictures_of(data: Path, split: str, count: int | None = None, quarters: int = 0) -> list[Picture]:
    """Images with people, or `count` of them, the same ones on every call."""
    labels, folder = find_files(data, split)
    document = load_document(labels)
    people: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in document["annotations"]:
        people[annotation["image_id"]].append(annotation)
    entries = [entry for entry in document["images"] if entry.get("person_boxes")]
    order = np.random.default_rng(0).permutation(len(entries))[:count]
    return [_picture(folder, entries[i], people[entries[i]["id"]], quarters) for i in order]


def _picture(folder: Path, entry: dict[str, Any], people: list[dict[str, Any]], quarters: int) -> Picture:
    points = np.array([person["keypoints"] for person in people], np.float32).reshape(-1, 17, 3)
    boxes = _xyxy([person["bbox"] for person in people])
    return Picture(folder / entry["file_name"], _xyxy(entry["person_boxes"]), boxes, points, quarters)


def scenes_of(data: Path, splits: Sequence[str], quarters: int = 0) -> list[Picture]:
    """The empty scenes of some splits."""
    nobody, nothing = np.zeros((0, 4), np.float32), np.zeros((0, 17, 3), np.float32)
    paths = [path for split in splits for path in empty_images(data, split)]
    return [Picture(path, nobody, nobody, nothing, quarters) for path in paths]


@dataclass
class Found:
    """What the chain did with the images. All are counts."""

    scenes: int = 0
    scenes_with_ghost: int = 0
    ghosts: int = 0  # people seen in them
    pictures: int = 0
    pictures_with_somebody: int = 0
    tall: int = 0  # people over a third of the image's height
    tall_found: int = 0
    points: int = 0  # labeled body points of people with boxes,
    points_right: int = 0  # those of them that were found within a tenth of the box

    def row(self) -> str:
        share = 100 * self.points_right / max(self.points, 1)
        return (
            f"{self.scenes_with_ghost} of {self.scenes} empty scenes show {self.ghosts} people; "
            f"somebody in {self.pictures_with_somebody} of {self.pictures} images with people; "
            f"{self.tall_found} of {self.tall} people over a third of the height; "
            f"{share:.1f} % of {self.points} body points right"
        )


def find(estimator: TopdownEstimator, pictures: Sequence[Picture]) -> Found:
    """Run the estimator on every image by itself."""
    estimator.sequence = False
    found = Found()
    for picture in pictures:
        image = picture.read()
        size = image.shape[1], image.shape[0]
        poses = estimator(image)
        boxes = poses.bboxes
        if not len(picture.people):
            found.scenes += 1
            found.scenes_with_ghost += len(boxes) > 0
            found.ghosts += len(boxes)
            continue
        people = picture.turned_boxes(picture.people, size)
        tall = people[people[:, 3] - people[:, 1] > TALL * image.shape[0]]
        found.pictures += 1
        found.pictures_with_somebody += len(boxes) > 0
        found.tall += len(tall)
        found.tall_found += int((iou_matrix(tall, boxes) >= SAME).any(axis=1).sum())
        found.points += int((picture.points[..., 2] > 0).sum())
        found.points_right += _points_right(picture, poses, size)
    return found


def _points_right(picture: Picture, poses: Poses, size: tuple[int, int]) -> int:
    """Labeled body points within a tenth of the box (side of a square of its area) of those found there."""
    boxes = picture.turned_boxes(picture.labeled, size)
    overlaps, right = iou_matrix(boxes, poses.bboxes), 0
    for box, labels, overlap in zip(boxes, picture.points, overlaps, strict=True):
        if overlap.max(initial=0) >= SAME:
            there = poses.keypoints[int(overlap.argmax()), : len(labels)]
            apart = np.linalg.norm(there - picture.turned(labels[:, :2], size), axis=1)
            right += int(((apart <= NEAR * np.sqrt(np.prod(box[2:] - box[:2]))) & (labels[:, 2] > 0)).sum())
    return right


@dataclass
class Shown:
    """When people were shown in clips of a camera that stands still."""

    scenes: int = 0
    scenes_with_ghost: int = 0  # in any frame
    pictures: int = 0
    delays: list[int] = field(default_factory=list)  # frames until somebody was shown, of those in whom it happened

    def row(self) -> str:
        late = (
            f", on average in frame {np.mean(self.delays):.1f}, the last in {max(self.delays)}" if self.delays else ""
        )
        return (
            f"{self.scenes_with_ghost} of {self.scenes} empty scenes show somebody; "
            f"somebody is shown in {len(self.delays)} of {self.pictures} clips of people{late}"
        )


def find_in_clips(estimator: TopdownEstimator, pictures: Sequence[Picture], frames: int) -> Shown:
    """Run the estimator on a clip of every image: what a camera's noise and a trembling hand make of it."""
    estimator.sequence = True
    shown = Shown()
    for number, picture in enumerate(pictures):
        estimator.reset()
        images = clip(picture.read(), frames, number)
        counts = [len(estimator(image, timestamp=n / 30)) for n, image in enumerate(images)]
        first = next((n for n, count in enumerate(counts) if count), None)
        if len(picture.people):
            shown.pictures += 1
            shown.delays += [first] if first is not None else []
        else:
            shown.scenes += 1
            shown.scenes_with_ghost += first is not None
    return shown


def clip(image: np.ndarray, frames: int, seed: int) -> Iterator[np.ndarray]:  # [H, W, 3]
    """Frames of a still image, shifted by about a pixel from one to the next, with noise of a small sensor."""
    rng, shift = np.random.default_rng(seed), np.zeros(2)
    for _ in range(frames):
        shift = 0.9 * shift + rng.normal(0, 1, 2)
        motion = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
        moved = cv2.warpAffine(image, motion, (image.shape[1], image.shape[0]), borderMode=cv2.BORDER_REPLICATE)
        noise = rng.normal(0, 4, image.shape)
        yield np.clip(moved + noise, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Look:
    """One place that the detector proposed."""

    features: np.ndarray  # [5] as `person_features`
    person: bool
    picture: int


def looks_at(estimator: TopdownEstimator, detector: Detector, pictures: Sequence[Picture]) -> list[Look]:
    """Every detection with the pose in it, of people listed there and of empty scenes.

    Detections of somebody who is not listed say nothing: lists are not complete.
    """
    return [look for n, picture in enumerate(pictures) for look in _looks(estimator, detector, picture, n)]


def _looks(estimator: TopdownEstimator, detector: Detector, picture: Picture, number: int) -> Iterator[Look]:
    image = picture.read()
    size = image.shape[1], image.shape[0]
    boxes, scores = (column[:_MOST] for column in detector(image))
    poses = estimator(image, boxes)
    limits = dict(zip(estimator.skeleton.part_of, estimator.thresholds.tolist(), strict=True))
    confident = visible_points(poses, estimator.skeleton, size, limits)
    features = person_features(scores, poses, confident, size[1])
    listed: np.ndarray = np.any(iou_matrix(picture.turned_boxes(picture.people, size), boxes) >= SAME, axis=0)
    for row, person in zip(features, listed, strict=True):
        if person or not len(picture.people):
            yield Look(row, bool(person), number)


def fit(looks: Sequence[Look], scenes: int, allowed: float, lowest: float) -> PersonRule:
    """Logistic regression with equal weight of people and ghosts.

    `scenes`: how many empty scenes were looked at. The bias puts probability .5 where a share `allowed` of them has a
    ghost, and `sure` where none has. Raises EdgeposeError without people or ghosts to tell apart.
    """
    from scipy.optimize import minimize

    features = np.array([look.features for look in looks], np.float64).reshape(-1, len(FEATURES))
    person = np.array([look.person for look in looks], bool)
    if person.all() or not person.any():
        raise EdgeposeError("the rule needs detections of people and detections in empty scenes")
    weight = np.where(person, 0.5 / person.sum(), 0.5 / (~person).sum())
    columns, sign = np.column_stack([np.ones(len(looks)), features]), np.where(person, -1, 1)

    def loss(weights: np.ndarray) -> float:
        return float(weight @ np.logaddexp(0, sign * (columns @ weights)) + _RIDGE * (weights[1:] ** 2).sum())

    bias, *weights = minimize(loss, np.zeros(columns.shape[1])).x.tolist()
    rule = PersonRule(lowest, 0.0, *weights)
    logits = features @ weights
    worst: dict[int, float] = {}
    for look, logit in zip(looks, logits.tolist(), strict=True):
        if not look.person:
            worst[look.picture] = max(logit, worst.get(look.picture, -np.inf))
    ghosts = [*sorted(worst.values(), reverse=True), -bias]
    limit = ghosts[min(int(allowed * scenes), len(ghosts) - 1)] + 1e-3
    return replace(rule, bias=-limit, sure=float(1 / (1 + np.exp(-(ghosts[0] - limit)))))


def _xyxy(boxes: list[list[float]]) -> np.ndarray:  # [M, 4] x, y, w, h
    table = np.array(boxes, np.float32).reshape(-1, 4)
    return np.concatenate([table[:, :2], table[:, :2] + table[:, 2:]], axis=1)
