import json
from pathlib import Path

import evaluate
import evaluation_fixtures as fixtures
import numpy as np
import pytest
import torch

import edgepose.ops
from edgepose import EdgeposeError, Skeleton
from edgepose_training.config import Config
from edgepose_training.data.coco import read_coco_wholebody
from edgepose_training.engine import checkpoints
from edgepose_training.evaluation import checkpoint_predictors, detections, predictors
from edgepose_training.evaluation.coco_files import part_stats

SHARED = Path(__file__).parents[4] / "shared"
WHOLEBODY = fixtures.WHOLEBODY


@pytest.fixture
def data(tmp_path):
    fixtures.dataset(tmp_path / "data", split="train")
    return fixtures.dataset(tmp_path / "data")


@pytest.fixture
def model(tmp_path):
    return fixtures.constant_model(tmp_path / "constant.onnx")


def run(*arguments) -> dict:
    return evaluate.run(evaluate.parse_args([str(argument) for argument in arguments]))


# --- the whole program --------------------------------------------------------------------------------------


def test_a_model_that_meets_every_label_scores_one_everywhere(data, model):
    figures = run(model, "--data", data, "--sources", "edgepose")["predictors"]["constant"]
    for part in ("body", "foot", "face", "lefthand", "righthand", "wholebody", "body (truth)"):
        assert figures["parts"][part]["mean_oks"]["value"] == pytest.approx(1, abs=1e-4), part
        assert figures["parts"][part]["ap"]["value"] == pytest.approx(1), part
    assert figures["parts"]["body"]["mean_oks"]["count"] == 4
    assert figures["parts"]["body (truth)"]["mean_oks"]["count"] == 1  # the one person of the coco image
    assert figures["torso_pck20"]["value"] == 1
    assert figures["torso_pck20"]["count"] == 2 * 17
    assert figures["face_nme"]["value"] == pytest.approx(0, abs=1e-5)
    assert figures["face_nme_shown"]["count"] == figures["face_nme"]["count"]  # sure of all, at its own thresholds
    assert figures["webcam_hand_error"]["count"] == 2
    assert figures["sources"]["gesture"]["body"]["mean_oks"]["count"] == 1
    assert figures["sources"]["gesture"]["foot"]["ap"] == pytest.approx(1)


def test_without_roles_there_are_no_rows_of_sources_that_others_do_not_have(data, model, tmp_path, caplog):
    quick = "--no-baselines", "--no-intervals"
    figures = run(model, "--data", data, *quick)["predictors"]["constant"]
    assert "nothing is known of the data's sources (--sources)" in caplog.text
    assert "body (truth)" not in figures["parts"]
    assert not {"torso_pck20", "webcam_hand_error"} & set(figures)
    (data / "annotations" / "sources.toml").write_text('webcam = ["gesture"]')
    assert run(model, "--data", data, *quick)["predictors"]["constant"]["webcam_hand_error"]["count"] == 2
    named = tmp_path / "roles.toml"
    named.write_text('torso_pck = ["coco"]')
    figures = run(model, "--data", data, *quick, "--sources", named)["predictors"]["constant"]
    assert figures["torso_pck20"]["count"] == 17
    assert "webcam_hand_error" not in figures  # what is named goes before what lies beside the data


def test_moved_labels_cost_what_the_formula_says(tmp_path, model):
    data = fixtures.dataset(tmp_path / "data", offset=3.0)
    figures = run(model, "--data", data, "--no-baselines", "--no-intervals")["predictors"]["constant"]
    people = read_coco_wholebody(data / "annotations/val.json", data / "images", WHOLEBODY)
    variances = (2 * WHOLEBODY.sigmas[:17].astype(float)) ** 2
    expected = np.mean([np.exp(-9 / (2 * variances * person.area)).mean() for person in people])
    assert figures["parts"]["body"]["mean_oks"]["value"] == pytest.approx(expected, abs=1e-4)
    diagonals = [np.hypot(*np.ptp(person.keypoints[23:91], axis=0)) for person in people]
    assert figures["face_nme"]["value"] == pytest.approx(np.mean(3 / np.array(diagonals)), abs=1e-4)


def test_the_results_file_is_what_other_evaluators_read(data, model, tmp_path):
    path = tmp_path / "results.json"
    run(model, "--data", data, "--no-baselines", "--results", path)
    annotations = json.loads((data / "annotations/val.json").read_text())["annotations"]
    results = json.loads(path.read_text())
    assert [len(results[0][field]) for field in fixtures.FIELDS.values()] == [51, 18, 204, 63, 63]
    for part, (start, stop) in WHOLEBODY.parts.items():
        stats = part_stats(annotations, results, part, WHOLEBODY.sigmas[start:stop])
        assert stats["AP"] == pytest.approx(1)


def test_figures_are_printed_and_written_without_nan(data, model, tmp_path, capsys):
    path = tmp_path / "figures.json"
    assert evaluate.main([str(model), "--data", str(data), "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "4 people in 3 images of val, ground truth boxes" in printed
    assert "| mean OKS | n | constant | mean pose in the box | mean face and hands in their true boxes |" in printed
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_figures_are_written_before_they_are_printed(data, model, tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("the terminal is gone")

    path = tmp_path / "figures.json"
    monkeypatch.setattr(evaluate, "print", fails, raising=False)
    with pytest.raises(RuntimeError, match="the terminal is gone"):
        evaluate.main([str(model), "--data", str(data), "--no-baselines", "--no-intervals", "--json", str(path)])
    assert json.loads(path.read_text())["people"] == 4


def test_a_decoder_that_fails_fails_the_evaluation(data, model, monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError("the only decoder")

    monkeypatch.setattr(edgepose.ops, "simcc_decode", broken)
    for flip in ([], ["--flip"]):
        with pytest.raises(RuntimeError, match="the only decoder"):
            run(model, "--data", data, "--no-baselines", *flip)


def test_another_model_stands_beside_the_first(data, model, tmp_path):
    other = fixtures.constant_model(tmp_path / "other.onnx")
    figures = run(model, "--data", data, "--compare", other, "--no-baselines", "--no-intervals")["predictors"]
    assert list(figures) == ["constant", "other"]


def test_models_with_other_keypoints_are_refused(data, model, tmp_path):
    other = fixtures.constant_model(tmp_path / "other.onnx", fixtures.card(Skeleton.load("coco17")))
    with pytest.raises(EdgeposeError, match="other has other keypoints than constant"):
        run(model, "--data", data, "--compare", other)


def test_a_body_only_model_is_measured_by_its_own_skeleton(data, tmp_path):
    model = fixtures.constant_model(tmp_path / "body.onnx", fixtures.card(Skeleton.load("coco17")))
    figures = run(model, "--data", data, "--sources", "edgepose")["predictors"]
    assert list(figures["body"]["parts"]) == ["body", "body (truth)"]
    assert figures["body"]["parts"]["body"]["mean_oks"]["value"] == pytest.approx(1, abs=1e-4)
    assert "mean face and hands in their true boxes" not in figures


def test_limit_and_source_choose_people(data, model):
    assert run(model, "--data", data, "--limit", 2, "--no-baselines", "--no-intervals")["people"] == 2
    record = run(model, "--data", data, "--source", "lspet", "--no-baselines", "--no-intervals")
    assert list(record["predictors"]["constant"]["sources"]) == ["lspet"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.onnx"], "nowhere.onnx"),
        (["nowhere.pt"], "nowhere.pt"),
    ],
)
def test_mistakes_are_one_sentence(data, arguments, complaint, capsys):
    assert evaluate.main([*arguments, "--data", str(data)]) == 2
    assert complaint in capsys.readouterr().err


def test_missing_annotations_are_one_sentence(tmp_path, model, capsys):
    assert evaluate.main([str(model), "--data", str(tmp_path)]) == 2
    assert "val.json" in capsys.readouterr().err


def test_one_category_is_measured(data, model, capsys):
    """As in packing: one reader serves both."""
    path = data / "annotations" / "val.json"
    document = json.loads(path.read_text())
    document["categories"] = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    for entry in document["annotations"]:
        entry["category_id"] = 1 + (entry["image_id"] == 2)
    path.write_text(json.dumps(document))
    where = ["--data", data, "--no-baselines", "--no-intervals"]
    assert run(model, *where, "--category", "cat")["people"] == 2
    assert run(model, *where, "--category", "dog")["people"] == 2
    assert evaluate.main([str(word) for word in (model, *where)]) == 2
    assert "name the one to read as --category" in capsys.readouterr().err


def test_labels_of_other_pictures_are_not_measured(data, model, capsys):
    path = data / "annotations" / "val.json"
    document = json.loads(path.read_text())
    for image in document["images"]:
        image["width"], image["height"] = 2 * image["width"], 2 * image["height"]
    path.write_text(json.dumps(document))
    assert evaluate.main([str(model), "--data", str(data), "--no-baselines"]) == 2
    assert "labels do not fit their pictures: picture is of another resolution" in capsys.readouterr().err


def test_unreadable_pictures_are_named_and_left_out(data, model, caplog):
    (data / "images" / "2.png").write_bytes(b"no image")
    record = run(model, "--data", data, "--no-baselines", "--no-intervals")
    assert record["people"] == 2
    assert "2.png" in caplog.text


# --- detector boxes -----------------------------------------------------------------------------------------


def detection_file(folder: Path, rows: list) -> Path:
    path = folder / "boxes.json"
    path.write_text(json.dumps(rows))
    return path


def box(image_id: int, bbox: list, score: float = 0.9) -> dict:
    return {"image_id": image_id, "category_id": 1, "bbox": bbox, "score": score}


def all_boxes() -> list:
    return [box(image, xywh) for image, boxes in fixtures.BOXES.items() for xywh in boxes]


def test_true_boxes_from_a_file_score_one(data, model, tmp_path):
    path = detection_file(tmp_path, all_boxes())
    record = run(model, "--data", data, "--boxes", path)
    assert record["detector"]["body"]["AP"] == pytest.approx(1)
    assert record["detector"]["body"]["AP_interval"] == (pytest.approx(1), pytest.approx(1))
    assert record["detector"]["wholebody"]["AP"] == pytest.approx(1)


def test_false_alarms_cost_precision_unless_somebody_unlabeled_stands_there(data, model, tmp_path):
    alarm = [2, 90, 30, 30]
    path = detection_file(tmp_path, [*all_boxes(), box(1, alarm, score=1.0)])
    assert run(model, "--data", data, "--boxes", path)["detector"]["body"]["AP"] < 0.99
    annotations = data / "annotations/val.json"
    document = json.loads(annotations.read_text())
    document["images"][0]["person_boxes"] = [fixtures.BOXES[1][0], alarm]
    annotations.write_text(json.dumps(document))
    assert run(model, "--data", data, "--boxes", path)["detector"]["body"]["AP"] == pytest.approx(1)


def test_other_categories_are_not_people(tmp_path):
    path = detection_file(tmp_path, [box(1, [0, 0, 5, 5]), box(1, [1, 1, 5, 5]) | {"category_id": 2}])
    bboxes, scores = detections.read_boxes(path)[1]
    np.testing.assert_array_equal(bboxes, [[0, 0, 5, 5]])
    np.testing.assert_allclose(scores, [0.9])


@pytest.mark.parametrize("rows", [{"a": 1}, [{"image_id": 1}], [{"image_id": 1, "bbox": [1], "score": 1}], [5]])
def test_a_broken_detection_file_is_refused(tmp_path, rows):
    with pytest.raises(EdgeposeError, match="list of COCO detections"):
        detections.read_boxes(detection_file(tmp_path, rows))


def test_boxes_of_other_pictures_are_refused(data, model, tmp_path):
    path = detection_file(tmp_path, [box(99, [0, 0, 5, 5])])
    with pytest.raises(EdgeposeError, match="no box for any"):
        run(model, "--data", data, "--boxes", path)


# --- flip test ----------------------------------------------------------------------------------------------


class Mirror:
    """A session whose answer follows the image: one bright column, found at its place; points 0 and 1 swap."""

    path = Path("mirror")

    def __init__(self, skeleton: Skeleton) -> None:
        self.card = fixtures.card(skeleton, mean=(0, 0, 0), std=(255, 255, 255))
        count, (bins_x, bins_y) = skeleton.num_keypoints, self.card.bins
        self.input_shape = ("N", 3, *reversed(self.card.input_size))
        self.outputs = {"simcc_x": ("N", count, bins_x), "simcc_y": ("N", count, bins_y)}

    def run(self, crops: np.ndarray) -> dict:
        columns = crops.mean((1, 2))  # [N, W]
        simcc_x = np.zeros((len(crops), *self.outputs["simcc_x"][1:]), np.float32)
        simcc_x[..., ::2] = columns[:, None]
        simcc_y = np.zeros((len(crops), *self.outputs["simcc_y"][1:]), np.float32)
        simcc_y[..., 64] = 1
        return {"simcc_x": simcc_x, "simcc_y": simcc_y}


@pytest.mark.parametrize("flip", [False, True])
def test_a_column_of_the_picture_is_found_with_and_without_the_flip_test(flip):
    frame = np.zeros((64, 48, 3), np.uint8)
    frame[:, 31] = 255
    predictor = predictors.CropPredictor("mirror", Mirror(Skeleton.load("coco17")), flip=flip)
    keypoints, scores = predictor(frame, np.array([[4.8, 6.4, 43.2, 57.6]], np.float32))  # × 1.25: the whole frame
    np.testing.assert_allclose(keypoints[0, :, 0], 31, atol=1e-3)
    assert ((scores >= 0) & (scores <= 1)).all()


# --- nets of heat maps ---------------------------------------------------------------------------------------


class Brightest(torch.nn.Module):
    """Heat maps of stride 4 that follow the image: two points, left and right; cell i sees three pixels around 4·i."""

    def forward(self, x):
        cells = torch.nn.functional.max_pool2d(x[:, :1], 3, 4, padding=1)
        return torch.cat((cells, cells), 1)


class BrightestOfCells(torch.nn.Module):
    """The same as nets of the former convention answer: cell i sees the four pixels from 4·i on."""

    def forward(self, x):
        cells = torch.nn.functional.max_pool2d(x[:, :1], 4)
        return torch.cat((cells, cells), 1)


@pytest.mark.parametrize(("net", "cells", "square", "flip", "point"), [
    (Brightest(), {"heatmap_cells": "corners"}, (19, 35, 3), False, (20, 36)),
    # Half a pixel: this net looks a pixel further right in a mirror.
    (Brightest(), {"heatmap_cells": "corners"}, (19, 35, 3), True, (19.5, 36)),
    (BrightestOfCells(), {}, (20, 36, 4), False, (21.5, 37.5)),  # checkpoints written before have no entry
    (BrightestOfCells(), {}, (20, 36, 4), True, (21.5, 37.5)),
])  # fmt: skip
def test_a_checkpoint_of_heat_maps_is_measured_with_the_same_crop(
    tmp_path, monkeypatch, net, cells, square, flip, point
):
    """A red square lies in the frame where cell (5, 9) of 4 px sees it: around the pixel that the cell stands for."""
    pair = Skeleton.from_dict({"name": "pair", "keypoints": ["left", "right"], "swap": [[0, 1]]})
    config = Config(backbone="hourglass", size="1x32", head="heatmap", skeleton="pair", input_size=(64, 96))
    state = {"model": checkpoints.build_net(config, pair).state_dict(), "ema": None, "unsupervised_keypoints": [1]}
    checkpoints.save(tmp_path / "maps.pt", state | cells | {"config": config.to_dict(), "skeleton": pair.to_dict()})
    load_net = checkpoints.load_net
    monkeypatch.setattr(checkpoint_predictors, "load_net", lambda path: (net, *load_net(path)[1:]))
    predictor = predictors.make_predictor(str(tmp_path / "maps.pt"), flip=flip)
    frame = np.zeros((96, 64, 3), np.uint8)
    x, y, side = square
    frame[y : y + side, x : x + side, 2] = 255
    keypoints, scores = predictor(frame, np.array([[6.4, 9.6, 57.6, 86.4]], np.float32))  # × 1.25: the whole frame
    np.testing.assert_allclose(keypoints[0], [point] * 2, atol=1e-3)
    assert scores[0, 0] == 1  # normalized red is beyond 1: clipped
    assert scores[0, 1] == 0  # unsupervised


def test_a_trained_net_of_heat_maps_goes_through_the_whole_program(data, tmp_path):
    config = Config(backbone="hourglass", size="1x32", head="heatmap", input_size=(64, 64))
    state = {"model": checkpoints.build_net(config, WHOLEBODY).state_dict(), "ema": None}
    checkpoints.save(tmp_path / "maps.pt", state | {"config": config.to_dict(), "skeleton": WHOLEBODY.to_dict()})
    figures = run(tmp_path / "maps.pt", "--data", data, "--flip", "--no-intervals", "--no-baselines")["predictors"]
    assert 0 <= figures["maps"]["parts"]["body"]["mean_oks"]["value"] < 1
