import json
from pathlib import Path

import numpy as np
import pytest

from edgepose.skeletons import Skeleton
from edgepose_training.evaluation.coco_files import detections_of, part_stats, truths_of
from edgepose_training.metrics import bootstrap, nme, pck
from edgepose_training.metrics.average_precision import AveragePrecision, Detection, Truth, crowdpose_stats
from edgepose_training.metrics.oks import instance_scores, oks, oks_nms, pairwise_oks, soft_oks_nms

SPEC = Path(__file__).parents[4] / "shared" / "spec"
WHOLEBODY = Skeleton.load("coco_wholebody")
SIGMAS = np.array([0.05, 0.1])


# --- reference values ---------------------------------------------------------------------------------------


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


# --- OKS ----------------------------------------------------------------------------------------------------


def test_oks_is_the_formula_over_labeled_points_only():
    labeled = np.array([[[10.0, 10.0], [20.0, 20.0]]])
    predicted = np.array([[[13.0, 14.0], [999.0, 999.0]]])
    value = oks(predicted, labeled, np.array([[2, 0]]), np.array([400.0]), SIGMAS)
    np.testing.assert_allclose(value, np.exp(-25 / (2 * 400 * (2 * 0.05) ** 2)), rtol=1e-12)


def test_oks_of_a_person_without_labels_is_undefined():
    points = np.zeros((2, 2, 2))
    values = oks(points, points, np.array([[0, 0], [1, 1]]), np.array([100.0, 100.0]), SIGMAS)
    assert np.isnan(values[0])
    assert values[1] == 1


def test_oks_of_nobody():
    assert oks(np.zeros((0, 2, 2)), np.zeros((0, 2, 2)), np.zeros((0, 2)), np.zeros(0), SIGMAS).shape == (0,)


def test_instance_scores_average_what_is_above_the_threshold():
    scores = instance_scores(np.array([0.5, 1.0]), np.array([[0.8, 0.4, 0.2], [0.1, 0.0, 0.2]]))
    np.testing.assert_allclose(scores, [0.5 * 0.6, 0])


def three_people() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The second is the first moved by a hair; the third is elsewhere."""
    person = np.array([[0.0, 0.0], [50.0, 50.0]])
    return np.stack([person, person + 0.5, person + 300]), np.array([0.7, 0.9, 0.1]), np.full(3, 2500.0)


def test_nms_keeps_the_better_of_two_alike_and_whoever_stands_apart():
    keypoints, scores, areas = three_people()
    np.testing.assert_array_equal(oks_nms(keypoints, scores, areas, SIGMAS), [1, 2])


def test_nms_keeps_a_pair_at_the_threshold():
    keypoints, scores, areas = three_people()
    threshold = pairwise_oks(keypoints, areas, SIGMAS)[0, 1]
    np.testing.assert_array_equal(oks_nms(keypoints, scores, areas, SIGMAS, threshold), [1, 0, 2])


def test_soft_nms_lowers_scores_instead():
    keypoints, scores, areas = three_people()
    kept, lowered = soft_oks_nms(keypoints, scores, areas, SIGMAS)
    similarity = pairwise_oks(keypoints, areas, SIGMAS)[0, 1]
    np.testing.assert_array_equal(kept, [1, 0, 2])
    np.testing.assert_allclose(lowered, [0.9, 0.7 * np.exp(-(similarity**2) / 0.9), 0.1], rtol=1e-6)
    assert len(soft_oks_nms(keypoints, scores, areas, SIGMAS, most=2)[0]) == 2


def test_nms_of_nobody():
    assert oks_nms(np.zeros((0, 2, 2)), np.zeros(0), np.zeros(0), SIGMAS).shape == (0,)


# --- AP -----------------------------------------------------------------------------------------------------


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


# --- PCK ----------------------------------------------------------------------------------------------------


def test_pck_counts_a_point_at_the_threshold_and_skips_unlabeled_ones():
    distances = np.array([[0.5, 0.51, np.nan], [0.2, 0.2, np.nan]])
    np.testing.assert_array_equal(pck.pck(distances, 0.5)[:2], [1, 0.5])
    assert np.isnan(pck.pck(distances, 0.5)[2])


def test_distances_are_undefined_without_label_or_length():
    points = np.zeros((3, 1, 2))
    visible = np.array([[1], [0], [1]])
    distances = pck.normalized_distances(points + np.array([3, 4]), points, visible, np.array([10.0, 10.0, np.nan]))
    np.testing.assert_array_equal(distances, [[0.5], [np.nan], [np.nan]])


def test_mpii_head_length_is_six_tenths_of_the_diagonal():
    np.testing.assert_allclose(pck.mpii_head_length(np.array([[10, 10, 40, 50]])), [30])


def test_mpii_mean_is_weighted_and_leaves_out_pelvis_and_thorax():
    distances = np.full((2, 16), np.nan)
    distances[:, 9] = 0.1  # head: two labeled, both correct
    distances[0, 10] = 0.9  # right wrist: one labeled, wrong
    distances[0, 15] = 0.1  # left wrist: one labeled, correct
    distances[:, [6, 7]] = 5.0  # pelvis and thorax: wrong, and not counted
    table = pck.mpii_pckh(distances, 0.5)
    assert table["mean"] == pytest.approx(3 / 4)
    assert table["head"] == 1
    assert table["wrist"] == 0.5


def test_mpii_strict_threshold_is_a_tenth_and_not_eleven_hundredths():
    assert pck.MPII_SWEEP[10] == 0.1
    distances = np.full((1, 16), 0.105)
    assert pck.mpii_pckh(distances, pck.MPII_SWEEP[10])["mean"] == 0
    assert pck.mpii_auc(distances) == pytest.approx(40 / 51)  # correct from 0.11 to 0.50


def test_lsp_measures_by_left_shoulder_and_right_hip():
    names = Skeleton.load("lsp14").keypoints
    assert [names[index] for index in pck.LSP_TORSO] == ["left_shoulder", "right_hip"]
    assert [WHOLEBODY.keypoints[index] for index in pck.COCO_TORSO] == ["left_shoulder", "right_hip"]
    labeled = np.zeros((2, 14, 2))
    labeled[:, 9] = [30, 40]
    visible = np.ones((2, 14))
    visible[1, 2] = 0
    np.testing.assert_array_equal(pck.torso_length(labeled, visible), [50, np.nan])


def test_lsp_mean_is_plain_over_joints():
    distances = np.array([[0.1, 0.3], [np.nan, 0.1]])
    assert pck.lsp_pck(distances) == pytest.approx(0.75)
    assert pck.lsp_auc(np.full((1, 14), 0.2)) == pytest.approx(1 / 21)


def test_intervals_of_pck_hold_their_means():
    generator = np.random.default_rng(4)
    images = np.arange(60)
    distances = generator.uniform(0, 1, (60, 16))
    low, high = pck.mpii_interval(distances, images)
    assert low < pck.mpii_pckh(distances)["mean"] < high
    assert high - low < 0.15
    joints = generator.uniform(0, 0.4, (60, 14))
    joints[:, 3] = np.nan  # never labeled
    joints[5:, 7] = np.nan
    low, high = pck.lsp_interval(joints, images)
    assert low < pck.lsp_pck(joints) < high
    assert pck.lsp_interval(np.zeros((2, 14)), images[:2]) == (1, 1)


# --- normalized error ---------------------------------------------------------------------------------------


def test_error_is_the_mean_distance_over_the_diagonal():
    length = nme.box_diagonal(np.array([[0, 0, 30, 40]] * 2))
    labeled = np.zeros((2, 3, 2))
    predicted = labeled + np.array([[[3, 4], [0, 0], [100, 100]]])
    errors = nme.normalized_error(predicted, labeled, np.array([[1, 2, 0], [1, 0, 0]]), length, min_points=2)
    np.testing.assert_array_equal(errors, [2.5 / 50, np.nan])


# --- bootstrap ----------------------------------------------------------------------------------------------


def test_the_interval_covers_the_mean_as_often_as_it_says():
    generator = np.random.default_rng(1)
    samples = generator.normal(size=(300, 80))
    estimates = [bootstrap.mean_estimate(sample, np.arange(80), resamples=400) for sample in samples]
    covered = np.mean([estimate.low <= 0 <= estimate.high for estimate in estimates])
    assert 0.90 <= covered <= 0.98


def test_people_of_one_image_are_drawn_together():
    values = np.repeat(np.random.default_rng(2).normal(size=40), 10)
    together = bootstrap.mean_estimate(values, np.repeat(np.arange(40), 10))
    apart = bootstrap.mean_estimate(values, np.arange(400))
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_undefined_values_do_not_count():
    estimate = bootstrap.mean_estimate(np.array([1.0, np.nan, 3.0]), np.arange(3))
    assert (estimate.value, estimate.count) == (2, 2)
    nothing = bootstrap.mean_estimate(np.array([np.nan]), np.arange(1))
    assert nothing.count == 0
    assert str(nothing) == "–"


def test_ratio_is_a_mean_over_points():
    estimate = bootstrap.ratio_estimate(np.array([1, 9, 0]), np.array([10, 10, 0]), np.arange(3))
    assert (estimate.value, estimate.count) == (0.5, 20)


def test_statistic_interval_uses_the_draws():
    values = np.array([0.0, 1.0])
    estimate = bootstrap.statistic_estimate(0.5, 2, 2, lambda draw: draw @ values / draw.sum())
    assert (estimate.low, estimate.high) == (0, 1)
