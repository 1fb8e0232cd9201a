"""Who the whole chain finds, by an estimator whose answers are known; and the fit of its decision."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import evaluate_app
import numpy as np
import pytest

from edgepose import EdgeposeError, Poses, models
from edgepose.decision import FEATURES
from edgepose_training.evaluation.found_people import Look, clip, find, find_in_clips, fit, pictures_of, scenes_of

SIZE = (160, 120)  # W, H
BOX = (40.0, 20.0, 40.0, 80.0)  # x, y, w, h of the person


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two images with a white person, one that is hidden, and two scenes, of which one holds a white post."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").mkdir()
    x, y, w, h = map(int, BOX)
    for name, white in {"a": True, "b": True, "hidden": False, "room": False, "post": True}.items():
        image = np.full((SIZE[1], SIZE[0], 3), 60, np.uint8)
        image[y : y + h, x : x + w] = 250 if white else 60
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), image)
    entries = [
        {"id": n, "file_name": f"{name}.png", "width": SIZE[0], "height": SIZE[1], "person_boxes": [BOX]}
        for n, name in enumerate(("a", "b", "hidden"))
    ]
    points = np.zeros((17, 3))
    points[:4] = (50, 30, 2), (60, 90, 2), (70, 50, 1), (0, 0, 0)
    people = [{"id": n, "image_id": n, "bbox": BOX, "keypoints": points.ravel().tolist()} for n in range(3)]
    document = {"images": entries, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "annotations" / "val.json").write_text(json.dumps(document))
    scenes = [{"file_name": f"{name}.png", "split": "val"} for name in ("room", "post")]
    (tmp_path / "annotations" / "negatives.json").write_text(json.dumps({"images": scenes}))
    return tmp_path


class Bright:
    """Sees a person around what is bright, all points near the box's upper left corner; after `patience` looks."""

    def __init__(self, patience: int = 0) -> None:
        self.sequence, self.patience, self.looks = True, patience, 0

    def reset(self) -> None:
        self.looks = 0

    def __call__(self, frame: np.ndarray, *, timestamp: float | None = None) -> Poses:  # noqa: ARG002
        self.looks += 1
        rows, columns = np.nonzero(frame[..., 0] > 150)
        if len(rows) < 100 or self.looks <= self.patience:
            return Poses.empty(17)
        box = np.float32([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
        return Poses(np.tile(box[:, None, :2], (1, 17, 1)) + 10, np.ones((1, 17)), box, [1], [1.0])


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_people_and_ghosts_are_counted(data: Path, quarters: int) -> None:
    pictures = pictures_of(data, "val", quarters=quarters) + scenes_of(data, ["val"], quarters)
    estimator = Bright()
    found = find(estimator, pictures)
    assert not estimator.sequence
    assert (found.scenes, found.scenes_with_ghost, found.ghosts) == (2, 1, 1)
    assert (found.pictures, found.pictures_with_somebody) == (3, 2)
    assert (found.tall, found.tall_found) == ((3, 2) if quarters % 2 == 0 else (0, 0))  # lying: 40 of 160 px high
    assert found.points == 9


@pytest.mark.parametrize(("quarters", "right"), [(0, 2), (1, 0), (2, 0), (3, 0)])
def test_points_are_compared_where_the_image_was_turned_to(data: Path, quarters: int, right: int) -> None:
    """The first point is right in both images where somebody is found, while they are upright."""
    assert find(Bright(), pictures_of(data, "val", quarters=quarters)).points_right == right


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_boxes_and_points_turn_with_the_image(data: Path, quarters: int) -> None:
    for picture in pictures_of(data, "val", quarters=quarters):
        image = picture.read()
        size = image.shape[1], image.shape[0]
        left, top, right, bottom = picture.turned_boxes(np.float32([[40, 20, 79, 99]]), size)[0].astype(int)
        inside = image[top : bottom + 1, left : right + 1]
        assert inside.size == 40 * 80 * 3
        assert inside.min() == inside.max()  # the person, whole, and nothing else
        assert (picture.path.stem == "hidden") == (inside.max() == 60)


def test_clips_say_when_somebody_is_shown(data: Path) -> None:
    pictures = pictures_of(data, "val") + scenes_of(data, ["val"])
    shown = find_in_clips(Bright(patience=2), pictures, 5)
    assert shown.delays == [2, 2]
    assert (shown.pictures, shown.scenes, shown.scenes_with_ghost) == (3, 2, 1)
    assert find_in_clips(Bright(patience=9), pictures, 5).delays == []


def test_a_clip_trembles_and_is_the_same_on_every_call() -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    frames = list(clip(image, 4, 1))
    assert len(frames) == 4
    assert all((a == b).all() for a, b in zip(frames, clip(image, 4, 1), strict=True))
    assert (frames[0] != frames[1]).any()


def looks() -> list[Look]:
    """A hundred people and a hundred ghosts, one a scene, that differ in the first number, with overlap."""
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 1, (200, len(FEATURES))).astype(np.float32)
    rows[:100, 0] += 3
    return [Look(row, n < 100, n) for n, row in enumerate(rows)]


@pytest.mark.parametrize("allowed", [0.0, 0.05, 0.2])
def test_the_fit_leaves_as_many_ghosts_as_are_allowed(allowed: float) -> None:
    rule = fit(looks(), 100, allowed, 0.15)
    likely = rule.probability(np.array([look.features for look in looks()]))
    assert (likely[100:] >= 0.5).sum() == round(100 * allowed)
    assert (likely[100:] > rule.sure + 1e-4).sum() == 0
    assert rule.lowest_detection == 0.15
    assert rule.detection > 3 * max(abs(rule.pose), abs(rule.points), abs(rule.height), abs(rule.overlap))


def test_without_ghosts_there_is_nothing_to_fit() -> None:
    with pytest.raises(EdgeposeError, match="detections of people and detections in empty scenes"):
        fit(looks()[:100], 10, 0.1, 0.2)


@pytest.mark.skipif(
    not (models.has_default("pose") and models.has_default("detector")), reason="no shipped pose net and detector"
)
def test_the_command(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "counts.json"
    assert evaluate_app.main(["--data", str(data), "--threads", "1", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "both nets decide: " in said
    assert " of 2 empty scenes show " in said
    assert json.loads(out.read_text())["both nets decide"]["pictures"] == 3
    assert evaluate_app.main(["--data", str(data), "--frames", "2", "--confirm", "3/2"]) == 2
    assert "expected looks that agree / looks" in capsys.readouterr().err
