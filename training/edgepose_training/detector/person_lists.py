"""What the lists of people hold: which boxes are people to find, and which regions are ignored.

Looking at images with the boxes drawn (`contact_sheet.py` shows how) gave these rules; `SourceRoles` says which source
needs which. A region that is ignored is neither a person nor the absence of one.

* A crowd has one box around it: a box around at least three others is ignored.
* A close-up's boxes come from a detector that also took raised hands for people: what carries no points is ignored.
* Sources boxed by a detector list some people twice, whole and in part: a box mostly inside another is ignored.
* Incomplete lists lack people in the background. A detector's boxes (`--hints`) are pseudo-labels there: confident ones
  become people. In every source, unsure ones that the list lacks are ignored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.boxes import containment_matrix, iou_matrix
from edgepose_training.data.annotations import load_document, load_json
from edgepose_training.data.sources import NO_ROLES, SourceRoles
from edgepose_training.evaluation.detections import read_boxes

SURE = 0.6  # a pseudo-label of that score is a person,
UNSURE = 0.35  # from this one on it is ignored; RTMDet-nano gives bare walls up to 0.3
CROWD = 3  # boxes inside a box around a crowd
SAME, INSIDE = 0.5, 0.75


@dataclass(frozen=True)
class AnnotatedImage:
    """One image's people. Boxes xyxy in pixels of the file, float32."""

    path: Path
    size: tuple[int, int]  # W, H
    source: str
    people: np.ndarray  # [M, 4]
    ignored: np.ndarray  # [J, 4]
    aspect_known: bool = True  # False: stretched by its source, by an unknown factor


def read_images(
    data: Path, split: str, hints: Path | None = None, roles: SourceRoles = NO_ROLES
) -> list[AnnotatedImage]:
    """Images of `annotations/<split>.json` with cleaned lists, then those of `negatives.json` without people.

    `hints` is a COCO detection file for the split, used as pseudo-labels. Raises EdgeposeError for unreadable files.
    """
    document = load_document(data / "annotations" / f"{split}.json")
    labeled: defaultdict[int, list[list[float]]] = defaultdict(list)
    for annotation in document["annotations"]:
        labeled[annotation["image_id"]].append(annotation["bbox"])
    found = read_boxes(hints) if hints else {}
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    images = [
        clean(entry, data / "images", _xyxy(labeled[entry["id"]]), *found.get(entry["id"], nothing), roles)
        for entry in document["images"]
        if entry["source"] not in roles.left_out
    ]
    return images + list(read_negatives(data, split))


def read_negatives(data: Path, split: str) -> Iterable[AnnotatedImage]:
    """Images without people; none where the data has no such list."""
    path = data / "annotations" / "negatives.json"
    if not path.exists():
        return
    no_boxes = np.zeros((0, 4), np.float32)
    for entry in load_json(path)["images"]:
        if entry["split"] == split:
            size = entry["width"], entry["height"]
            yield AnnotatedImage(data / "images" / entry["file_name"], size, entry["source"], no_boxes, no_boxes)


def clean(
    entry: dict[str, Any],
    folder: Path,
    labeled: np.ndarray,  # [L, 4] boxes of people with points
    hints: np.ndarray,  # [D, 4] boxes of a detector, pseudo-labels
    scores: np.ndarray,  # [D]
    roles: SourceRoles = NO_ROLES,
) -> AnnotatedImage:
    """An image's list by the rules of this module."""
    source, boxes = entry["source"], _xyxy(entry.get("person_boxes", []))
    inside = containment_matrix(boxes, boxes) > INSIDE
    larger = _areas(boxes)[:, None] > _areas(boxes)[None]
    kept = (inside & larger).sum(axis=1) < CROWD  # not a box around a crowd
    if source in roles.close_ups:
        kept &= _matched(boxes, labeled)
    if source in roles.boxed_by_detector:
        kept &= ~(inside & larger & kept[:, None]).any(axis=0)
    new = ~_matched(hints, boxes) & ~(containment_matrix(boxes[kept], hints) > INSIDE).any(axis=0)
    sure = new & (scores >= SURE) & (source in roles.incomplete)
    unsure = new & (scores >= UNSURE) & ~sure
    return AnnotatedImage(
        folder / entry["file_name"],
        (entry["width"], entry["height"]),
        source,
        np.concatenate([boxes[kept], hints[sure]]),
        np.concatenate([boxes[~kept], hints[unsure]]),
        entry.get("aspect_known", True),
    )


def _matched(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:  # [N, 4], [M, 4] -> [N]
    matched: np.ndarray = np.any(iou_matrix(boxes, others) >= SAME, axis=1)
    return matched


def _areas(boxes: np.ndarray) -> np.ndarray:
    areas: np.ndarray = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return areas


def _xyxy(boxes: list[list[float]]) -> np.ndarray:  # [M, 4] x, y, w, h
    table = np.array(boxes, np.float32).reshape(-1, 4)
    return np.concatenate([table[:, :2], table[:, :2] + table[:, 2:]], axis=1)
