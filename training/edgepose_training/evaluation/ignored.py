"""What COCO's AP neither rewards nor punishes: crowds, people without labeled points, and people nobody labeled.

As pycocotools has it (`COCOeval._prepare`, `computeOks`): a crowd may be matched by any number of detections, another
ignored person by one; by OKS where points are given, else by distance to a region around the box.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgepose import Skeleton
from edgepose.boxes import iou_matrix
from edgepose_training.data.annotations import SkipEntry
from edgepose_training.data.coco import Person, point_labels
from edgepose_training.evaluation.labels import Labels
from edgepose_training.metrics.average_precision import Truth

log = logging.getLogger(__name__)

SAME_PERSON_IOU = 0.5


@dataclass(frozen=True)
class Region:
    """Somebody whom no reader takes for a labeled person."""

    image_id: int
    bbox: np.ndarray  # [4] xyxy, as the file has it
    area: float  # px²
    crowd: bool  # many people: matches any number of detections
    keypoints: np.ndarray  # [K, 2] a crowd may have points
    visible: np.ndarray  # [K]

    def truth(self, points: slice) -> Truth:
        where = self.image_id, self.bbox, self.area
        return Truth(*where, self.keypoints[points], self.visible[points], crowd=self.crowd)


@dataclass(frozen=True)
class Ignored:
    """All that an annotation file has beside the labeled people, and what it says of these itself."""

    regions: Sequence[Region] = ()
    # Annotations whose `num_keypoints` is 0, whatever their points say: COCO ignores these people.
    unnumbered: frozenset[int] = frozenset()
    bboxes: Mapping[int, np.ndarray] = field(default_factory=dict)  # annotation id → [4] xyxy, not clipped

    def truths(
        self,
        labels: Labels,
        points: slice,
        visible: np.ndarray,  # [N, K]
        rows: np.ndarray,  # of the labels, that count
        images: Collection[int],  # whose regions count
        *,
        body: bool,  # whether `points` are those that `num_keypoints` counts
    ) -> list[Truth]:
        """People and regions for AP over some points."""
        people = [
            Truth(
                labels.image_id[n],
                self.bboxes.get(int(labels.annotation_id[n]), labels.bbox[n]),
                labels.area[n],
                labels.keypoints[n, points],
                visible[n, points],
                ignored=body and int(labels.annotation_id[n]) in self.unnumbered,
            )
            for n in rows
        ]
        return people + [region.truth(points) for region in self.regions if region.image_id in images]


NOTHING = Ignored()


def ignored_of(document: Mapping[str, Any], people: Sequence[Person], skeleton: Skeleton) -> Ignored:
    """What COCO ignores of a file, of which a reader kept `people`: everyone else of their categories."""
    kept = {person.annotation_id for person in people}
    entries = [entry for entry in document["annotations"] if _has_box(entry)]
    categories = {entry.get("category_id") for entry in entries if entry.get("id", -1) in kept}
    others = [e for e in entries if e.get("id", -1) not in kept and e.get("category_id") in categories]
    labeled = {entry["id"]: entry for entry in entries if entry.get("id", -1) in kept and "id" in entry}
    unnumbered = frozenset(number for number, entry in labeled.items() if entry.get("num_keypoints", 1) == 0)
    odd = sum(any(v > 0 for v in labeled[number].get("keypoints", ())[2::3]) for number in unnumbered)
    if odd:
        log.warning("%d people have points but num_keypoints 0: AP ignores them, as COCO's evaluation does", odd)
    bboxes = {number: _xyxy(entry["bbox"]) for number, entry in labeled.items()}
    return Ignored([_region(entry, skeleton) for entry in others], unnumbered, bboxes)


def unlabeled_people(document: Mapping[str, Any], people: Sequence[Person], skeleton: Skeleton) -> list[Region]:
    """People that an image lists in `person_boxes` but that carry no points.

    A detector is right to find them: they are regions to ignore, not false alarms.
    """
    labeled: defaultdict[int, list[np.ndarray]] = defaultdict(list)
    for person in people:
        labeled[person.image_id].append(person.bbox)
    regions, nothing = [], _nothing(skeleton)
    for image in document["images"]:
        boxes = np.array(image.get("person_boxes", []), np.float32).reshape(-1, 4)
        boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        if len(boxes) and labeled[image["id"]]:
            boxes = boxes[iou_matrix(boxes, np.stack(labeled[image["id"]])).max(1) < SAME_PERSON_IOU]
        regions += [Region(image["id"], box, float((box[2:] - box[:2]).prod()), True, *nothing) for box in boxes]
    return regions


def image_files(document: Mapping[str, Any], folder: Path) -> dict[int, Path]:
    """Every image of a file that is on disk, with people or without: COCO counts false detections in all of them."""
    files = {image["id"]: folder / image["file_name"] for image in document["images"] if _is_image(image)}
    return {number: path for number, path in files.items() if path.is_file()}


def _is_image(entry: Any) -> bool:
    return isinstance(entry, dict) and "id" in entry and isinstance(entry.get("file_name"), str)


def _has_box(entry: Any) -> bool:
    if not isinstance(entry, dict) or "image_id" not in entry:
        return False
    try:
        box = np.asarray(entry.get("bbox"), np.float64)
    except (TypeError, ValueError):
        return False
    return box.shape == (4,) and bool(np.isfinite(box).all())


def _region(entry: Mapping[str, Any], skeleton: Skeleton) -> Region:
    box = _xyxy(entry["bbox"])
    area = float(entry.get("area") or (box[2:] - box[:2]).prod())
    try:
        keypoints, visible, _ = point_labels(dict(entry), skeleton)
    except SkipEntry:
        keypoints, visible = _nothing(skeleton)
    return Region(entry["image_id"], box, area, bool(entry.get("iscrowd", 0)), keypoints, visible)


def _nothing(skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((skeleton.num_keypoints, 2)), np.zeros(skeleton.num_keypoints)


def _xyxy(xywh: Sequence[float]) -> np.ndarray:
    x, y, w, h = (float(value) for value in xywh)
    return np.array([x, y, x + w, y + h])
