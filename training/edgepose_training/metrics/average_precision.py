"""Average precision and recall by OKS, computed by pycocotools on any set of points.

pycocotools is the reference that every published COCO number comes from; it was chosen over an own matcher
for that reason alone. Its own sigmas, detection areas and prints assume 17 body points, so this module hands
it plain tables instead of files.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

MAX_DETECTIONS = 20
STATS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
# Crowding index of an image, half-open, as in CrowdPose's code (its text says 0.1 and 0.8).
CROWDING = {"easy": (0.0, 0.2), "medium": (0.2, 0.8), "hard": (0.8, np.inf)}


@dataclass(frozen=True)
class Truth:
    """A labeled person for AP. Pixels."""

    image_id: int
    bbox: np.ndarray  # [4] xyxy
    area: float  # px²
    keypoints: np.ndarray  # [K, 2]
    visible: np.ndarray  # [K] > 0 where labeled
    crowd: bool = False  # a region to ignore: may match any number of detections, none of which then counts
    ignored: bool = False  # matches one detection, which then does not count, as do people without labeled points


@dataclass(frozen=True)
class Detection:
    """A predicted person for AP. Pixels."""

    image_id: int
    score: float
    area: float  # px²; only decides whether an unmatched one counts in the size ranges
    keypoints: np.ndarray  # [K, 2]


class AveragePrecision:
    """Matches detections to truths once; `stats` are COCO's ten numbers, `resampled` re-weights the images.

    Images without any truth or detection need not be listed. NaN where a number is undefined (no truth in the
    range).
    """

    def __init__(self, truths: Sequence[Truth], detections: Sequence[Detection], sigmas: np.ndarray) -> None:
        self.images = sorted({item.image_id for item in truths} | {item.image_id for item in detections})
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress on stdout
            self._evaluation = COCOeval(_table(truths, _truth_row), _table(detections, _detection_row), "keypoints")
            parameters = self._evaluation.params
            parameters.kpt_oks_sigmas = np.asarray(sigmas, np.float64)
            parameters.maxDets = [MAX_DETECTIONS]
            parameters.imgIds, parameters.catIds = self.images, [1]
            self._evaluation.evaluate()
            self._evaluation.accumulate()
        self._matches = _Matches(self._evaluation.evalImgs[: len(self.images)])  # the size range "all" comes first

    @property
    def stats(self) -> dict[str, float]:
        precision = self._evaluation.eval["precision"][:, :, 0, :, 0]  # [T, R, A]
        recall = self._evaluation.eval["recall"][:, 0, :, 0]  # [T, A]
        half, three_quarters, everything, medium, large = 0, 5, 0, 1, 2
        values = []
        for table in (precision, recall):
            rows = [
                table[..., everything],
                table[half, ..., everything],
                table[three_quarters, ..., everything],
            ]
            values += [_defined_mean(row) for row in (*rows, table[..., medium], table[..., large])]
        return dict(zip(STATS, values, strict=True))

    def resampled(self, weights: np.ndarray) -> float:
        """AP when image i (in the order of `images`) occurs `weights[i]` times, [len(images)] ≥ 0."""
        return self._matches.average_precision(np.asarray(weights, np.float64))


class _Matches:
    """Match tables of all images, score-sorted once, so that re-weighted AP is a few cumulative sums."""

    def __init__(self, evaluations: Sequence[Mapping[str, Any] | None]) -> None:
        present = [(index, entry) for index, entry in enumerate(evaluations) if entry is not None]
        scores = np.concatenate([entry["dtScores"] for _, entry in present] or [np.empty(0)])
        order = np.argsort(-scores, kind="mergesort")
        matched = np.concatenate([entry["dtMatches"] for _, entry in present] or [np.empty((10, 0))], 1) > 0
        ignored = np.concatenate([entry["dtIgnore"] for _, entry in present] or [np.empty((10, 0), bool)], 1)
        images = np.concatenate([np.full(len(e["dtScores"]), i, np.intp) for i, e in present] or [np.empty(0, np.intp)])
        self._true = (matched & ~ignored)[:, order]  # [T, D]
        self._false = (~matched & ~ignored)[:, order]  # [T, D]
        self._image = images[order]  # [D]
        self._people = np.zeros(len(evaluations))
        for index, entry in present:
            self._people[index] = np.count_nonzero(np.asarray(entry["gtIgnore"]) == 0)

    def average_precision(self, weights: np.ndarray) -> float:
        people = float(self._people @ weights)
        if people == 0:
            return float("nan")
        if not self._image.size:
            return 0.0
        true = np.cumsum(self._true * weights[self._image], axis=1)
        false = np.cumsum(self._false * weights[self._image], axis=1)
        precision = true / np.maximum(true + false, np.spacing(1.0))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        levels = np.linspace(0, 1, 101)
        total = 0.0
        for recall, best in zip(true / people, envelope, strict=True):
            at = np.searchsorted(recall, levels, side="left")
            total += best[at[at < len(best)]].sum()
        return total / (len(true) * len(levels))


def crowdpose_stats(
    truths: Sequence[Truth],
    detections: Sequence[Detection],
    sigmas: np.ndarray,
    crowding: Mapping[int, float],
) -> dict[str, float]:
    """COCO's numbers that CrowdPose reports, and AP of images by `crowding` (image id → crowdIndex).

    Areas are taken from the boxes (CrowdPose has no masks): pass truths made so, see `truths_of`.
    """
    every = AveragePrecision(truths, detections, sigmas).stats
    chosen = {name: every[name] for name in ("AP", "AP50", "AP75", "AR", "AR50", "AR75")}
    for level, (low, high) in CROWDING.items():
        images = {image for image, index in crowding.items() if low <= index < high}
        subset = AveragePrecision(
            [truth for truth in truths if truth.image_id in images],
            [detection for detection in detections if detection.image_id in images],
            sigmas,
        )
        chosen[f"AP_{level}"] = subset.stats["AP"]
    return chosen


def _table(items: Sequence[Any], row: Callable[[Any], dict[str, Any]]) -> COCO:
    table = COCO()
    # Ids start at 1: pycocotools marks "unmatched" by id 0 and would lose the first person.
    annotations = [row(item) | {"id": number, "image_id": item.image_id} for number, item in enumerate(items, 1)]
    images = [{"id": image} for image in sorted({item.image_id for item in items})]
    table.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
    table.createIndex()
    return table


def _truth_row(truth: Truth) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(value) for value in truth.bbox)
    visible = np.asarray(truth.visible) > 0
    return {
        "category_id": 1, "iscrowd": int(truth.crowd), "area": float(truth.area),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "num_keypoints": 0 if truth.ignored else int(visible.sum()), "keypoints": _triples(truth.keypoints, visible),
    }  # fmt: skip


def _detection_row(detection: Detection) -> dict[str, Any]:
    points = np.asarray(detection.keypoints)
    return {
        "category_id": 1, "score": float(detection.score), "area": float(detection.area), "iscrowd": 0,
        "keypoints": _triples(points, np.ones(len(points))),
    }  # fmt: skip


def _triples(points: np.ndarray, third: np.ndarray) -> list[float]:
    return np.column_stack([np.asarray(points, np.float64), third]).ravel().tolist()


def _defined_mean(values: np.ndarray) -> float:
    defined = values[values > -1]  # pycocotools writes −1 where there was nothing to find
    return float(defined.mean()) if defined.size else float("nan")
