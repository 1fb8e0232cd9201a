"""Readers of further data sets into `Person`: CrowdPose, Halpe, MPII, Leeds Sports Poses and their extension.

Facts that are easy to get wrong, each with a test: MPII and LSP count pixels from 1; MPII's center sits a
little low and its scale is a height of 200 px; LSP's third row says hidden, LSPET's says labeled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.data.annotations import SkipEntry, load_document, load_json, numbers
from edgepose_training.data.coco import (
    BOX_AREA_TO_PERSON,
    TRUTH,
    UNLABELED,
    Person,
    PointLabels,
    ReadReport,
    finish,
    read_coco_layout,
    read_coco_wholebody,
)
from edgepose_training.data.image_size import image_size
from edgepose_training.data.label_fit import check_labels

MPII_SCALE = 200.0  # px of a person's height at scale 1
MPII_CENTER_SHIFT = 15.0  # px at scale 1 by which a box reaches further down than its center says
LSP_MARGIN = 1.15  # box = extent of the joints × this; the runtime's padding of 1.25 comes on top
LSP_TRAINING = 1000  # the first so many images of LSP train, the other thousand test


def read_crowdpose(
    annotations: str | Path,
    images_root: str | Path,
    *,
    split: str | None = None,
    keep_unlabeled: bool = False,
    report: ReadReport | None = None,
) -> list[Person]:
    """CrowdPose in its 14 points. It has no masks: areas are 0.53 × the box."""
    return read_coco_wholebody(
        annotations, images_root, Skeleton.load("crowdpose14"), split=split, keep_unlabeled=keep_unlabeled,
        report=report,
    )  # fmt: skip


def read_crowding(annotations: str | Path) -> dict[int, float]:
    """`crowdIndex` by image id, for `crowdpose_stats`. Raises EdgeposeError where an image has none."""
    path = Path(annotations)
    try:
        return {image["id"]: float(image["crowdIndex"]) for image in load_document(path)["images"]}
    except (KeyError, TypeError, ValueError) as error:
        raise EdgeposeError(f"{path}: expected an id and a crowdIndex of every image, as CrowdPose has.") from error


def read_halpe(
    annotations: str | Path,
    images_root: str | Path,
    *,
    split: str | None = None,
    keep_unlabeled: bool = False,
    report: ReadReport | None = None,
) -> list[Person]:
    """Halpe-FullBody in its 136 points."""

    def labels_of(entry: dict[str, Any]) -> PointLabels:
        points = numbers(entry.get("keypoints"), (136, 3), "keypoints")
        return labeled(points[:, :2], points[:, 2] > 0)

    return read_coco_layout(
        Path(annotations), Path(images_root), labels_of, split=split, keep_unlabeled=keep_unlabeled, report=report
    )


def read_mpii(
    annotations: str | Path,
    images_root: str | Path,
    *,
    split: str | None = None,
    head_boxes: str | Path | None = None,
    keep_unlabeled: bool = False,
    report: ReadReport | None = None,
) -> list[Person]:
    """MPII from the widely used JSON lists (`image`, `center`, `scale`, `joints`, `joints_vis`; 16 points).

    `head_boxes`: the `.mat` that goes with the validation list (`headboxes_src` [2, 2, N]), in the list's
    order; it gives `part_boxes["head"]`, the unit of PCKh. Boxes are not clipped: their center fixes the
    crop. `keep_unlabeled`: people without a labeled joint too, as in the test list, which has no joints at all.
    """
    path, root = Path(annotations), Path(images_root)
    report = ReadReport() if report is None else report
    entries = load_json(path)
    if not isinstance(entries, list):
        raise EdgeposeError(f"{path}: expected a list of people, as MPII's JSON files are.")
    heads = _mpii_heads(Path(head_boxes), len(entries)) if head_boxes else [None] * len(entries)
    people = []
    for number, (entry, head) in enumerate(zip(entries, heads, strict=True)):
        try:
            image, bbox, labels = _mpii_entry(entry, root, keep_unlabeled)
            if not (keep_unlabeled or labels[1].any()):
                raise SkipEntry("no labeled point")
            people.append(person_of(image, number, "mpii", split or path.stem, bbox, labels, head))
        except SkipEntry as why:
            report.skip(str(why), f"entry {number}")
    return finish(numbered(people), report, path)


def read_lsp(
    joints: str | Path, images_root: str | Path, *, split: str = "train", report: ReadReport | None = None
) -> list[Person]:
    """Leeds Sports Poses: `joints.mat` [3, 14, 2000], images im0001.jpg …; every joint counts as labeled.

    `split`: "train" is the first thousand images, "test" the second.
    """
    chosen = {"train": slice(0, LSP_TRAINING), "test": slice(LSP_TRAINING, None)}
    if split not in chosen:
        raise EdgeposeError(f"LSP has the splits train and test, but no {split!r}.")
    table = _joints_table(Path(joints), axes=(2, 1, 0))  # [N, 14, 3]
    table[..., 2] = 1
    return _read_leeds(table, chosen[split], Path(joints), Path(images_root), "im{:04d}.jpg", "lsp", split, report)


def read_lspet(joints: str | Path, images_root: str | Path, *, report: ReadReport | None = None) -> list[Person]:
    """The extended training set: `joints.mat` [14, 3, 10000], images im00001.jpg …; the third value says labeled."""
    table = _joints_table(Path(joints), axes=(2, 0, 1))  # [N, 14, 3]
    return _read_leeds(table, slice(None), Path(joints), Path(images_root), "im{:05d}.jpg", "lspet", "train", report)


def _mpii_entry(entry: Any, root: Path, may_lack_joints: bool) -> tuple[Path, np.ndarray, PointLabels]:
    if may_lack_joints and isinstance(entry, dict) and "joints" not in entry:
        entry = entry | {"joints": [[0, 0]] * 16, "joints_vis": [0] * 16}
    try:
        image, scale = root / entry["image"], float(entry["scale"])
        center, joints, known = entry["center"], entry["joints"], entry["joints_vis"]
    except (KeyError, TypeError, ValueError):
        raise SkipEntry("entry without image, center, scale, joints or joints_vis") from None
    points = numbers(joints, (16, 2), "joints") - 1
    center = numbers(center, (2,), "center") - 1
    if not scale > 0:
        raise SkipEntry("zero area")
    half = scale * MPII_SCALE / 2
    center[1] += MPII_CENTER_SHIFT * scale
    labels = labeled(points, numbers(known, (16,), "joints_vis") > 0)
    return image, np.concatenate([center - half, center + half]).astype(np.float32), labels


def _mpii_heads(path: Path, count: int) -> list[np.ndarray]:
    boxes = np.asarray(_mat(path).get("headboxes_src", np.empty(0)), np.float32)
    if boxes.shape != (2, 2, count):
        raise EdgeposeError(f"{path}: headboxes_src expected [2, 2, {count}], got {list(boxes.shape)}.")
    return list(boxes.transpose(2, 0, 1).reshape(-1, 4) - 1)


def _read_leeds(
    table: np.ndarray,  # [N, 14, 3] x, y from 1; labeled
    chosen: slice,
    path: Path,
    root: Path,
    pattern: str,
    source: str,
    split: str,
    report: ReadReport | None,
) -> list[Person]:
    report = ReadReport() if report is None else report
    people = []
    for index in range(len(table))[chosen]:
        try:
            keypoints, known = table[index, :, :2] - 1, table[index, :, 2] > 0
            if not np.isfinite(keypoints[known]).all():
                raise SkipEntry("joints are not finite")
            labels = labeled(keypoints, known)
            bbox = _extent(keypoints, known)
            people.append(person_of(root / pattern.format(index + 1), index, source, split, bbox, labels, None))
        except SkipEntry as why:
            report.skip(str(why), pattern.format(index + 1))
    return finish(numbered(people), report, path)


def _extent(keypoints: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Box [4] xyxy around the labeled joints, widened by the usual margin."""
    if known.sum() < 2:
        raise SkipEntry("fewer than two labeled joints")
    low, high = keypoints[known].min(0), keypoints[known].max(0)
    center, half = (low + high) / 2, (high - low) / 2 * LSP_MARGIN
    return np.concatenate([center - half, center + half]).astype(np.float32)


def labeled(keypoints: np.ndarray, known: np.ndarray) -> PointLabels:
    """Labels of points [K, 2], of which those `known` [K] count."""
    points = np.where(known[:, None], keypoints, 0).astype(np.float32)
    return points, np.where(known, TRUTH, UNLABELED).astype(np.uint8), known.astype(np.float32)


def person_of(
    image: Path, number: int, source: str, split: str, bbox: np.ndarray, labels: PointLabels, head: np.ndarray | None
) -> Person:
    """A person by its box [4] xyxy, which is not clipped. Raises SkipEntry."""
    size = image_size(image)
    keypoints, visible, weights = labels
    sides = bbox[2:] - bbox[:2]
    if not (sides > 0).all():
        raise SkipEntry("zero area")
    if (bbox[2:] <= 0).any() or (bbox[:2] >= size).any():
        raise SkipEntry("box outside the image")
    check_labels((*bbox[:2], *sides), keypoints, visible > 0, size)
    return Person(
        image=image, image_id=-1, annotation_id=number, source=source, license="", split=split, image_size=size,
        bbox=bbox, area=float(BOX_AREA_TO_PERSON * sides.prod()), keypoints=keypoints, visible=visible, weights=weights,
        part_boxes={} if head is None else {"head": head},
    )  # fmt: skip


def numbered(people: Iterable[Person]) -> list[Person]:
    """Give each image a number: these files know images by name only."""
    people = list(people)
    numbers_of = {image: number for number, image in enumerate(sorted({person.image for person in people}))}
    return [replace(person, image_id=numbers_of[person.image]) for person in people]


def _joints_table(path: Path, axes: tuple[int, int, int]) -> np.ndarray:
    """`joints` as float32 [N, 14, 3]; `axes` are those of N, joint and value in the file."""
    joints = np.asarray(_mat(path).get("joints", np.empty(0)), np.float32)
    if joints.ndim != 3 or joints.transpose(axes).shape[1:] != (14, 3):
        raise EdgeposeError(f"{path}: joints expected 14 joints of 3 values for every image, got {list(joints.shape)}.")
    return joints.transpose(axes).copy()


def _mat(path: Path) -> dict[str, Any]:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise EdgeposeError(f"{path}: reading MATLAB files needs scipy: pip install scipy.") from error
    try:
        content: dict[str, Any] = loadmat(path)
        return content
    except (OSError, ValueError, NotImplementedError, TypeError) as error:
        raise EdgeposeError(f"{path}: not a readable MATLAB file ({error}).") from error
