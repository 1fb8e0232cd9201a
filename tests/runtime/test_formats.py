"""Poses as files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgepose import Poses, Skeleton
from edgepose.formats import (
    CSV_HEADER,
    coco_wholebody_results,
    csv_rows,
    frame_record,
    openpose_json,
    wide_csv_header,
    wide_csv_rows,
)

WHOLE = Skeleton.load("coco_wholebody")


def poses(count: int = 2) -> Poses:
    """Point k of person n at (k + 0.126, 1000 n + k), score k / 1000."""
    k = np.arange(133, dtype=np.float32)
    points = np.stack([np.stack([k + 0.126, 1000 * n + k], axis=1) for n in range(count)])
    scores = np.tile(k / 1000, (count, 1))
    return Poses(points, scores, np.tile([1.004, 2, 3, 4], (count, 1)), np.arange(count) + 7, np.full(count, 0.5))


def test_a_line_of_json() -> None:
    record = frame_record(3, poses(), time=0.1, size=(640, 480), file="a.png", timings_ms={"crop": 0.12345})
    record = json.loads(json.dumps(record))
    assert list(record) == ["frame", "time", "file", "size", "people", "timings_ms"]
    assert (record["frame"], record["time"], record["file"], record["size"]) == (3, 0.1, "a.png", [640, 480])
    assert record["timings_ms"] == {"crop": 0.123}
    person = record["people"][1]
    assert (person["id"], person["bbox"], person["score"]) == (8, [1, 2, 3, 4], 0.5)
    assert len(person["keypoints"]) == 133
    assert person["keypoints"][5] == [5.13, 1005, 0.005]


def test_a_line_without_people() -> None:
    record = frame_record(0, Poses.empty(133), time=0, size=(4, 3))
    assert record == {"frame": 0, "time": 0.0, "size": [4, 3], "people": [], "timings_ms": {}}


def test_coco_wholebody_results() -> None:
    results = coco_wholebody_results(42, poses(), WHOLE)
    assert [r["image_id"] for r in results] == [42, 42]
    lengths = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
    assert {key: len(results[0][key]) // 3 for key in lengths} == lengths
    assert results[1]["righthand_kpts"][:3] == [112.13, 1112, 0.112]
    parts = ["score", "foot_score", "face_score", "lefthand_score", "righthand_score", "wholebody_score"]
    assert [results[0][part] for part in parts] == [0.5] * 6


def test_coco_results_of_a_body() -> None:
    body = Skeleton.load("coco17")
    one = Poses(np.zeros((1, 17, 2)), np.ones((1, 17)), np.zeros((1, 4)), [1], [0.5])
    assert list(coco_wholebody_results(1, one, body)[0]) == ["image_id", "category_id", "score", "keypoints"]


def test_openpose_json() -> None:
    person = openpose_json(poses(), WHOLE)["people"][0]
    body = np.array(person["pose_keypoints_2d"]).reshape(25, 3)
    assert body[:, 1].tolist() == [
        0, 5.5, 6, 8, 10, 5, 7, 9, 11.5, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, 17, 18, 19, 20, 21, 22
    ]  # fmt: skip
    assert body[1, 2] == pytest.approx(0.005)  # the neck is as sure as the weaker shoulder
    face = np.array(person["face_keypoints_2d"]).reshape(70, 3)
    assert face[:68, 1].tolist() == list(range(23, 91))
    assert face[68:, 1].tolist() == [61.5, 67.5]  # middle of the rings 59–64 and 65–70
    assert len(person["hand_left_keypoints_2d"]) == len(person["hand_right_keypoints_2d"]) == 63
    with pytest.raises(ValueError, match="openpose_json: skeleton expected coco_wholebody, got coco17"):
        openpose_json(poses(), Skeleton.load("coco17"))


def test_csv() -> None:
    rows = list(csv_rows(4, poses(), WHOLE, time=0.5))
    assert len(rows) == 2 * 133
    assert dict(zip(CSV_HEADER, rows[133], strict=True)) == {
        "frame": 4, "time": 0.5, "file": "", "id": 8, "person_score": 0.5,
        "keypoint": "nose", "x": 0.13, "y": 1000, "score": 0, "angle": "",
    }  # fmt: skip


def test_wide_csv() -> None:
    header, rows = wide_csv_header(WHOLE), list(wide_csv_rows(4, poses(), WHOLE, time=0.5, file="a.png"))
    row = dict(zip(header, rows[1], strict=True))
    assert len(header) == 5 + 4 + 3 * 133 + 12
    assert (row["frame"], row["file"], row["id"], row["x2"]) == (4, "a.png", 8, 3)
    assert (row["left_shoulder_x"], row["left_shoulder_y"], row["left_shoulder_score"]) == (5.13, 1005, 0.005)
    assert row["right_elbow_angle"] == 180  # the points lie on a line


def test_points_below_the_threshold_are_not_found() -> None:
    body = openpose_json(poses(), WHOLE, {"body": 0.006, "foot": 0.0})["people"][0]["pose_keypoints_2d"]
    found = np.array(body).reshape(25, 3)
    assert found[1].tolist() == [0, 0, 0]  # the neck: the left shoulder has .005
    assert found[5].tolist() == [0, 0, 0]
    assert found[2, 2] == pytest.approx(0.006)  # the right one reaches it
    assert found[19, 1] == 17
