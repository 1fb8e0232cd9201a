"""Detectors: each family of outputs by literals, and a real one if it lies beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgepose import Detector, EdgeposeError, ModelCard
from edgepose.boxes import iou_matrix

SHARED = Path(__file__).parents[3] / "shared"
RTMDET = SHARED / "teachers" / "rtmdet_nano_person.onnx"
FRAME = np.zeros((240, 480, 3), np.uint8)  # on a canvas of 320 × 320: zoom 2/3


def test_suppression_inside(constant_net) -> None:
    dets = np.array([[[20, 40, 120, 140, 0.9], [0, 0, 50, 50, 0.8], [10, 10, 30, 30, 0.2]]])
    net = constant_net({"dets": dets, "labels": np.array([[0, 56, 0]])}, ("N", 3, 320, 320))
    boxes, scores = Detector(net, "cpu")(FRAME)  # the chair and the unsure person are left out
    np.testing.assert_allclose(boxes, [[30, 60, 180, 210]], rtol=1e-6)
    np.testing.assert_allclose(scores, [0.9])


def test_overlapping_boxes_are_one_person(constant_net) -> None:
    dets = np.array([[[20, 40, 120, 140, 0.7], [22, 40, 122, 140, 0.9], [200, 40, 300, 140, 0.8]]])
    net = constant_net({"dets": dets, "labels": np.zeros((1, 3))}, ("N", 3, 320, 320))
    assert Detector(net, "cpu")(FRAME)[1].tolist() == pytest.approx([0.9, 0.8])


def test_boxes_end_at_the_border_of_the_image(constant_net) -> None:
    dets = np.array([[[-20, -10, 320, 200, 0.9]]])
    net = constant_net({"dets": dets, "labels": np.zeros((1, 1))}, ("N", 3, 320, 320))
    np.testing.assert_allclose(Detector(net, "cpu")(FRAME)[0], [[0, 0, 480, 240]])


def test_yolox_rows(constant_net) -> None:
    """Cell (x 2, y 1) of stride 32: row 8² + 4² + 1 · 2 + … of a 64 × 64 canvas has 64 + 16 + 4 rows."""
    rows = np.zeros((1, 84, 85), np.float32)
    rows[0, 80 + 1 * 2 + 1] = [0.5, 0.25, np.log(0.5), np.log(1.0), 0.8, 0.9] + [0] * 79
    net = constant_net({"output": rows}, ("N", 3, 64, 64))
    boxes, scores = Detector(net, "cpu")(np.zeros((64, 64, 3), np.uint8))
    np.testing.assert_allclose(boxes, [[48 - 8, 40 - 16, 48 + 8, 40 + 16]], rtol=1e-5)
    np.testing.assert_allclose(scores, [0.72], rtol=1e-6)


def test_rtmdet_maps(constant_net) -> None:
    maps = {f"cls{s}": np.full((1, 1, 64 // s, 64 // s), -9.0) for s in (8, 16, 32)}
    maps |= {f"box{s}": np.ones((1, 4, 64 // s, 64 // s)) for s in (8, 16, 32)}
    maps["cls16"][0, 0, 1, 2] = 2.0
    maps["box16"][0, :, 1, 2] = [10, 12, 14, 16]
    boxes, scores = Detector(constant_net(maps, ("N", 3, 64, 64)), "cpu")(np.zeros((64, 64, 3), np.uint8))
    np.testing.assert_allclose(boxes, [[32 - 10, 16 - 12, 32 + 14, 16 + 16]], rtol=1e-5)
    np.testing.assert_allclose(scores, [1 / (1 + np.exp(-2))], rtol=1e-5)


def person_cells(canvas: tuple[int, int]) -> np.ndarray:  # (H, W) -> [1, 5, A]
    """Nobody, but for the cell (x 2, y 1) of stride 16, center (40, 24): a person of logit 2."""
    rows, columns = canvas
    fine, middle = rows * columns // 64, rows * columns // 256
    cells = np.full((1, 5, fine + middle + rows * columns // 1024), -9.0, np.float32)
    cells[0, :, fine + columns // 16 + 2] = [2, np.log(1), np.log(1.5), np.log(1.25), np.log(2.5)]
    return cells


def test_edgepose_cells(constant_net) -> None:
    """Distances 1, 1½, 1¼ and 2½ strides of 16 to the left, top, right and bottom."""
    card = ModelCard("det", "detector", input_size=(64, 64), thresholds={"person": 0.7})
    detector = Detector(constant_net({"cells": person_cells((64, 64))}, ("N", 3, 64, 64), card), "cpu")
    assert detector.threshold == 0.7
    boxes, scores = detector(np.zeros((64, 64, 3), np.uint8))
    np.testing.assert_allclose(boxes, [[40 - 16, 24 - 24, 40 + 20, 24 + 40]], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(scores, [1 / (1 + np.exp(-2))], rtol=1e-5)


def test_frames_of_several_sizes_in_one_call(constant_net, monkeypatch) -> None:
    card = ModelCard("det", "detector", input_size=(64, 64))
    detector = Detector(constant_net({"cells": person_cells((64, 64))}, ("N", 3, 64, 64), card), "cpu")
    calls: list[int] = []
    run = detector.session.run
    monkeypatch.setattr(detector.session, "run", lambda batch: calls.append(len(batch)) or run(batch))
    frames = [np.zeros(shape, np.uint8) for shape in ((64, 64, 3), (128, 128, 3), (128, 64, 3))]
    boxes = [found[0] for found in detector.detect(frames)]
    assert calls == [3]
    np.testing.assert_allclose(boxes[0], [[24, 0, 60, 64]], atol=1e-4)
    np.testing.assert_allclose(boxes[1], [[48, 0, 120, 128]], atol=1e-4)
    np.testing.assert_allclose(boxes[2], [[48, 0, 64, 128]], atol=1e-4)  # ends at the border of the image
    assert detector.detect([]) == []


def test_files_with_suppression_inside_take_frames_one_by_one(constant_net) -> None:
    dets = np.array([[[20, 40, 120, 140, 0.9]]])
    net = constant_net({"dets": dets, "labels": np.zeros((1, 1))}, ("N", 3, 320, 320), batch=1)
    found = Detector(net, "cpu").detect([FRAME, FRAME])
    assert [len(scores) for _, scores in found] == [1, 1]


def test_a_detectors_card_knows_one_threshold() -> None:
    with pytest.raises(ValueError, match="thresholds expected parts"):
        ModelCard("det", "detector", thresholds={"body": 0.3})


def test_nobody(constant_net) -> None:
    net = constant_net({"dets": np.zeros((1, 0, 5)), "labels": np.zeros((1, 0))}, ("N", 3, 320, 320))
    boxes, scores = Detector(net, "cpu")(FRAME)
    assert (boxes.shape, scores.shape) == ((0, 4), (0,))


def test_other_nets_are_refused_by_name(constant_net) -> None:
    net = constant_net({"heatmaps": np.zeros((1, 17, 64, 48))}, ("N", 3, 320, 320))
    with pytest.raises(EdgeposeError, match=r"no person detector .* heatmaps \[1, 17, 64, 48\]"):
        Detector(net, "cpu")(FRAME)


@pytest.mark.skipif(not RTMDET.is_file(), reason="no detector beside the checkout")
def test_a_real_detector_on_real_images() -> None:
    import cv2

    data = json.loads((SHARED / "data" / "annotations" / "val.json").read_text())
    images = [image for image in data["images"] if image["source"] == "gesture"][:5]
    detector = Detector(RTMDET, "cpu", threads=1)
    for image in images:
        frame = cv2.imread(str(SHARED / "data" / "images" / image["file_name"]))
        x, y, w, h = image["person_boxes"][0]
        boxes, scores = detector(frame)
        assert scores[0] > 0.5
        assert iou_matrix(boxes[:1], np.float32([[x, y, x + w, y + h]]))[0, 0] > 0.8
