"""Average precision and recall of boxes: what is ignored, and figures known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose_training.metrics.box_precision import BoxTruth, average_precision, match_boxes, recall

NONE = np.zeros((0, 4), np.float32)


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner, size = rng.uniform(0, 60, (count, 2)), rng.uniform(10, 40, (count, 2))
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


def test_figures_recorded_with_our_own_matching() -> None:
    """Recorded before pycocotools took its place, with people too low to count, crowd regions and equal scores."""
    figures = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        matches = []
        for _ in range(60):
            people, smallest = boxes(rng, int(rng.integers(0, 5))), float(rng.uniform(10, 30))
            ignored, large = boxes(rng, int(rng.integers(0, 3))), people[:, 3] - people[:, 1] >= smallest
            shaken = people + rng.normal(0, 4, people.shape).astype(np.float32)
            shaken[:, 2:] = np.maximum(shaken[:, 2:], shaken[:, :2] + 1)
            found = np.concatenate([shaken, boxes(rng, 2)])
            truth = BoxTruth(people[large], np.concatenate([people[~large], ignored]), smallest)
            matches.append(match_boxes(found, rng.uniform(0, 1, len(found)).round(2), truth))
        figures.append(average_precision(matches))
    assert figures == pytest.approx([0.377955316499259, 0.4328561063003063, 0.43085864434246446], abs=1e-12)


def test_a_crowd_region_may_be_found_many_times_and_a_person_once() -> None:
    people, crowd = np.float32([[0, 0, 50, 100]]), np.float32([[200, 0, 400, 100]])
    found = np.float32([[0, 0, 50, 100], [210, 0, 250, 100], [260, 0, 300, 100], [2, 0, 50, 100]])
    scores = np.array([0.5, 0.9, 0.8, 0.7])
    assert average_precision([match_boxes(found[:3], scores[:3], BoxTruth(people, crowd))]) == pytest.approx(1)
    assert average_precision([match_boxes(found, scores, BoxTruth(people, crowd))]) == pytest.approx(
        1
    )  # the second one comes later
    assert average_precision([match_boxes(found[:3], scores[:3], BoxTruth(people, NONE))]) == pytest.approx(1 / 3)


def test_small_false_boxes_are_not_counted() -> None:
    people = np.float32([[0, 0, 50, 100]])
    found = np.float32([[0, 0, 50, 100], [60, 0, 70, 20], [60, 0, 90, 80]])
    matches = match_boxes(found, np.array([0.8, 0.95, 0.9]), BoxTruth(people, NONE, smallest=30))
    assert average_precision([matches]) == pytest.approx(0.5)


def test_recall_and_empty_pictures() -> None:
    people = np.float32([[0, 0, 10, 10], [20, 0, 30, 10]])
    matches = match_boxes(people[:1], np.array([0.6]), BoxTruth(people, NONE))
    assert recall([matches], 0.5) == 0.5
    assert recall([matches], 0.7) == 0
    nobody = match_boxes(NONE, np.zeros(0), BoxTruth(NONE, NONE))
    assert np.isnan(average_precision([nobody]))
    assert average_precision([nobody, matches]) == pytest.approx(0.5, abs=0.01)
    assert average_precision([match_boxes(NONE, np.zeros(0), BoxTruth(people, NONE))]) == 0
