"""Scores of nets with any labels: they rank answers by how certain they are, and one score says one thing.

The nets here have learned all that can be learned: each answers with the mean of its labels over the places where a
point may lie, which are normally distributed around a guess. How far the guesses are off is known, person by person.
"""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

from edgepose import Skeleton  # noqa: E402
from edgepose.codecs import SimCC  # noqa: E402
from edgepose_training.config import Config  # noqa: E402
from edgepose_training.deploy import exporter  # noqa: E402
from edgepose_training.engine.cards import card_of  # noqa: E402
from edgepose_training.engine.label_scores import _blurred, _targets, label_beta  # noqa: E402
from edgepose_training.metrics.average_precision import AveragePrecision, Detection, Truth  # noqa: E402
from edgepose_training.metrics.oks import instance_scores  # noqa: E402

BODY = Skeleton.load("coco17")
PEOPLE = 60
SIMCC = {"label_loss": "simcc", "beta": 1.0}
LABELS = {
    "rtmpose": {"label_loss": "rtmpose"},
    "rtmpose, β 1": {"label_loss": "rtmpose", "beta": 1.0},
    "rtmpose, β 5": {"label_loss": "rtmpose", "beta": 5.0},
    "rtmpose, one bin": {"label_loss": "rtmpose", "label_kind": "onehot"},
    "rtmpose, integral 1": {"label_loss": "rtmpose", "label_normalize": True, "beta": 10.0},
    "one bin": SIMCC | {"label_kind": "onehot"},
    "a tenth is flat": SIMCC | {"label_kind": "smooth", "label_smoothing": 0.1},
    "two fifths are flat": SIMCC | {"label_kind": "smooth", "label_smoothing": 0.4},
    "Gaussian": SIMCC
    | {"label_loss": "simcc_norm", "label_center": "exact", "label_normalize": True, "sigma": (4.0, 4.0)},
    "Gaussian of peak 1": SIMCC | {"sigma": (6.0, 6.0)},
    "Laplace": SIMCC | {"label_kind": "laplace", "sigma": (4.0, 4.0)},
    "a β that the loss does not see": SIMCC | {"label_kind": "smooth", "beta": 10.0},
}  # fmt: skip
SHAPES = {
    "1 bin a pixel": {"split_ratio": 1.0},
    "1.5 bins a pixel": {"split_ratio": 1.5},
    "4 bins a pixel": {"split_ratio": 4.0},
    "64×64": {"input_size": (64, 64)},
    "384×288": {"input_size": (288, 384)},
}
SETTINGS = [({}, labels) for labels in LABELS] + [
    (shape, labels) for shape in SHAPES.values() for labels in ("rtmpose", "a tenth is flat", "Gaussian")
]


def config_of(shape: dict, labels: str) -> Config:
    config = Config(**{"skeleton": "coco17"} | LABELS[labels] | shape)
    if LABELS[labels].get("sigma") is None:
        x, y = (sqrt(side * config.split_ratio / 16) for side in config.input_size)
        config = replace(config, sigma=(x, y))
    return config


def answers(config: Config, places: np.ndarray, uncertain: np.ndarray) -> list[np.ndarray]:
    """Logits [N, K, W] of each axis for points around `places` [N, K, 2], `uncertain` [N] px wide."""
    logits = []
    for axis, target in enumerate(_targets(config)):
        spectra = np.fft.fft([_blurred(target, s * config.split_ratio) for s in uncertain])
        shift = np.rint(places[..., axis] * config.split_ratio) - len(target) // 2
        turned = spectra[:, None] * np.exp(-2j * np.pi * np.fft.fftfreq(len(target)) * shift[..., None])
        rows = np.fft.ifft(turned).real
        logits.append((np.log(np.maximum(rows, 1e-9)) / label_beta(config)).astype(np.float32))
    return logits


def seen(config: Config, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """True points [N, K, 2], the net's, its scores [N, K], and how uncertain each person was [N], px."""
    rng = np.random.default_rng(seed)
    size = np.array(config.input_size)
    true = size * rng.uniform(0.35, 0.65, (PEOPLE, 17, 2))
    uncertain = size[0] * np.geomspace(0.003, 0.08, PEOPLE)[rng.permutation(PEOPLE)]
    guess = true + rng.normal(size=true.shape) * uncertain[:, None, None]
    card = card_of("net.pt", config, BODY, {})
    found, scores = SimCC.from_card(card).decode(*answers(config, guess, uncertain), score=card.score)
    return true, found, scores, uncertain


def precision(true: np.ndarray, found: np.ndarray, scores: np.ndarray, size: tuple[int, int]) -> float:
    area = 0.3 * size[0] * size[1]
    box = np.array([0, 0, *size], float)
    truths = [Truth(i, box, area, points, np.full(17, 2)) for i, points in enumerate(true)]
    detections = [Detection(i, float(s), area, points) for i, (s, points) in enumerate(zip(scores, found, strict=True))]
    return AveragePrecision(truths, detections, BODY.sigmas).stats["AP"]


@pytest.mark.parametrize(("shape", "labels"), SETTINGS)
def test_scores_rank_answers_and_say_how_uncertain_they_are(shape, labels):
    config = config_of(shape, labels)
    true, found, scores, uncertain = seen(config)
    people = instance_scores(np.ones(PEOPLE), scores)
    assert ((scores >= 0) & (scores <= 1)).all()
    flat = precision(true, found, np.ones(PEOPLE), config.input_size)
    assert precision(true, found, people, config.input_size) > flat + 0.1
    ranked = scores.mean(1)[np.argsort(uncertain)]
    assert (np.diff(ranked) < 0).mean() > 0.95  # no plateau anywhere
    # The labels that simcc_decode knows itself keep its rule, in which a pixel counts as so many bins.
    tolerance = 0.15 if card_of("net.pt", config, BODY, {}).score_knots else 0.25
    expected = 1 / np.sqrt(1 + uncertain**2 / (min(config.input_size) / 320))
    assert np.abs(scores.mean(1) - expected).max() < tolerance


def test_an_answer_without_information_scores_next_to_nothing_and_nan_nothing():
    for labels in LABELS:
        config = config_of({}, labels)
        card = card_of("net.pt", config, BODY, {})
        x, y = (np.zeros((1, 17, bins), np.float32) for bins in card.bins)
        assert SimCC.from_card(card).decode(x, y, score=card.score)[1].max() < 0.03, labels
        x[0, 2, 7] = np.nan
        assert SimCC.from_card(card).decode(x, y, score=card.score)[1][0, 2] == 0


def test_sharper_than_the_label_still_ranks():
    """A net that overfits is surer than its labels; its scores must not all become 1."""
    config = config_of({}, "Gaussian")
    card = card_of("net.pt", config, BODY, {})
    label_x, label_y = (np.log(row + 1e-9).astype(np.float32)[None, None].repeat(17, 1) for row in _targets(config))
    scores = [
        SimCC.from_card(card).decode(label_x * factor, label_y * factor, score=card.score)[1][0, 0]
        for factor in (1, 2, 4, 8)
    ]
    assert 0.9 < scores[0] < scores[1] < scores[2] < scores[3] <= 1


@pytest.mark.parametrize("labels", ["a tenth is flat", "rtmpose, β 1", "Gaussian"])
def test_the_flip_test_and_the_exported_decoder_score_alike(labels):
    config = replace(config_of({}, labels), input_size=(64, 96))
    card = card_of("net.pt", config, BODY, {})
    rng = np.random.default_rng(1)
    places, uncertain = rng.uniform(20, 44, (3, 17, 2)), np.array([0.5, 2, 6.0])
    x, y = answers(config, places, uncertain)
    codec = SimCC.from_card(card)
    found, scores = codec.decode(x, y, score=card.score)
    mirrored = np.concatenate([x[..., :-1][..., ::-1], x[..., -1:]], -1)[:, BODY.swap], y[:, BODY.swap]
    again, flipped = codec.decode(x, y, score=card.score, flipped=(*mirrored, BODY.swap))
    np.testing.assert_allclose(again, found, atol=0.51)
    np.testing.assert_allclose(flipped, scores, atol=0.05)
    graph = onnxruntime.InferenceSession(exporter.decoder_to_onnx(card).SerializeToString())
    points, theirs = graph.run(["keypoints", "scores"], {"simcc_x": x, "simcc_y": y})
    np.testing.assert_array_equal(points, found)
    np.testing.assert_allclose(theirs, scores, atol=2e-3)


def test_another_relative_score_of_such_a_net_is_refused():
    card = card_of("net.pt", config_of({}, "a tenth is flat"), BODY, {})
    x, y = (np.zeros((1, 17, bins), np.float32) for bins in card.bins)
    with pytest.raises(ValueError, match="score expected 'entropy'"):
        SimCC.from_card(card).decode(x, y, score="calibrated")


def test_cards_of_rtmposes_labels_are_what_they_were():
    card = card_of("net.pt", Config(), Skeleton.load("coco_wholebody"), {})
    assert (card.score, card.beta, card.sigma, card.score_knots) == ("entropy", 10.0, (4.9, 5.66), {})
