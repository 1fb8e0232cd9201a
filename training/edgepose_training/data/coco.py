"""Labeled people, read from annotation files into one plain sample type.

Every reader returns the same `Person`, so packing, training and evaluation do not depend on file formats. Readers skip
unusable entries, count them by reason and log them, so that they do not crash a later epoch.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.data.annotations import SkipEntry, clipped_bbox, entry_id, load_document, numbers
from edgepose_training.data.categories import Categories
from edgepose_training.data.coco_images import ListedImages
from edgepose_training.data.label_fit import REMEDIES, Misfit, check_labels, refuse_misfits

log = logging.getLogger(__name__)

UNLABELED, TEACHER, TRUTH = 0, 1, 2
PointLabels = tuple[np.ndarray, np.ndarray, np.ndarray]  # keypoints [K, 2], visible [K], weights [K]

# Field of a COCO-WholeBody annotation that holds a part's points, and the one for its teacher's confidences.
PART_FIELDS = {
    "body": ("keypoints", "keypoints_score"),
    "foot": ("foot_kpts", "foot_score"),
    "face": ("face_kpts", "face_score"),
    "lefthand": ("lefthand_kpts", "lefthand_score"),
    "righthand": ("righthand_kpts", "righthand_score"),
}
# Where it says False, nobody could label the part: COCO-WholeBody has zeros there, UBody not always.
VALID_FIELDS = {points: points.replace("kpts", "valid") for points, _ in PART_FIELDS.values() if "kpts" in points}
EXAMPLES_PER_REASON = 5
BOX_AREA_TO_PERSON = 0.53  # area of a person ≈ 0.53 × box, where no mask was drawn


@dataclass(frozen=True, slots=True)
class Person:
    """One labeled person of one image. Pixels of the image throughout; boxes are xyxy, float32."""

    image: Path
    image_id: int
    annotation_id: int
    source: str  # data set the image came from; "" if the file does not say
    license: str  # license class of the image as the file states it; "" if it does not
    split: str  # "train", "val", …
    image_size: tuple[int, int]  # W, H of the file
    bbox: np.ndarray  # [4], inside the image
    area: float  # px², the A of OKS: always the person's, for hands and faces too
    keypoints: np.ndarray  # [K, 2] float32; 0 where unlabeled
    visible: np.ndarray  # [K] uint8: 0 unlabeled (not: invisible), 1 teacher's label, 2 ground truth
    weights: np.ndarray  # [K] float32: 1 ground truth, the teacher's confidence for its labels, 0 unlabeled
    part_boxes: dict[str, np.ndarray]  # [4] by "face", "lefthand", "righthand", "head", where given


@dataclass
class ReadReport:
    """What a reader kept and what it left out: counts by reason, and the first few offenders by name."""

    kept: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)  # of what is kept
    examples: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, reason: str, name: str) -> None:
        self._count(self.skipped, reason, name)

    def doubt(self, reason: str, name: str) -> None:
        self._count(self.doubts, reason, name)

    def _count(self, counts: Counter[str], reason: str, name: str) -> None:
        counts[reason] += 1
        named = self.examples.setdefault(reason, [])
        if len(named) < EXAMPLES_PER_REASON:
            named.append(name)

    def __str__(self) -> str:
        lines = [f"{self.kept} people kept, {self.skipped.total()} entries skipped"]
        lines += self._lines(self.skipped)
        lines += ["kept, but look at them:"] * bool(self.doubts) + self._lines(self.doubts)
        return "\n".join(lines)

    def _lines(self, counts: Counter[str]) -> list[str]:
        """Reasons, the commonest first."""
        lines = []
        for reason, count in counts.most_common():
            more = ", …" if count > len(self.examples[reason]) else ""
            lines.append(f"  {reason}: {count} ({', '.join(self.examples[reason])}{more})")
        return lines


def read_coco_wholebody(
    annotations: str | Path,
    images_root: str | Path,
    skeleton: Skeleton,
    *,
    split: str | None = None,
    category: str | None = None,
    keep_unlabeled: bool = False,
    report: ReadReport | None = None,
) -> list[Person]:
    """Read a COCO-WholeBody file, or a plain COCO keypoint file, in the order of its annotations.

    The skeleton's parts say which fields are read; a part that the file lacks is unlabeled. A `keypoints` list of all
    the skeleton's points, as other COCO-like files have it, is read as that. Where an
    annotation carries `*_score` lists, v = 1 is a teacher's label weighted by its score; elsewhere every v >
    0 is ground truth, as COCO's v = 1 means "labeled but hidden".

    `split` defaults to the image's own `split`, else the file's stem. Annotations of other categories than `category`
    (see `Categories`), people whose labels do not fit their picture (see `label_fit`), and those without any labeled
    point unless `keep_unlabeled`, are left out. Pass a `report` to see what was skipped; it is logged as well.
    Raises EdgeposeError for a file that is missing, no JSON, or no COCO layout, where most labels do not fit, and when
    no person is left.
    """
    return read_coco_layout(
        Path(annotations),
        Path(images_root),
        lambda entry: point_labels(entry, skeleton),
        points=skeleton.keypoints,
        split=split,
        category=category,
        keep_unlabeled=keep_unlabeled,
        report=report,
    )


def read_coco_layout(
    annotations: Path,
    images_root: Path,
    labels_of: Callable[[dict[str, Any]], PointLabels],
    *,
    points: tuple[str, ...] = (),
    split: str | None = None,
    category: str | None = None,
    keep_unlabeled: bool = False,
    report: ReadReport | None = None,
) -> list[Person]:
    """Read any file of `images` and `annotations`; `labels_of` makes the points of an annotation, or skips it.

    `points`: names that the file's own, where it has as many and the same, must have in the same order.
    """
    report = ReadReport() if report is None else report
    document = load_document(annotations)
    categories = Categories(document, category, str(annotations))
    categories.check_points(points)
    images = ListedImages(document, images_root, report)
    entries = document.pop("annotations")
    del document
    people = []
    for entry in _consume(entries):
        try:
            categories.check(entry)
            person = _person(entry, images, labels_of, split or annotations.stem, keep_unlabeled)
            if doubt := check_labels(entry["bbox"], person.keypoints, person.visible > 0, person.image_size):
                report.doubt(doubt, f"annotation {entry_id(entry)}")
            people.append(person)
        except SkipEntry as why:
            where = f" of {why.where}" if isinstance(why, Misfit) and why.where else ""
            report.skip(str(why), f"annotation {entry_id(entry)}{where}")
    return finish(people, report, annotations)


def finish(people: list[Person], report: ReadReport, path: Path) -> list[Person]:
    """Close a reader's work: count, log what was left out, refuse an empty set."""
    report.kept += len(people)
    misfits = sum(count for reason, count in report.skipped.items() if reason in REMEDIES)
    refuse_misfits(path, len(people) + misfits, report.skipped + report.doubts, report.examples)
    if not people:
        raise EdgeposeError(f"{path}: no usable person in it. {report}")
    if report.skipped or report.doubts:
        log.warning("%s: %s", path.name, report)
    return people


def _consume(entries: list[Any]) -> Iterator[Any]:
    """Yield and drop entries one by one: parsed JSON of 133 points a person weighs ten times its arrays."""
    entries.reverse()
    while entries:
        yield entries.pop()


def _person(
    entry: Any,
    images: ListedImages,
    labels_of: Callable[[dict[str, Any]], PointLabels],
    split: str,
    keep_unlabeled: bool,
) -> Person:
    if not isinstance(entry, dict) or "image_id" not in entry or "bbox" not in entry:
        raise SkipEntry("annotation without image_id or bbox")
    image = images[entry["image_id"]]
    if entry.get("iscrowd", 0):
        raise SkipEntry("crowd region")
    bbox = clipped_bbox(entry["bbox"], image.size)
    area = float(entry.get("area") or BOX_AREA_TO_PERSON * np.prod(np.asarray(entry["bbox"][2:], np.float64)))
    if not area > 0:
        raise SkipEntry("zero area")
    keypoints, visible, weights = labels_of(entry)
    if not (keep_unlabeled or visible.any()):
        raise SkipEntry("no labeled point")
    return Person(
        image=image.path, image_id=entry["image_id"], annotation_id=entry.get("id", -1),
        source=image.source, license=image.license, split=image.split or split, image_size=image.size,
        bbox=bbox, area=area, keypoints=keypoints, visible=visible, weights=weights,
        part_boxes=_part_boxes(entry),
    )  # fmt: skip


def point_labels(entry: dict[str, Any], skeleton: Skeleton) -> PointLabels:
    """Points [K, 2], visible [K] and weights [K] of all the skeleton's parts, in its order."""
    points = np.zeros((skeleton.num_keypoints, 3), np.float32)
    visible = np.zeros(skeleton.num_keypoints, np.uint8)
    weights = np.zeros(skeleton.num_keypoints, np.float32)
    for points_field, score_field, start, stop in _fields(entry, skeleton):
        if not entry.get(points_field) or entry.get(VALID_FIELDS.get(points_field, ""), True) is False:
            continue
        points[start:stop] = numbers(entry[points_field], (stop - start, 3), points_field)
        labeled = points[start:stop, 2] > 0
        scores = np.ones(stop - start, np.float32)
        visible[start:stop] = np.where(labeled, TRUTH, UNLABELED)
        if score_field in entry:
            scores = numbers(entry[score_field], (stop - start,), score_field)
            from_teacher = labeled & (points[start:stop, 2] < TRUTH)
            visible[start:stop][from_teacher] = TEACHER
            scores = np.where(from_teacher, np.clip(scores, 0, 1), 1)
        weights[start:stop] = labeled * scores
    points[visible == UNLABELED] = 0
    return np.ascontiguousarray(points[:, :2]), visible, weights


def _fields(entry: dict[str, Any], skeleton: Skeleton) -> list[tuple[str, str, int, int]]:
    """Fields of points and of scores, and the points [start, stop) that they hold: one for all, or one a part."""
    values = entry.get("keypoints")
    if isinstance(values, list) and len(values) == 3 * skeleton.num_keypoints:
        return [("keypoints", "keypoints_score", 0, skeleton.num_keypoints)]
    parts = skeleton.parts.items()
    return [(*PART_FIELDS.get(part, (part, f"{part}_score")), *points) for part, points in parts]


def _part_boxes(entry: dict[str, Any]) -> dict[str, np.ndarray]:
    boxes = {}
    for part in ("face", "lefthand", "righthand", "head"):
        xywh = entry.get(f"{part}_box")
        if isinstance(xywh, list) and len(xywh) == 4 and xywh[2] > 0 and xywh[3] > 0:
            x, y, w, h = xywh
            boxes[part] = np.array([x, y, x + w, y + h], np.float32)
    return boxes
