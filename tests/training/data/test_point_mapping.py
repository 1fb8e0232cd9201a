"""The points of one data set in the skeleton of another: by name, by other names, by a table."""

import numpy as np
import pytest

from edgepose import EdgeposeError, Skeleton
from edgepose_training.data.point_mapping import PointMapping


def names(mapping: PointMapping) -> dict[str, str]:
    """Point of the run → point of the set."""
    return {mapping.to.keypoints[i]: mapping.of.keypoints[j] for i, j in enumerate(mapping.index) if j >= 0}


def between(of: str, to: str, table=None) -> PointMapping:
    return PointMapping.between(Skeleton.load(of), Skeleton.load(to), table)


# RTMPose's mix for 26 points, as (point of the set, point of Halpe's 26).
AIC = [(0, 6), (1, 8), (2, 10), (3, 5), (4, 7), (5, 9), (6, 12), (7, 14), (8, 16), (9, 11), (10, 13), (11, 15),
       (12, 17), (13, 18)]  # fmt: skip
CROWDPOSE = [*((i, i + 5) for i in range(12)), (12, 17), (13, 18)]
MPII = [(0, 16), (1, 14), (2, 12), (3, 11), (4, 13), (5, 15), (8, 18), (9, 17), (10, 10), (11, 8), (12, 6), (13, 5),
        (14, 7), (15, 9)]  # fmt: skip
WHOLEBODY = [*((i, i) for i in range(17)), (17, 20), (18, 22), (19, 24), (20, 21), (21, 23), (22, 25)]
HALPE = [(i, i) for i in range(26)]


@pytest.mark.parametrize(
    ("of", "pairs"),
    [("aic14", AIC), ("crowdpose14", CROWDPOSE), ("mpii16", MPII), ("coco_wholebody", WHOLEBODY), ("halpe136", HALPE)],
)
def test_the_published_mix_of_body_sets(of, pairs):
    mapping = between(of, "halpe26")
    assert sorted((j, i) for i, j in enumerate(mapping.index) if j >= 0) == sorted(pairs)


def test_halpe_as_wholebody_drops_three_points_and_moves_the_feet():
    expected = [*range(17), 20, 22, 24, 21, 23, 25, *range(26, 136)]
    np.testing.assert_array_equal(between("halpe136", "coco_wholebody").index, expected)


@pytest.mark.parametrize("of", ["aic14", "crowdpose14", "lsp14", "mpii16"])
def test_bodies_have_the_limbs_of_coco(of):
    assert names(between(of, "coco17")) == {
        f"{side}_{joint}": f"{side}_{joint}" for side in ("left", "right")
        for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    }  # fmt: skip


def test_labels_move_with_their_points_and_the_rest_is_unlabeled():
    mapping = between("lsp14", "coco17")
    keypoints = np.arange(28, dtype=np.float32).reshape(1, 14, 2)
    visible, weights = np.full((1, 14), 2, np.uint8), np.full((1, 14), 0.5, np.float32)
    moved, seen, weighed = mapping(keypoints, visible, weights)
    ankle, source = mapping.to.keypoints.index("left_ankle"), mapping.of.keypoints.index("left_ankle")
    np.testing.assert_array_equal(moved[0, ankle], keypoints[0, source])
    assert (seen[0] > 0).tolist() == [name in mapping.of.keypoints for name in mapping.to.keypoints]
    assert not moved[0, 0].any()
    np.testing.assert_array_equal(weighed, (seen > 0) * np.float32(0.5))
    assert (moved.dtype, seen.dtype, weighed.dtype) == (np.float32, np.uint8, np.float32)


def test_a_skeleton_is_itself():
    assert between("coco17", "coco17").is_identity
    assert not between("coco_wholebody", "coco17").is_identity  # a part of one is not all of it


def test_a_table_says_what_names_do_not(tmp_path):
    path = tmp_path / "points.toml"
    same = 'left_hand = ["left_wrist"]\nright_hand = ["right_wrist"]'
    path.write_text(f'[same]\n{same}\n[lsp14]\nhead = "neck"\nleft_knee = ""\n')
    run = tmp_path / "run.toml"
    run.write_text(
        'name = "run"\nkeypoints = ["head", "left_hand", "right_hand", "left_knee", "right_knee"]\n'
        "swap = [[1, 2], [3, 4]]\n"
    )
    hands, knee = {"left_hand": "left_wrist", "right_hand": "right_wrist"}, {"right_knee": "right_knee"}
    assert names(between("lsp14", str(run), path)) == {"head": "neck"} | hands | knee
    assert names(between("coco17", str(run), path)) == hands | knee | {"left_knee": "left_knee"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[lsp14", "not valid TOML"),
        ('same = "x"', r"expected sections \[same\]"),
        ('[same]\nneck = "x"', r"expected sections \[same\]"),
        ("[lsp14]\nneck = 3", r"expected sections .* got lsp14"),
        ('[lsp14]\nbeard = "neck"', "coco17 has no point 'beard'"),
        ('[lsp14]\nnose = "beard"', "lsp14 has no point 'beard'"),
        ('[lsp14]\nleft_hip = "right_hip"', "mirror image right_hip is right_hip"),
        ('[lsp14]\nnose = "left_hip"', "nose is left_hip of lsp14"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(tmp_path, text, complaint):
    path = tmp_path / "points.toml"
    path.write_text(text)
    with pytest.raises(EdgeposeError, match=complaint):
        between("lsp14", "coco17", path)


def test_what_has_nothing_in_common_is_refused(tmp_path):
    with pytest.raises(EdgeposeError, match="no point of hand21 has the name of one of coco17: say in a table"):
        between("hand21", "coco17")
    with pytest.raises(EdgeposeError, match="cannot read the table"):
        between("lsp14", "coco17", tmp_path / "nowhere.toml")
