"""`evaluate.py` and pycocotools say the same of the same result file, crowds and unlabeled people included."""

import contextlib
import io
import json
from pathlib import Path

import cv2
import evaluate
import evaluation_fixtures as fixtures
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgepose import Skeleton
from edgepose_training.metrics.average_precision import STATS

BODY = Skeleton.load("coco17")
SIZE = 320  # px, of every image


def person(number: int, image: int, xywh: list, rng: np.random.Generator, **entries) -> dict:
    """Labels near to what the constant model answers in this box, each person at another distance."""
    x, y, w, h = xywh
    points = fixtures.expected_keypoints(np.array([[x, y, x + w, y + h]], np.float32), BODY)[0]
    triples = np.column_stack([points + rng.normal(0, 0.03 * h * rng.uniform(), points.shape), np.full(17, 2)])
    triples[rng.uniform(size=17) < 0.2] = 0
    entry = {"id": number, "image_id": image, "category_id": 1, "bbox": xywh, "area": 0.6 * w * h, "iscrowd": 0}
    return entry | {"keypoints": triples.ravel().tolist(), "num_keypoints": int((triples[:, 2] > 0).sum())} | entries


def nobody(number: int, image: int, xywh: list, **entries) -> dict:
    """Somebody without labeled points."""
    area = 0.6 * xywh[2] * xywh[3]
    entry = {"id": number, "image_id": image, "category_id": 1, "bbox": xywh, "area": area, "iscrowd": 0}
    return entry | {"keypoints": [0] * 51, "num_keypoints": 0} | entries


def boxes_of(image: int) -> list[list[float]]:
    """Four people in a row, of all of COCO's sizes, one of whose boxes reaches beyond the image."""
    rng = np.random.default_rng(image)
    sides = rng.uniform(28, 84, 4)
    return [[76.0 * n + (20 if n == 3 else 0), 12.5 + 20 * n, float(side), 2.5 * float(side)]
            for n, side in enumerate(sides)]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve images: with labeled people; with people without points, crowds and contradictory counts; with nobody."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "annotations").mkdir()
    (folder / "images").mkdir()
    rng = np.random.default_rng(3)
    images, annotations = [], []
    for image in range(1, 13):
        cv2.imwrite(str(folder / "images" / f"{image}.png"), np.zeros((SIZE, SIZE, 3), np.uint8))
        images.append({"id": image, "file_name": f"{image}.png", "width": SIZE, "height": SIZE})
        first, second, third, fourth = boxes_of(image)
        number = 10 * image
        if image <= 10:
            annotations += [person(number, image, first, rng), person(number + 1, image, second, rng)]
        if image in (2, 3, 11):
            annotations.append(nobody(number + 2, image, third))
        if image in (3, 4, 11):
            annotations.append(nobody(number + 3, image, fourth, iscrowd=1))
        if image in (5, 6):
            annotations.append(person(number + 2, image, third, rng, iscrowd=1))
        if image in (7, 8):  # points, but their number is said to be 0
            annotations.append(person(number + 2, image, third, rng, num_keypoints=0))
        if image in (9, 10):
            annotations += [person(number + 2, image, third, rng), person(number + 3, image, fourth, rng)]
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    (folder / "annotations" / "val.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return fixtures.constant_model(tmp_path_factory.mktemp("model") / "body.onnx", fixtures.card(BODY))


def detected(data) -> str:
    """Boxes in every image: of everybody, some of them twice, and some where nobody stands."""
    rng = np.random.default_rng(8)
    rows = []
    for image in range(1, 13):
        for n, xywh in enumerate(boxes_of(image)):
            for _ in range(1 + (n == 3)):  # several in a crowd
                box = (np.array(xywh) + rng.normal(0, 1.5, 4)).tolist()
                rows.append({"image_id": image, "category_id": 1, "bbox": box, "score": float(rng.uniform(0.2, 1))})
        rows.append({"image_id": image, "category_id": 1, "bbox": [10, 200, 50, 90], "score": float(rng.uniform())})
    (data / "boxes.json").write_text(json.dumps(rows))
    return str(data / "boxes.json")


def coco_stats(annotations, results) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(str(results)), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(STATS, evaluation.stats.tolist(), strict=True))


def defined(stats: dict[str, float]) -> dict[str, float]:
    """pycocotools says −1 where there is nothing to measure, evaluate.py NaN."""
    return {name: value if value >= 0 else float("nan") for name, value in stats.items()}


def both(data, model, results, *more) -> tuple[dict, dict[str, float]]:
    """The record of evaluate.py, and what pycocotools says of the file that it wrote."""
    words = [str(model), "--data", str(data), "--no-baselines", "--no-intervals", "--results", str(results), *more]
    record = evaluate.run(evaluate.parse_args(words))
    return record, defined(coco_stats(data / "annotations" / "val.json", results))


def test_detected_boxes(data, model, tmp_path, caplog):
    record, theirs = both(data, model, tmp_path / "results.json", "--boxes", detected(data))
    assert record["detector"]["body"] == pytest.approx(theirs, abs=1e-12, nan_ok=True)
    assert 0.2 < theirs["AP"] < 0.8  # people are missed, and found where there is none
    assert len({round(value, 6) for value in theirs.values()}) >= 8  # the numbers measure different things
    assert "2 people have points but num_keypoints 0" in caplog.text


def test_boxes_of_the_labels(data, model, tmp_path):
    record, theirs = both(data, model, tmp_path / "results.json")
    assert record["predictors"]["body"]["parts"]["body"]["stats"] == pytest.approx(theirs, abs=1e-12, nan_ok=True)
    assert 0.2 < theirs["AP"] < 0.95


def without(data, folder, unwanted) -> dict[str, float]:
    """What pycocotools says where the annotations that `unwanted` names are not in the file."""
    document = json.loads((data / "annotations" / "val.json").read_text())
    document["annotations"] = [entry for entry in document["annotations"] if not unwanted(entry)]
    (folder / "less.json").write_text(json.dumps(document))
    return coco_stats(folder / "less.json", folder / "results.json")


@pytest.mark.parametrize("unwanted", [lambda entry: entry["iscrowd"], lambda entry: entry["num_keypoints"] == 0])
def test_each_kind_of_ignored_person_matters_here(data, model, tmp_path, unwanted):
    """Negative control: the comparison would notice if one kind were left out."""
    _, theirs = both(data, model, tmp_path / "results.json", "--boxes", detected(data))
    assert without(data, tmp_path, unwanted)["AP"] < theirs["AP"] - 0.005


def test_images_without_labeled_people_count(data, model, tmp_path):
    """A false alarm in image 12, where nobody is, costs as much as anywhere."""
    boxes = json.loads(Path(detected(data)).read_text())
    (tmp_path / "boxes.json").write_text(json.dumps([row for row in boxes if row["image_id"] != 12]))
    fewer, _ = both(data, model, tmp_path / "results.json", "--boxes", str(tmp_path / "boxes.json"))
    all_of_them, _ = both(data, model, tmp_path / "results.json", "--boxes", str(data / "boxes.json"))
    assert all_of_them["detector"]["body"]["AP"] < fewer["detector"]["body"]["AP"]


def test_a_sample_is_measured_in_its_images_with_everybody_in_them(data, model, tmp_path):
    record, _ = both(data, model, tmp_path / "results.json", "--boxes", detected(data), "--limit", "3")
    chosen = {row["image_id"] for row in json.loads((tmp_path / "results.json").read_text())}
    assert 1 <= len(chosen) <= 3
    assert record["images"] == len(chosen)
    document = json.loads((data / "annotations" / "val.json").read_text())
    document["images"] = [image for image in document["images"] if image["id"] in chosen]
    document["annotations"] = [entry for entry in document["annotations"] if entry["image_id"] in chosen]
    (tmp_path / "some.json").write_text(json.dumps(document))
    theirs = coco_stats(tmp_path / "some.json", tmp_path / "results.json")
    assert record["detector"]["body"]["AP"] == pytest.approx(theirs["AP"], abs=1e-12)


def test_other_categories_are_no_people_to_ignore(data, model, tmp_path):
    """A dog's box does not excuse a false alarm."""
    document = json.loads((data / "annotations" / "val.json").read_text())
    dog = nobody(999, 12, [10, 200, 50, 90], category_id=18)
    document["annotations"].append(dog)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "val.json").write_text(json.dumps(document))
    (tmp_path / "images").symlink_to(data / "images")
    with_dog, _ = both(tmp_path, model, tmp_path / "results.json", "--boxes", detected(data))
    plain, _ = both(data, model, tmp_path / "results.json", "--boxes", detected(data))
    assert with_dog["detector"] == plain["detector"]
