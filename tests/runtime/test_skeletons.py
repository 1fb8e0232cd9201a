"""Skeletons: the shipped ones against published definitions, and invalid ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgepose import EdgeposeError, Skeleton, models
from edgepose.skeletons import available

FACTS = Path(__file__).parents[3] / "shared" / "spec"
needs_facts = pytest.mark.skipif(not (FACTS / "coco_wholebody.json").is_file(), reason="facts not beside the checkout")


@pytest.mark.parametrize("name", available())
def test_shipped_skeletons_hold_together(name: str) -> None:
    skeleton = Skeleton.load(name)
    count = skeleton.num_keypoints
    np.testing.assert_array_equal(skeleton.swap[skeleton.swap], np.arange(count))
    assert skeleton.name == name
    assert len(skeleton.sigmas) == len(skeleton.part_of) == len(skeleton.rgb) == count
    assert Skeleton.from_dict(json.loads(json.dumps(skeleton.to_dict()))) == skeleton
    for a, b in skeleton.swap_pairs:  # partners are called left and right
        names = {skeleton.keypoints[a], skeleton.keypoints[b]}
        assert any(n.startswith("left_") for n in names) or all(n.startswith("face-") for n in names)
    for a, b in skeleton.links:  # a limb mirrors to a limb
        mirrored = {int(skeleton.swap[a]), int(skeleton.swap[b])}
        assert mirrored in [set(link) for link in skeleton.links.tolist()]


def test_coco_wholebody_by_numbers() -> None:
    skeleton = Skeleton.load("coco_wholebody")
    assert (skeleton.num_keypoints, len(skeleton.swap_pairs), len(skeleton.links)) == (133, 61, 65)
    own = np.flatnonzero(skeleton.swap == np.arange(133)).tolist()
    assert own == [0, 31, 50, 51, 52, 53, 56, 74, 80, 85, 89]
    assert skeleton.parts == {
        "body": (0, 17), "foot": (17, 23), "face": (23, 91), "lefthand": (91, 112), "righthand": (112, 133)
    }  # fmt: skip
    np.testing.assert_array_equal(skeleton.swap[91:112], np.arange(112, 133))
    np.testing.assert_array_equal(skeleton.sigmas[91:112], skeleton.sigmas[112:133])
    assert sorted({point for line in skeleton.contours for point in line}) == list(range(23, 91))


@needs_facts
def test_coco_wholebody_against_the_facts() -> None:
    facts = json.loads((FACTS / "coco_wholebody.json").read_text())
    skeleton = Skeleton.load("coco_wholebody")
    assert list(skeleton.keypoints) == facts["names"]
    assert skeleton.swap.tolist() == facts["flip_index"]
    assert skeleton.links.tolist() == facts["skeleton"]
    np.testing.assert_array_equal(skeleton.sigmas, np.float32(facts["sigmas"]))
    assert list(skeleton.part_of) == facts["part_of"]
    assert (list(skeleton.upper), list(skeleton.lower)) == (facts["upper_body_ids"], facts["lower_body_ids"])


@needs_facts
@pytest.mark.parametrize("name", ["coco17", "crowdpose14", "mpii16", "halpe26", "halpe136", "lsp14"])
def test_other_skeletons_against_the_facts(name: str) -> None:
    facts = json.loads((FACTS / "other_skeletons.json").read_text())[name]
    skeleton = Skeleton.load(name)
    assert list(skeleton.keypoints) == facts["names"]
    assert skeleton.swap.tolist() == facts["flip_index"]
    if facts["skeleton"]:
        assert skeleton.links.tolist() == facts["skeleton"]
        np.testing.assert_array_equal(skeleton.sigmas, np.float32(facts["sigmas"]))


def test_a_made_up_skeleton_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "stick.toml"
    path.write_text('name = "stick"\nkeypoints = ["top", "left_end", "right_end"]\nswap = [[1, 2]]\n')
    skeleton = Skeleton.load(path)
    assert skeleton.swap.tolist() == [0, 2, 1]
    assert skeleton.parts == {"body": (0, 3)}
    assert skeleton.links.shape == (0, 2)


@pytest.mark.parametrize(("count", "name"), [(133, "coco_wholebody"), (17, "coco17"), (9, "points9")])
def test_the_skeleton_of_a_number_of_points(count: int, name: str) -> None:
    skeleton = Skeleton.for_size(count)
    assert (skeleton.name, skeleton.num_keypoints) == (name, count)


def test_files_written_before_are_understood() -> None:
    """By the words that they used for colors."""
    new = {"name": "x", "keypoints": ["a"], "colors": {"body": "#010203", "center": "#040506"}}
    old = {"name": "x", "keypoints": ["a"], "colours": {"body": "#010203", "centre": "#040506"}}
    assert Skeleton.from_dict(old) == Skeleton.from_dict(new)
    assert Skeleton.from_dict(old).color("center") == (4, 5, 6)


@pytest.mark.parametrize("name", [name for name in models.available() if "det" not in name])
def test_the_skeletons_of_the_shipped_models(name: str) -> None:
    pytest.importorskip("onnxruntime")
    from edgepose.runtime import Session

    card = Session(name, "cpu").card
    assert card is not None
    assert card.skeleton == Skeleton.load("coco_wholebody")


BAD = {
    "no points": ({"keypoints": []}, "keypoints"),
    "a name twice": ({"keypoints": ["a", "a"]}, "keypoints"),
    "an unknown entry": ({"bones": []}, "bones"),
    "a link to nowhere": ({"links": [[0, 3]]}, "links"),
    "a triple link": ({"links": [[0, 1, 2]]}, "links"),
    "pairs without brackets": ({"swap": [1, 2]}, "swap expected pairs of indices"),
    "names instead of indices": ({"links": [["a", "b"]]}, "links expected indices"),
    "two partners": ({"swap": [[0, 1], [1, 2]]}, "swap"),
    "too few sigmas": ({"sigmas": [0.1]}, "sigmas"),
    "a sigma of zero": ({"sigmas": [0.1, 0, 0.1]}, "sigmas"),
    "a gap between parts": ({"parts": {"body": [0, 1], "foot": [2, 3]}}, "parts"),
    "no color": ({"colors": {"left": "blue"}}, "colors"),
}


@pytest.mark.parametrize(("entries", "word"), BAD.values(), ids=BAD)
def test_nonsense_is_named(entries: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Skeleton.from_dict({"name": "x", "keypoints": ["a", "b", "c"], **entries})


def test_one_sentence_for_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EdgeposeError, match=r"There is no skeleton 'octopus': name one of aic14, ap10k, coco17"):
        Skeleton.load("octopus")
    (tmp_path / "broken.toml").write_text("name = ")
    with pytest.raises(EdgeposeError, match="not usable"):
        Skeleton.load(tmp_path / "broken.toml")


@pytest.mark.parametrize("name", available())
def test_shipped_skeletons_pair_their_sides(name: str) -> None:
    assert Skeleton.load(name).unpaired_sides == []


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left_hand", "right_hand"), ("hand_left", "hand_right"), ("l_hand", "r_hand"), ("hand-L", "hand-R"),
        ("LeftHand", "RightHand"), ("handLeft", "handRight"), ("left hand", "right hand"), ("LEFT_HAND", "RIGHT_HAND"),
        ("handL", "handR"), ("left.1", "right.1"),
    ],
)  # fmt: skip
def test_sides_that_swap_leaves_alone_are_found(left: str, right: str) -> None:
    made = {"name": "made", "keypoints": ["tail", right, left, "leftovers", "rightovers", "tail_end"]}
    assert Skeleton.from_dict(made).unpaired_sides == [(1, 2)]
    assert Skeleton.from_dict(made | {"swap": [[2, 1]]}).unpaired_sides == []
    assert Skeleton.from_dict(made | {"swap": [[2, 0]]}).unpaired_sides == [(1, 2)]  # paired with another point
