"""Average precision: pycocotools' and xtcocotools' numbers, and figures known beforehand."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgepose.skeletons import Skeleton
from edgepose_training.evaluation.coco_files import detections_of, part_stats, truths_of
from edgepose_training.metrics.average_precision import AveragePrecision, Detection, Truth, crowdpose_stats

SPEC = Path(__file__).parents[4] / "shared" / "spec"
WHOLEBODY = Skeleton.load("coco_wholebody")
SIGMAS = np.array([0.05, 0.1])


def reference(name: str) -> dict:
    path = SPEC / "reference_eval.json"
    if not path.is_file():
        pytest.skip(f"reference values are not here: {path}")
    return json.loads(path.read_text())[f"xtcoco_example_{name}"]


def example(name: str) -> tuple[dict, list]:
    folder = SPEC / "eval_examples"
    names = (f"example_{name}_val.json", f"example_{name}_preds.json")
    return tuple(json.loads((folder / file).read_text()) for file in names)


@pytest.mark.parametrize("part", ["body", "foot", "face", "lefthand", "righthand", "wholebody"])
def test_wholebody_reference(part):
    expected = reference("wholebody")[part]
    truth, results = example("wholebody")
    start, stop = WHOLEBODY.parts.get(part, (0, 133))
    stats = part_stats(truth["annotations"], results, part, WHOLEBODY.sigmas[start:stop])
    np.testing.assert_allclose(list(stats.values()), expected, rtol=0, atol=1e-6)


def test_coco_reference():
    expected = reference("coco")["body"]
    truth, results = example("coco")
    stats = part_stats(truth["annotations"], results, "body", WHOLEBODY.sigmas[:17])
    np.testing.assert_allclose(list(stats.values()), expected, rtol=0, atol=1e-6)


def test_crowdpose_reference():
    expected = reference("crowdpose")["crowd"]
    truth, results = example("crowdpose")
    crowding = {image["id"]: image["crowdIndex"] for image in truth["images"]}
    truths = truths_of(truth["annotations"], use_area=False)
    stats = crowdpose_stats(truths, detections_of(results), Skeleton.load("crowdpose14").sigmas, crowding)
    np.testing.assert_allclose(list(stats.values())[:6], expected[:6], rtol=0, atol=1e-6)
    # The reference prints the three crowding levels with four digits.
    np.testing.assert_allclose(list(stats.values())[6:], expected[6:], rtol=0, atol=5e-5)


@pytest.mark.parametrize("part", ["body", "lefthand"])
def test_the_unweighted_resample_is_ap_itself(part):
    reference("wholebody")
    truth, results = example("wholebody")
    start, stop = WHOLEBODY.parts[part]
    ap = AveragePrecision(
        truths_of(truth["annotations"], part), detections_of(results, part), WHOLEBODY.sigmas[start:stop]
    )
    assert ap.resampled(np.ones(len(ap.images))) == pytest.approx(ap.stats["AP"], abs=1e-12)


def truth(image: int, offset: float = 0, crowd: bool = False) -> Truth:
    points = np.array([[10.0, 10.0], [60.0, 80.0]]) + offset
    bbox = np.array([0.0, 0, 100, 100]) + offset
    return Truth(image, bbox, 5000.0, points, np.array([2, 2]), crowd)


def detection(image: int, score: float, offset: float = 0) -> Detection:
    return Detection(image, score, 5000.0, np.array([[10.0, 10.0], [60.0, 80.0]]) + offset)


def test_perfect_detections_score_one_from_the_very_first_person():
    stats = AveragePrecision([truth(0), truth(1)], [detection(0, 0.9), detection(1, 0.8)], SIGMAS).stats
    assert stats["AP"] == pytest.approx(1)
    assert stats["AR"] == pytest.approx(1)
    assert np.isnan(stats["APl"])


def test_a_false_positive_ranked_first_halves_precision():
    ap = AveragePrecision([truth(1)], [detection(1, 0.5), detection(1, 0.9, offset=500)], SIGMAS)
    assert ap.stats["AP"] == pytest.approx(0.5)


def test_a_crowd_region_swallows_what_lies_in_it():
    truths = [truth(1), truth(1, offset=500, crowd=True)]
    detections = [detection(1, 0.5), detection(1, 0.9, offset=500), detection(1, 0.8, offset=501)]
    assert AveragePrecision(truths, detections, SIGMAS).stats["AP"] == pytest.approx(1)


def test_nothing_detected_and_nothing_labeled():
    assert AveragePrecision([truth(1)], [], SIGMAS).stats["AP"] == 0
    assert np.isnan(AveragePrecision([], [detection(1, 0.5)], SIGMAS).stats["AP"])


def test_resampling_an_image_twice_is_the_same_as_having_it_twice():
    truths = [truth(1), truth(2)]
    detections = [detection(1, 0.5), detection(2, 0.9, offset=500)]
    weighted = AveragePrecision(truths, detections, SIGMAS).resampled(np.array([2, 1]))
    copied = AveragePrecision([*truths, truth(3)], [*detections, detection(3, 0.5)], SIGMAS).stats["AP"]
    assert weighted == pytest.approx(copied, abs=1e-9)
