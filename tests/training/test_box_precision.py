"""Average precision of boxes against pycocotools."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from edgepose_training.metrics.box_precision import BoxTruth, average_precision, match_boxes, recall

NONE = np.zeros((0, 4), np.float32)


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner, size = rng.uniform(0, 60, (count, 2)), rng.uniform(10, 40, (count, 2))
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


def test_as_pycocotools() -> None:
    coco_api = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    rng = np.random.default_rng(0)
    matches, truths, results = [], [], []
    for image in range(40):
        people = boxes(rng, int(rng.integers(1, 5)))
        ignored = boxes(rng, int(rng.integers(0, 2)))
        shaken = people + rng.normal(0, 4, people.shape).astype(np.float32)
        shaken[:, 2:] = np.maximum(shaken[:, 2:], shaken[:, :2] + 1)
        found = np.concatenate([shaken, boxes(rng, 2)])
        scores = rng.uniform(0, 1, len(found)).round(3)
        matches.append(match_boxes(found, scores, BoxTruth(people, ignored)))
        for box, crowd in [(b, 0) for b in people] + [(b, 1) for b in ignored]:
            xywh = [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]
            entry = {"id": len(truths) + 1, "image_id": image, "category_id": 1, "bbox": xywh, "iscrowd": crowd}
            truths.append(entry | {"area": xywh[2] * xywh[3]})
        for box, score in zip(found.tolist(), scores.tolist(), strict=True):
            xywh = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            results.append({"image_id": image, "category_id": 1, "bbox": xywh, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = coco_api.COCO()
        images = [{"id": i} for i in range(40)]
        coco.dataset = {"images": images, "annotations": truths, "categories": [{"id": 1, "name": "person"}]}
        coco.createIndex()
        oracle = evaluation.COCOeval(coco, coco.loadRes(results), "bbox")
        oracle.params.iouThrs = np.array([0.5])
        oracle.evaluate()
        oracle.accumulate()
    expected = oracle.eval["precision"][0, :, 0, 0, -1].mean()
    assert 0.2 < expected < 0.95
    assert average_precision(matches) == pytest.approx(expected, abs=1e-6)


def test_small_false_boxes_are_not_counted() -> None:
    people = np.float32([[0, 0, 50, 100]])
    found = np.float32([[0, 0, 50, 100], [60, 0, 70, 20], [60, 0, 90, 80]])
    matches = match_boxes(found, np.array([0.8, 0.95, 0.9]), BoxTruth(people, NONE, smallest=30))
    assert matches.counted.tolist() == [False, True, True]  # best first
    assert average_precision([matches]) == pytest.approx(0.5)


def test_recall_and_empty_pictures() -> None:
    people = np.float32([[0, 0, 10, 10], [20, 0, 30, 10]])
    matches = match_boxes(people[:1], np.array([0.6]), BoxTruth(people, NONE))
    assert recall([matches], 0.5) == 0.5
    assert recall([matches], 0.7) == 0
    nobody = match_boxes(NONE, np.zeros(0), BoxTruth(NONE, NONE))
    assert np.isnan(average_precision([nobody]))
    assert average_precision([nobody, matches]) == pytest.approx(0.5, abs=0.01)
