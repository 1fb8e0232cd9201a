import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import evaluate
import evaluation_fixtures as fixtures
import numpy as np
import pytest

from edgepose import EdgeposeError, Skeleton
from edgepose_training.data import readers

BOX = [20, 10, 60, 80]  # xywh of the one person of every image here
XYXY = (20, 10, 80, 90)


def run(model: Path, folder: Path, protocol: str, *more: str) -> dict:
    labels = folder / ("joints.mat" if protocol == "lsp" else "labels.json")
    arguments = [str(model), "--protocol", protocol, "--annotations", str(labels), "--images", str(folder), *more]
    return evaluate.run(evaluate.parse_args(arguments))[protocol]


def model_of(folder: Path, name: str) -> Path:
    return fixtures.constant_model(folder / f"{name}.onnx", fixtures.card(Skeleton.load(name)))


def found(name: str, bbox: Sequence[float] = XYXY) -> np.ndarray:
    """Where the constant model of a skeleton puts its points [K, 2] in a box (xyxy)."""
    return fixtures.expected_keypoints(np.array([bbox], np.float32), Skeleton.load(name))[0].astype(float)


def picture(path: Path) -> None:
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8))


@pytest.fixture
def crowd(tmp_path):
    """Three images from easy to hard; in the hard one the label stands far away."""
    images, annotations = [], []
    for number, crowding in enumerate((0.1, 0.5, 0.8)):
        picture(tmp_path / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 128, "height": 128, "crowdIndex": crowding})
        points = found("crowdpose14") + (60 if crowding == 0.8 else 0)
        triples = np.column_stack([points, np.full(14, 2)]).ravel().tolist()
        annotations.append({"id": number, "image_id": number, "bbox": BOX, "keypoints": triples})
    (tmp_path / "labels.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return tmp_path


def test_crowdpose_tells_easy_from_hard(crowd):
    stats = run(model_of(crowd, "crowdpose14"), crowd, "crowdpose")
    assert (stats["AP_easy"], stats["AP_medium"]) == (pytest.approx(1), pytest.approx(1))
    assert stats["AP_hard"] == 0
    assert 0.5 < stats["AP"] < 0.8
    low, high = stats["AP_interval"]
    assert low < stats["AP"] < high


def test_crowdpose_takes_a_detectors_boxes(crowd):
    """Two people found, one of them by a box that is no person's."""
    boxes = [{"image_id": 0, "bbox": BOX, "score": 0.9, "category_id": 1},
             {"image_id": 1, "bbox": [50, 60, 60, 60], "score": 0.8, "category_id": 1}]  # fmt: skip
    (crowd / "boxes.json").write_text(json.dumps(boxes))
    stats = run(model_of(crowd, "crowdpose14"), crowd, "crowdpose", "--boxes", str(crowd / "boxes.json"))
    assert (stats["AP_easy"], stats["AP_medium"], stats["AP_hard"]) == (pytest.approx(1), 0, 0)


@pytest.mark.parametrize(
    ("protocol", "words", "complaint"),
    [
        ("lsp", ["--boxes", "b.json"], "boxes of its labels: leave --boxes out"),
        ("crowdpose", ["--results", "r.json"], "--results are COCO-WholeBody's"),
    ],
)
def test_options_that_a_protocol_has_no_use_for_are_refused(crowd, protocol, words, complaint):
    with pytest.raises(EdgeposeError, match=complaint):
        run(model_of(crowd, "crowdpose14"), crowd, protocol, *words)


def test_crowdpose_needs_all_of_its_points(crowd):
    with pytest.raises(EdgeposeError, match="does not have: top_head, neck"):
        run(model_of(crowd, "coco17"), crowd, "crowdpose")


@pytest.fixture
def mpii(tmp_path):
    """One person with a head of 20 px, whose right wrist is labeled 12 px away from where the model finds it."""
    io = pytest.importorskip("scipy.io", reason="MATLAB files need scipy")
    picture(tmp_path / "m.png")
    joints = found("mpii16", (10, 10, 90, 90))
    joints[10] += [12, 0]
    scale = 80 / 200
    entry = {
        "image": "m.png", "scale": scale, "center": [50 + 1, 50 - 15 * scale + 1],
        "joints": (joints + 1).tolist(), "joints_vis": [1] * 16,
    }  # fmt: skip
    (tmp_path / "labels.json").write_text(json.dumps([entry]))
    corners = np.array([[1, 1], [1, 1 + 20 / 0.6]])
    io.savemat(tmp_path / "heads.mat", {"headboxes_src": corners[:, :, None]})
    return tmp_path


def test_mpii_measures_in_heads(mpii):
    figures = run(model_of(mpii, "mpii16"), mpii, "mpii", "--head-boxes", str(mpii / "heads.mat"))
    for threshold in ("PCKh@0.5", "PCKh@0.1"):  # 12 px are 0.6 heads
        assert figures[threshold]["wrist"] == 0.5
        assert figures[threshold]["mean"] == pytest.approx(13 / 14)
    assert figures["PCKh@0.5_interval"] == (pytest.approx(13 / 14),) * 2  # one image is all there is to draw
    assert figures["left_out"] == []


def test_mpii_without_head_boxes_is_refused(mpii):
    with pytest.raises(EdgeposeError, match="--head-boxes"):
        run(model_of(mpii, "mpii16"), mpii, "mpii")


def test_lsp_leaves_out_what_a_whole_body_model_does_not_have(tmp_path, monkeypatch):
    io = pytest.importorskip("scipy.io", reason="MATLAB files need scipy")
    monkeypatch.setattr(readers, "LSP_TRAINING", 0)
    cv2.imwrite(str(tmp_path / "im0001.jpg"), np.zeros((128, 128, 3), np.uint8))
    low, high = np.array([20, 10]), np.array([80, 90])
    center, half = (low + high) / 2, (high - low) / 2 * readers.LSP_MARGIN
    answers = found("coco_wholebody", (*(center - half), *(center + half)))
    names = Skeleton.load("lsp14").keypoints
    limbs = [fixtures.WHOLEBODY.keypoints.index(name) for name in names[:12]]
    joints = np.zeros((3, 14, 1))
    joints[:2, :12, 0] = answers[limbs].T
    joints[:2, 0, 0] += [25, 0]  # one ankle out of twelve is wrong
    joints[:2, 12:, 0] = np.stack([low, high], 1)  # neck and head span the box: they are left out
    joints[:2] += 1
    assert (joints[:2, :12, 0].min(1) >= low).all()
    assert (joints[:2, :12, 0].max(1) <= high + 1).all()
    io.savemat(tmp_path / "joints.mat", {"joints": joints})
    figures = run(model_of(tmp_path, "coco_wholebody"), tmp_path, "lsp")
    assert figures["left_out"] == ["neck", "head_top"]
    assert figures["PCK@0.2"]["right_ankle"] == 0
    assert figures["mean"] == pytest.approx(11 / 12)


@pytest.mark.parametrize("protocol", ["crowdpose", "mpii", "lsp"])
def test_a_protocol_needs_its_files(tmp_path, protocol, capsys):
    model = model_of(tmp_path, "coco17")
    assert evaluate.main([str(model), "--protocol", protocol]) == 2
    assert f"--protocol {protocol} needs --annotations and --images" in capsys.readouterr().err
