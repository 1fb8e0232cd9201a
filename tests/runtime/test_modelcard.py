"""The model card: round trip, invalid entries, and what shapes reveal about a file without one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgepose import ModelCard, Skeleton

FULL = ModelCard(
    "edgepose-t",
    sigma=(4.9, 5.66),
    skeleton=Skeleton.load("coco_wholebody"),
    unsupervised_keypoints=(18, 21),
    calibration={"face": [[0.0, 0.5, 1.0], [0.0, 0.3, 0.9]]},
    thresholds={"face": 0.25},
    license="see data",
    data="a, b",
    recipe="two hours",
    accuracy={"body": {"oks": 0.547}},
    author="somebody",
    date="2026-01-31",
)


KNOTS = {"x": [[0.01, 1.0], [0.0, 1.0]], "y": [[0.02, 0.5, 1.0], [0.0, 0.9, 1.0]]}


@pytest.mark.parametrize(
    "card",
    [
        FULL,
        ModelCard("bare"),
        ModelCard("raw", beta=None, sigma=None, score="min"),
        ModelCard("smooth", beta=1.0, score="entropy", score_knots=KNOTS),
    ],
)
def test_there_and_back(card: ModelCard) -> None:
    assert ModelCard.from_json(card.to_json()) == card


def test_the_card_is_plain_json() -> None:
    values = json.loads(FULL.to_json())
    assert values["input_size"] == [192, 256]
    assert len(values["skeleton"]["keypoints"]) == 133


BAD = {
    "task": "segmentation",
    "channel_order": "hsv",
    "score": "best",
    "std": (1.0, 0.0, 1.0),
    "mean": (1.0, 2.0),
    "input_size": (0, 256),
    "beta": None,  # with the calibrated score
    "unsupervised_keypoints": (133,),
    "calibration": {"face": [[0.5, 0.1], [0.0, 1.0]]},
    "thresholds": {"tail": 0.5},
}
WORSE = [
    ("mean", (float("nan"), 1.0, 1.0)),
    ("sigma", (float("inf"), 1.0)),
    ("padding", -1.0),
    ("split_ratio", 0),
    ("split_ratio", "2"),
    ("beta", -1.0),
    ("thresholds", ["face"]),
    ("thresholds", {"face": "x"}),
    ("score_knots", KNOTS),  # with the calibrated score
]


@pytest.mark.parametrize(("name", "value"), [*BAD.items(), *WORSE])
def test_nonsense_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        replace(FULL, **{name: value})


@pytest.mark.parametrize("knots", [{"x": KNOTS["x"]}, KNOTS | {"y": [[0.5, 0.1], [0, 1]]}, KNOTS | {"y": [[0], [2]]}])
def test_knots_that_do_not_rise_or_lack_an_axis_are_named(knots: dict) -> None:
    with pytest.raises(ValueError, match="score_knots"):
        ModelCard("smooth", score="entropy", score_knots=knots)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 1, "color": "red"}', '{"format": 99}'])
def test_broken_cards_are_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        ModelCard.from_json(text)


# Shapes of the public RTMPose and DWPose files: input (H, W), points, bins, then what must come out.
PUBLIC = [
    ((256, 192), 17, (384, 512), "coco17", (4.9, 5.66)),
    ((256, 192), 133, (384, 512), "coco_wholebody", (4.9, 5.66)),
    ((384, 288), 133, (576, 768), "coco_wholebody", (6.0, 6.93)),
    ((256, 256), 21, (512, 512), "hand21", (5.66, 5.66)),
    ((384, 288), 26, (576, 768), "halpe26", (6.0, 6.93)),
]


@pytest.mark.parametrize(("size", "count", "bins", "skeleton", "sigma"), PUBLIC)
def test_third_party_shapes(size, count, bins, skeleton, sigma) -> None:
    shapes = {"simcc_x": (1, count, bins[0]), "simcc_y": (1, count, bins[1])}
    for input_shape in (("batch", 3, *size), ("batch", 3, None, None)):
        card = ModelCard.infer("net", input_shape, shapes)
        assert (card.input_size, card.bins, card.split_ratio) == (size[::-1], bins, 2.0)
        assert (card.skeleton.name, card.sigma, card.score) == (skeleton, sigma, "min")


def test_the_order_of_named_outputs_does_not_matter() -> None:
    card = ModelCard.infer("net", ("b", 3, 256, 192), {"simcc_y": (1, 17, 512), "simcc_x": (1, 17, 384)})
    assert card.bins == (384, 512)


FOREIGN = {
    "heat maps": {"heatmaps": (1, 17, 64, 48)},
    "a detector": {"dets": (1, 100, 5), "labels": (1, 100)},
    "different points": {"simcc_x": (1, 17, 384), "simcc_y": (1, 21, 512)},
    "different ratios": {"simcc_x": (1, 17, 384), "simcc_y": (1, 17, 768)},
}


@pytest.mark.parametrize("shapes", FOREIGN.values(), ids=FOREIGN)
def test_other_nets_are_refused_by_name(shapes: dict) -> None:
    with pytest.raises(ValueError, match="outputs expected") as error:
        ModelCard.infer("net", ("b", 3, 256, 192), shapes)
    assert str(shapes[next(iter(shapes))][-1]) in str(error.value)
