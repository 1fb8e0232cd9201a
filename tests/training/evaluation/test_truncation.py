"""Cutting people at the waist: which are cut, where, and what is counted of the answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose import EdgeposeError, Skeleton
from edgepose_training.data.coco import Person
from edgepose_training.evaluation.truncation import cut_at_waist, measure, waist

BODY = Skeleton.load("coco17")
LEGS = [BODY.keypoints.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("hip", "knee", "ankle")]


def standing(image: Path) -> Person:
    """300 px tall: shoulders at row 100, hips at 200, so the waist is at 185."""
    rows = {"shoulder": 100, "elbow": 140, "wrist": 180, "hip": 200, "knee": 260, "ankle": 320}
    keypoints = np.array([(60 + n, rows.get(name.split("_")[-1], 50)) for n, name in enumerate(BODY.keypoints)])
    return Person(
        image=image, image_id=1, annotation_id=1, source="made", license="", split="val", image_size=(160, 400),
        bbox=np.float32([30, 30, 120, 330]), area=1.0, keypoints=keypoints.astype(np.float32),
        visible=np.full(17, 2, np.uint8), weights=np.ones(17, np.float32), part_boxes={},
    )  # fmt: skip


@pytest.fixture
def person(tmp_path: Path) -> Person:
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.full((400, 160, 3), 90, np.uint8))
    return standing(picture)


class Knows:
    """Scores 0.9 for the upper body and 0.4 for the legs; keeps what it was shown."""

    skeleton, name = BODY, "knows"

    def __init__(self) -> None:
        self.seen: list[tuple[tuple[int, ...], list[float]]] = []

    def __call__(self, frame: np.ndarray, bboxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.seen.append((frame.shape, bboxes[0].tolist()))
        scores = np.full((1, 17), 0.9)
        scores[0, LEGS] = 0.4
        return np.zeros((1, 17, 2)), scores


def test_the_waist_is_a_little_above_the_hips(person: Person) -> None:
    assert waist(person, BODY) == pytest.approx(185)


@pytest.mark.parametrize("mirror", [1, -1])
def test_who_lies_or_lacks_a_shoulder_is_not_cut(person: Person, mirror: int) -> None:
    lying = replace(person, keypoints=person.keypoints[:, ::-1] * (mirror, 1))
    assert waist(lying, BODY) is None
    unlabeled = person.visible.copy()
    unlabeled[5] = 0
    assert waist(replace(person, visible=unlabeled), BODY) is None


def test_the_net_sees_the_upper_half(person: Person) -> None:
    net = Knows()
    answers = cut_at_waist([person], net)  # type: ignore[arg-type]
    assert net.seen == [((185, 160, 3), [30, 30, 120, 185])]
    assert np.flatnonzero(answers.cut_off[0]).tolist() == sorted(LEGS)
    assert (answers.visible ^ answers.cut_off).all()


def test_shares_by_threshold(person: Person) -> None:
    figures = measure(cut_at_waist([person], Knows()), np.full(17, 0.5), BODY)  # type: ignore[arg-type]
    body = figures["parts"]["body"]
    assert body == {"visible": 1.0, "visible_points": 11, "cut_off": 0.0, "cut_off_points": 6}
    assert [figures["body_at"][at]["cut_off"] for at in ("0.3", "0.4", "0.5")] == [1, 1, 0]


def test_the_thresholds_that_so_many_visible_points_pass(person: Person) -> None:
    answers = cut_at_waist([person], Knows())  # type: ignore[arg-type]
    visible = answers.visible[0]
    answers.scores[0, visible] = np.linspace(0, 1, visible.sum())
    answers.scores[0, answers.cut_off[0]] = [0.0, 0.05, 0.1, 0.15, 0.3, 0.9]
    row = measure(answers, np.full(17, 0.5), BODY)["body_where_visible_pass"]["0.8"]
    assert row["threshold"] == pytest.approx(0.2)
    assert (row["visible"], row["cut_off"]) == (pytest.approx(9 / 11), pytest.approx(2 / 6))


def test_nobody_upright_is_one_sentence(person: Person) -> None:
    lying = replace(person, keypoints=person.keypoints[:, ::-1])
    with pytest.raises(EdgeposeError, match="upright"):
        cut_at_waist([lying], Knows())  # type: ignore[arg-type]
