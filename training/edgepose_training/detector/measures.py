"""Measures of a person detector: AP50 of large people, recall, false positives on empty windows, close-ups, time."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgepose import Detector
from edgepose.boxes import iou_matrix
from edgepose.images import read_image
from edgepose_training.data.annotations import load_document
from edgepose_training.data.sources import NO_ROLES, SourceRoles
from edgepose_training.detector.person_lists import read_negatives
from edgepose_training.detector.samples import empty_window
from edgepose_training.metrics.box_precision import BoxTruth, average_precision, match_boxes, recall

LOWEST = 0.05  # boxes below do not matter to the curve
LARGE, TALL = 0.15, 1 / 3  # of the image's height
SAME = 0.5  # overlap of a box that finds a person
WINDOW_SIDE = 88  # px of a window without people, at least; below, people cannot tell either
PER_SOURCE = 130  # windows; more of one source would repeat the same rooms
Boxes = tuple[np.ndarray, np.ndarray]  # [D, 4] xyxy, scores [D]


@dataclass(frozen=True)
class Scene:
    """One image of a validation set. Boxes xyxy in pixels of the file."""

    path: Path
    size: tuple[int, int]  # W, H
    source: str
    listed: np.ndarray  # [M, 4] `person_boxes` as the source has them, nothing cleaned
    labeled: np.ndarray  # [L, 4] of them, people with points


@dataclass(frozen=True)
class EmptyWindow:
    """An image, or a window (x, y, w, h) of one, without people."""

    path: Path
    window: tuple[int, int, int, int] | None

    def read(self) -> np.ndarray:
        image = read_image(self.path)
        if self.window is None:
            return image
        x, y, w, h = self.window
        return np.ascontiguousarray(image[y : y + h, x : x + w])


def read_scenes(data: Path, split: str = "val") -> list[Scene]:
    document = load_document(data / "annotations" / f"{split}.json")
    labeled: defaultdict[int, list[list[float]]] = defaultdict(list)
    for annotation in document["annotations"]:
        labeled[annotation["image_id"]].append(annotation["bbox"])
    return [
        Scene(
            data / "images" / entry["file_name"],
            (entry["width"], entry["height"]),
            entry["source"],
            _xyxy(entry["person_boxes"]),
            _xyxy(labeled[entry["id"]]),
        )
        for entry in document["images"]
    ]


def empty_windows(
    data: Path, scenes: Sequence[Scene], count: int, split: str = "val", roles: SourceRoles = NO_ROLES
) -> list[EmptyWindow]:
    """The split's images in `negatives.json`, then windows of its other images that touch no listed box.

    The same windows on every call.
    """
    windows = [EmptyWindow(image.path, None) for image in read_negatives(data, split)]
    taken: Counter[str] = Counter()
    for i in np.random.default_rng(5).permutation(len(scenes)):
        scene = scenes[i]
        if len(windows) == count:
            break
        if f"{scene.path.parent.name}/{scene.path.stem}" in roles.not_empty or taken[scene.source] == PER_SOURCE:
            continue
        margin = np.array([-4, -4, 4, 4], np.float32)
        window = empty_window(np.random.default_rng([5, i]), scene.size[::-1], scene.listed + margin, tries=200)
        if window is not None and min(window[2:]) >= WINDOW_SIDE:
            windows.append(EmptyWindow(scene.path, window))
            taken[scene.source] += 1
    return windows


def find_people(detector: Detector, scenes: Sequence[Scene]) -> list[Boxes]:
    return [detector(read_image(scene.path)) for scene in scenes]


def measure(
    found: Sequence[Boxes], scenes: Sequence[Scene], threshold: float, roles: SourceRoles = NO_ROLES
) -> dict[str, float]:
    """The measures on images with people, at the detector's default threshold; shares in [0, 1]."""
    large = [match_boxes(*boxes, _truth(scene, LARGE)) for boxes, scene in zip(found, scenes, strict=True)]
    tall = [match_boxes(*boxes, _truth(scene, TALL)) for boxes, scene in zip(found, scenes, strict=True)]
    near = [
        (iou_matrix(boxes[scores >= threshold], scene.labeled) >= SAME).any(axis=0)
        for (boxes, scores), scene in zip(found, scenes, strict=True)
        if scene.source in roles.close_ups
    ]
    return {
        "ap50": average_precision(large),
        "recall": recall(tall, threshold),
        "close_ups": float(np.concatenate(near).mean()) if near else float("nan"),
    }


def ap50_of(found: Sequence[Boxes], scenes: Sequence[Scene], sources: Collection[str]) -> float:
    """AP50 of large people on the images of some sources; NaN where there are none."""
    rows = [i for i, scene in enumerate(scenes) if scene.source in sources]
    return average_precision([match_boxes(*found[i], _truth(scenes[i], LARGE)) for i in rows]) if rows else float("nan")


def by_source(
    found: Sequence[Boxes], scenes: Sequence[Scene], threshold: float, roles: SourceRoles = NO_ROLES
) -> dict[str, dict[str, float]]:
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for i, scene in enumerate(scenes):
        groups[scene.source].append(i)
    return {
        source: {"people": float(sum(len(scenes[i].listed) for i in rows))}
        | measure([found[i] for i in rows], [scenes[i] for i in rows], threshold, roles)
        for source, rows in sorted(groups.items())
    }


def false_positives(highest: np.ndarray, threshold: float) -> float:  # [E] highest score in each empty window
    """Share of the empty windows with a box at the threshold or above."""
    return float((highest >= threshold).mean())


def threshold_at(highest: np.ndarray, share: float) -> float:  # [E] highest score in each empty window
    """The lowest threshold at which at most that share of the empty windows has a false positive."""
    allowed = int(share * len(highest) + 1e-9)
    below = np.sort(highest)[::-1][allowed:]
    return float(np.nextafter(below[0], np.inf, dtype=highest.dtype)) if len(below) else 0.0


def highest_scores(detector: Detector, windows: Sequence[EmptyWindow]) -> np.ndarray:  # [E]
    return np.array([detector(window.read())[1].max(initial=0.0) for window in windows])


def interleaved_times(calls: Mapping[str, Any], rounds: int = 200, warm_up: int = 20) -> dict[str, np.ndarray]:
    """Milliseconds [rounds] of CPU time of each call, in turns, so that what disturbs one disturbs all.

    CPU time of this thread, on which a session of one thread runs whole: other processes do not count.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + warm_up):
        for name, call in calls.items():
            start = time.thread_time()
            call()
            times[name].append((time.thread_time() - start) * 1e3)
    return {name: np.array(values[warm_up:]) for name, values in times.items()}


def network_call(detector: Detector, side: int) -> Callable[[], Any]:
    """The net alone on one square image."""
    batch = np.random.default_rng(0).standard_normal((1, 3, side, side), np.float32)
    return lambda: detector.session.run(batch)


def frames(count: int = 8) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield cv2.resize(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)


def _truth(scene: Scene, share: float) -> BoxTruth:
    smallest = share * scene.size[1]
    large = scene.listed[:, 3] - scene.listed[:, 1] >= smallest
    return BoxTruth(scene.listed[large], scene.listed[~large], smallest)


def _xyxy(boxes: list[list[float]]) -> np.ndarray:  # [M, 4] x, y, w, h
    table = np.array(boxes, np.float32).reshape(-1, 4)
    return np.concatenate([table[:, :2], table[:, :2] + table[:, 2:]], axis=1)
