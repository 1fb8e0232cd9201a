import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.data.coco import TEACHER, TRUTH, UNLABELED, ReadReport, read_coco_wholebody

SKELETON = Skeleton.load("coco_wholebody")
LENGTHS = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}


def annotation(number: int, **changes) -> dict:
    """A made-up person: every point labeled at (its number within the part, 10), v = 2."""
    person = {"id": number, "image_id": 1, "bbox": [4, 5, 40, 30], "area": 700, "iscrowd": 0}
    for field, count in LENGTHS.items():
        person[field] = [value for i in range(count) for value in (i, 10, 2)]
    return person | changes


def write(folder: Path, annotations: list, images: list | None = None) -> Path:
    cv2.imwrite(str(folder / "a.png"), np.zeros((48, 64, 3), np.uint8))
    listed = images if images is not None else [
        {"id": 1, "file_name": "a.png", "width": 64, "height": 48, "source": "coco", "licence": "research"}
    ]  # fmt: skip
    path = folder / "train.json"
    path.write_text(json.dumps({"images": listed, "annotations": annotations}))
    return path


def test_parts_are_concatenated_in_the_skeletons_order(tmp_path):
    path = write(tmp_path, [annotation(7, face_box=[1, 2, 3, 4], lefthand_box=[0, 0, 0, 0])])
    (person,) = read_coco_wholebody(path, tmp_path, SKELETON)
    expected = np.concatenate([np.arange(count) for count in LENGTHS.values()])
    np.testing.assert_array_equal(person.keypoints[:, 0], expected)
    assert person.keypoints.shape == (133, 2)
    assert person.keypoints.dtype == np.float32
    assert (person.visible == TRUTH).all()
    assert (person.weights == 1).all()
    np.testing.assert_array_equal(person.bbox, [4, 5, 44, 35])
    np.testing.assert_array_equal(person.part_boxes["face"], [1, 2, 4, 6])
    assert "lefthand" not in person.part_boxes
    assert (person.image, person.image_size, person.split) == (tmp_path / "a.png", (64, 48), "train")
    assert (person.source, person.license, person.annotation_id, person.area) == ("coco", "research", 7, 700)


def test_teacher_labels_carry_their_score_and_unlabeled_points_nothing(tmp_path):
    foot = [9, 9, 1, 8, 8, 2, 7, 7, 0, 1, 1, 1, 2, 2, 1, 3, 3, 1]
    scores = [0.5, 0.4, 0.9, 1.5, 0.25, 0.75]
    path = write(tmp_path, [annotation(1, foot_kpts=foot, foot_score=scores)])
    (person,) = read_coco_wholebody(path, tmp_path, SKELETON)
    expected = [TEACHER, TRUTH, UNLABELED, TEACHER, TEACHER, TEACHER]
    np.testing.assert_array_equal(person.visible[17:23], expected)
    np.testing.assert_allclose(person.weights[17:23], [0.5, 1, 0, 1, 0.25, 0.75])
    np.testing.assert_array_equal(person.keypoints[19], [0, 0])


def test_hidden_points_of_plain_coco_are_ground_truth_and_missing_parts_unlabeled(tmp_path):
    person = annotation(1, keypoints=[5, 6, 1] * 17)
    for field in LENGTHS:
        if field != "keypoints":
            del person[field]
    (read,) = read_coco_wholebody(write(tmp_path, [person]), tmp_path, SKELETON)
    assert (read.visible[:17] == TRUTH).all()
    assert (read.visible[17:] == UNLABELED).all()
    assert not read.weights[17:].any()


@pytest.mark.parametrize("name", ["hand21", "ap10k", "halpe26"])
def test_one_list_of_all_points_is_read_whatever_the_parts_are(tmp_path, name):
    """As files of hands, animals and other sets have it; halpe26 has two parts, hand21 one that is no body."""
    skeleton = Skeleton.load(name)
    points = [value for i in range(skeleton.num_keypoints) for value in (i, 10, 2)]
    person = {"id": 1, "image_id": 1, "bbox": [4, 5, 40, 30], "keypoints": points}
    (read,) = read_coco_wholebody(write(tmp_path, [person]), tmp_path, skeleton)
    np.testing.assert_array_equal(read.keypoints[:, 0], np.arange(skeleton.num_keypoints))
    assert (read.visible == TRUTH).all()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bbox": [70, 5, 10, 10]}, "box outside the image"),
        ({"bbox": [-20, 5, 10, 10]}, "box outside the image"),
        ({"bbox": [4, 5, 0, 10]}, "zero area"),
        ({"bbox": [4, 5, 10, -1]}, "zero area"),
        ({"area": -3}, "zero area"),
        ({"bbox": [4, 5, float("nan"), 10]}, "bbox is not finite"),
        ({"bbox": [4, 5, 10]}, "bbox is not four numbers"),
        ({"bbox": None}, "bbox is not four numbers"),
        ({"iscrowd": 1}, "crowd region"),
        ({"image_id": 99}, "annotation of an image that the file does not list"),
        ({"image_id": 2}, "person of a missing image"),
        ({"keypoints": [1, 2, 2]}, "keypoints has 3 numbers instead of 51"),
        ({"keypoints": ["x"] * 51}, "keypoints is no list of numbers"),
        ({"keypoints": [float("inf")] * 51}, "keypoints is not finite"),
        ({field: [0] * 3 * count for field, count in LENGTHS.items()}, "no labeled point"),
    ],
)
def test_unusable_people_are_counted_by_reason_and_named(tmp_path, changes, reason):
    images = [
        {"id": 1, "file_name": "a.png", "width": 64, "height": 48},
        {"id": 2, "file_name": "gone.png", "width": 64, "height": 48},
    ]
    report = ReadReport()
    path = write(tmp_path, [annotation(1), annotation(2, **changes), annotation(3)], images)
    people = read_coco_wholebody(path, tmp_path, SKELETON, report=report)
    assert [person.annotation_id for person in people] == [1, 3]
    assert report.kept == 2
    assert report.skipped[reason] == 1
    assert report.examples[reason] == ["annotation 2"]
    assert "annotation 2" in str(report)
    assert report.examples["image file missing"] == ["gone.png"]


def test_entries_that_are_no_annotations_are_skipped(tmp_path):
    report = ReadReport()
    path = write(tmp_path, [annotation(1), 5, {}, None])
    people = read_coco_wholebody(path, tmp_path, SKELETON, report=report)
    assert len(people) == 1
    assert report.skipped["annotation without image_id or bbox"] == 3


def test_a_box_is_clipped_to_the_image(tmp_path):
    path = write(tmp_path, [annotation(1, bbox=[-10, 5, 100, 100])])
    (person,) = read_coco_wholebody(path, tmp_path, SKELETON)
    np.testing.assert_array_equal(person.bbox, [0, 5, 64, 48])


def test_people_without_labels_can_be_kept(tmp_path):
    empty = annotation(1, **{field: [0] * 3 * count for field, count in LENGTHS.items()})
    (person,) = read_coco_wholebody(write(tmp_path, [empty]), tmp_path, SKELETON, keep_unlabeled=True)
    assert not person.visible.any()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "broken JSON"),
        ("[]", "no list 'images'"),
        ('{"images": []}', "no list 'annotations'"),
        ('{"images": [], "annotations": []}', "no usable person"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(tmp_path, content, complaint):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(EdgeposeError, match=complaint) as refusal:
        read_coco_wholebody(path, tmp_path, SKELETON)
    assert str(path) in str(refusal.value)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(EdgeposeError, match="cannot read the annotations"):
        read_coco_wholebody(tmp_path / "nowhere.json", tmp_path, SKELETON)


@pytest.mark.parametrize(
    ("name", "folder", "complaint"),
    [
        (
            "default/a.png",
            ".",
            r"none of the 2 pictures .* such as default/a\.png; a\.png itself is there",
        ),
        ("gone.png", ".", r"none of the 2 pictures that the labels list, such as gone\.png$"),
        ("a.png", "pictures", r"pictures: expected the folder of the pictures, but there is none$"),
    ],
)
def test_a_folder_without_any_of_the_pictures_is_named(tmp_path, name, folder, complaint):
    images = [{"id": n, "file_name": name, "width": 64, "height": 48} for n in (1, 2)]
    path = write(tmp_path, [annotation(1)], images)
    with pytest.raises(EdgeposeError, match=complaint):
        read_coco_wholebody(path, tmp_path / folder, SKELETON)
