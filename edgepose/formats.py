"""Poses as files: JSONL, COCO-WholeBody results, OpenPose JSON, CSV."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .angles import joint_angles, joints
from .skeletons import Skeleton
from .structures import Poses

# COCO-WholeBody points in the order of OpenPose's BODY_25; pairs are averaged (neck, middle of the hips).
_BODY_25: tuple[int | tuple[int, int], ...] = (
    0, (5, 6), 6, 8, 10, 5, 7, 9, (11, 12), 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, 17, 18, 19, 20, 21, 22,
)  # fmt: skip
_EYES = (slice(36, 42), slice(42, 48))  # rings of the face part: OpenPose's face ends in two pupils
_FIELDS = {
    "body": "keypoints",
    "foot": "foot_kpts",
    "face": "face_kpts",
    "lefthand": "lefthand_kpts",
    "righthand": "righthand_kpts",
}
_PERSON = ("frame", "time", "file", "id", "person_score")
CSV_HEADER = (*_PERSON, "keypoint", "x", "y", "score", "angle")


def frame_record(
    frame: int,
    poses: Poses,
    *,
    time: float,  # s, of capture
    size: tuple[int, int],  # (W, H) of the frame
    file: str | None = None,  # name of the image, for folders
    timings_ms: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """One line of JSONL: everything that is known about a frame, as plain numbers and lists.

    Pixels have two decimals, scores four; coordinates are finite. Of people who were smoothed over a whole file,
    "keypoints" are the net's own points and "smoothed" the others.
    """
    record: dict[str, Any] = {"frame": int(frame), "time": round(float(time), 6)}
    if file is not None:
        record["file"] = file
    record["size"] = [int(side) for side in size]
    raw = poses if poses.raw_keypoints is None else replace(poses, keypoints=poses.raw_keypoints)
    record["people"] = [
        {
            "id": int(poses.track_ids[n]),
            "bbox": _rounded(poses.bboxes[n], 2),
            "score": round(float(poses.bbox_scores[n]), 4),
            "keypoints": _triples(raw, n),
        }
        | ({} if raw is poses else {"smoothed": [_rounded(point, 2) for point in poses.keypoints[n]]})
        for n in range(len(poses))
    ]
    record["timings_ms"] = {stage: round(float(ms), 3) for stage, ms in (timings_ms or {}).items()}
    return record


def coco_wholebody_results(
    image_id: int,
    poses: Poses,
    skeleton: Skeleton,
    *,
    category_id: int = 1,
    digits: int | None = 2,  # decimals of a pixel, scores have two more; None: all
) -> list[dict[str, Any]]:
    """Entries of a COCO-WholeBody results file, one a person; body-only skeletons give plain COCO results.

    Every part gets the person's score, as the usual evaluation wants it.
    """
    results = []
    for n in range(len(poses)):
        score = float(poses.bbox_scores[n])
        score = score if digits is None else round(score, digits + 2)
        entry: dict[str, Any] = {"image_id": image_id, "category_id": category_id, "score": score}
        triples = _triples(poses, n, digits)
        for part, (start, stop) in skeleton.parts.items():
            entry[_FIELDS.get(part, f"{part}_kpts")] = [v for triple in triples[start:stop] for v in triple]
            if part != "body":
                entry[f"{part}_score"] = score
        if len(skeleton.parts) > 1:
            entry["wholebody_score"] = score
        results.append(entry)
    return results


def points_found(
    poses: Poses,
    skeleton: Skeleton,
    thresholds: Mapping[str, float] | None = None,  # by part
) -> NDArray[np.bool_]:  # [N, K]
    """Which points were found: their score is above 0, and not below their part's threshold."""
    limits = np.zeros(skeleton.num_keypoints, np.float32)
    for part, (start, stop) in skeleton.parts.items():
        limits[start:stop] = (thresholds or {}).get(part, 0.0)
    return (poses.scores > 0) & (poses.scores >= limits)


def openpose_json(poses: Poses, skeleton: Skeleton, thresholds: Mapping[str, float] | None = None) -> dict[str, Any]:
    """An OpenPose 1.3 frame: BODY_25, face 70, hands 21 from COCO-WholeBody points.

    Points that were not found (`points_found`), and what would be averaged from one of them, are 0, 0, 0, as OpenPose
    writes them. Raises ValueError for another skeleton.
    """
    if skeleton.name != "coco_wholebody":
        raise ValueError(f"openpose_json: skeleton expected coco_wholebody, got {skeleton.name}")
    people = []
    found = points_found(poses, skeleton, thresholds)
    for n in range(len(poses)):
        points = np.concatenate([poses.keypoints[n], poses.scores[n, :, None]], axis=1) * found[n, :, None]
        body = np.stack([_averaged(points, source) for source in _BODY_25])
        face, left, right = (points[slice(*skeleton.parts[part])] for part in ("face", "lefthand", "righthand"))
        pupils = np.stack([face[ring].mean(axis=0) * face[ring, 2].all() for ring in _EYES])
        people.append(
            {
                "person_id": [int(poses.track_ids[n])],
                "pose_keypoints_2d": _rounded(body.ravel(), 4),
                "face_keypoints_2d": _rounded(np.concatenate([face, pupils]).ravel(), 4),
                "hand_left_keypoints_2d": _rounded(left.ravel(), 4),
                "hand_right_keypoints_2d": _rounded(right.ravel(), 4),
                "pose_keypoints_3d": [],
                "face_keypoints_3d": [],
                "hand_left_keypoints_3d": [],
                "hand_right_keypoints_3d": [],
            }
        )
    return {"version": 1.3, "people": people}


def csv_rows(
    frame: int,
    poses: Poses,
    skeleton: Skeleton,
    *,
    time: float,  # s, of capture
    file: str | None = None,
    thresholds: Mapping[str, float] | None = None,  # by part
) -> Iterable[tuple[Any, ...]]:
    """One row a point, under ``CSV_HEADER``: the long form that tables and plots like.

    ``angle`` is that of the joint at the point, in degrees (`joint_angles`); empty where there is none, or where
    one of its points was not found.
    """
    angles = joint_angles(poses, skeleton, points_found(poses, skeleton, thresholds))
    for n in range(len(poses)):
        person = _person(frame, poses, n, time, file)
        for name, triple in zip(skeleton.keypoints, _triples(poses, n), strict=True):
            yield (*person, name, *triple, _degrees(angles[name][n]) if name in angles else "")


def wide_csv_header(skeleton: Skeleton) -> tuple[str, ...]:
    """Of `wide_csv_rows`: the person, the box, three columns a point, one a joint."""
    points = [f"{name}_{what}" for name in skeleton.keypoints for what in ("x", "y", "score")]
    return (*_PERSON, "x1", "y1", "x2", "y2", *points, *(f"{name}_angle" for name in joints(skeleton)))


def wide_csv_rows(
    frame: int,
    poses: Poses,
    skeleton: Skeleton,
    *,
    time: float,  # s, of capture
    file: str | None = None,
    thresholds: Mapping[str, float] | None = None,  # by part
) -> Iterable[tuple[Any, ...]]:
    """One row a person, under ``wide_csv_header``; angles as in `csv_rows`."""
    angles = joint_angles(poses, skeleton, points_found(poses, skeleton, thresholds))
    for n in range(len(poses)):
        points = [value for triple in _triples(poses, n) for value in triple]
        bends = [_degrees(values[n]) for values in angles.values()]
        yield (*_person(frame, poses, n, time, file), *_rounded(poses.bboxes[n], 2), *points, *bends)


def _person(frame: int, poses: Poses, n: int, time: float, file: str | None) -> tuple[Any, ...]:
    score = round(float(poses.bbox_scores[n]), 4)
    return (int(frame), round(float(time), 6), file or "", int(poses.track_ids[n]), score)


def _degrees(angle: float) -> float | str:
    return "" if isnan(angle) else round(float(angle), 2)


def _triples(poses: Poses, n: int, digits: int | None = 2) -> list[list[float]]:  # K × [x, y, score]
    xy, scores = poses.keypoints[n].tolist(), poses.scores[n].tolist()
    if digits is None:
        return [[x, y, s] for (x, y), s in zip(xy, scores, strict=True)]
    return [[round(x, digits), round(y, digits), round(s, digits + 2)] for (x, y), s in zip(xy, scores, strict=True)]


def _averaged(points: NDArray[np.float32], source: int | tuple[int, int]) -> Any:  # [K, 3] -> [3]
    if isinstance(source, int):
        return points[source]
    a, b = points[source[0]], points[source[1]]
    middle = (a + b) / 2
    middle[2] = min(a[2], b[2])  # as sure as the weaker of the two
    return middle if middle[2] > 0 else np.zeros_like(middle)


def _rounded(values: NDArray[np.float32], digits: int) -> list[float]:
    return [round(value, digits) for value in values.tolist()]
