"""AI Challenger's human keypoints, from the file as published or as converted to COCO's layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.data.annotations import SkipEntry, load_json, numbers
from edgepose_training.data.coco import Person, PointLabels, ReadReport, finish, read_coco_wholebody
from edgepose_training.data.readers import labeled, numbered, person_of

VISIBLE, HIDDEN = 1, 2  # third value of a labeled point; 3: not labeled. The other way round than COCO's


def read_aic(
    annotations: str | Path,
    images_root: str | Path,
    *,
    split: str | None = None,
    keep_unlabeled: bool = False,
    report: ReadReport | None = None,
) -> list[Person]:
    """The 14 points of `keypoint_train_annotations_20170909.json` and its like: a list of images, in each by the name
    of a person `human_annotations` (box xyxy) and `keypoint_annotations` (x, y, visibility).

    A file converted to COCO's layout is read as that. It has no masks: areas are 0.53 × the box.
    Raises EdgeposeError for another file, and when no person is left.
    """
    path, root = Path(annotations), Path(images_root)
    content = load_json(path)
    if isinstance(content, dict):
        del content
        return read_coco_wholebody(
            path, root, Skeleton.load("aic14"), split=split, keep_unlabeled=keep_unlabeled, report=report
        )
    if not isinstance(content, list):
        raise EdgeposeError(f"{path}: expected AI Challenger's list of images, or COCO's layout")
    report = ReadReport() if report is None else report
    people = []
    for number, (image, name, entry) in enumerate(_humans(content, report)):
        try:
            bbox, labels = _labels(entry, name)
            if not (keep_unlabeled or labels[1].any()):
                raise SkipEntry("no labeled point")
            people.append(person_of(root / f"{image}.jpg", number, "aic", split or path.stem, bbox, labels, None))
        except SkipEntry as why:
            report.skip(str(why), f"{name} of {image}")
    return finish(numbered(people), report, path)


def _humans(content: list[Any], report: ReadReport) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Image, name and image's entry of every person."""
    for entry in content:
        try:
            for name in entry["keypoint_annotations"]:
                yield str(entry["image_id"]), str(name), entry
        except (KeyError, TypeError):
            report.skip("entry without image_id or keypoint_annotations", repr(entry)[:60])


def _labels(entry: dict[str, Any], name: str) -> tuple[np.ndarray, PointLabels]:
    """Box [4] xyxy and labels of one person."""
    boxes = entry.get("human_annotations")
    bbox = numbers(boxes.get(name) if isinstance(boxes, dict) else None, (4,), "human_annotations")
    points = numbers(entry["keypoint_annotations"][name], (14, 3), "keypoint_annotations")
    return bbox, labeled(points[:, :2], np.isin(points[:, 2], (VISIBLE, HIDDEN)))
