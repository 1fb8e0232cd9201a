import json
from pathlib import Path

import cv2
import numpy as np
import pack
import pytest

from edgepose import EdgeposeError, Skeleton
from edgepose_training.data import aic, readers, registry
from edgepose_training.data.coco import TRUTH, UNLABELED, ReadReport
from edgepose_training.data.shards import read_shard
from edgepose_training.data.ubody import read_ubody
from edgepose_training.metrics.pck import mpii_head_length

HALPE = Skeleton.load("halpe136")


def picture(path: Path, width: int = 64, height: int = 48) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
    return path


def coco_file(folder: Path, annotations: list, **image) -> Path:
    picture(folder / "a.jpg")
    path = folder / "labels.json"
    images = [{"id": 5, "file_name": "a.jpg", "width": 64, "height": 48} | image]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def triples(count: int, v: int = 2) -> list:
    return [value for i in range(count) for value in (i / 4, 10, v)]


# --- CrowdPose ----------------------------------------------------------------------------------------------


def test_crowdpose_has_fourteen_points_and_the_boxes_area(tmp_path):
    entry = {"id": 1, "image_id": 5, "bbox": [2, 3, 20, 30], "keypoints": triples(14, v=1), "num_keypoints": 14}
    path = coco_file(tmp_path, [entry], crowdIndex=0.35)
    (person,) = readers.read_crowdpose(path, tmp_path)
    assert person.keypoints.shape == (14, 2)
    assert (person.visible == TRUTH).all()
    assert person.area == pytest.approx(0.53 * 600)
    assert readers.read_crowding(path) == {5: 0.35}


def test_crowding_that_is_missing_is_refused(tmp_path):
    with pytest.raises(EdgeposeError, match="crowdIndex"):
        readers.read_crowding(coco_file(tmp_path, []))


# --- Halpe --------------------------------------------------------------------------------------------------


def halpe_file(folder: Path, keypoints: list) -> Path:
    return coco_file(folder, [{"id": 1, "image_id": 5, "bbox": [2, 3, 20, 30], "keypoints": keypoints}])


@pytest.mark.parametrize("name", ["halpe136", "halpe26", "coco_wholebody", "coco17"])
def test_halpe_points_keep_their_names_in_other_skeletons(tmp_path, name):
    skeleton = Skeleton.load(name)
    where = halpe_file(tmp_path, triples(136)), tmp_path
    (person,) = registry.read_people("halpe", *where, skeleton, split="train")
    sources = (person.keypoints[:, 0] * 4).astype(int)
    assert len(person.keypoints) == skeleton.num_keypoints
    for index in range(23 if name == "coco_wholebody" else min(skeleton.num_keypoints, 26)):
        assert HALPE.keypoints[sources[index]] == skeleton.keypoints[index]
    if name == "coco_wholebody":  # the names of face and hands differ, their order does not
        np.testing.assert_array_equal(sources[23:], np.arange(26, 136))


def test_halpe_points_without_label_are_zero(tmp_path):
    keypoints = triples(136)
    keypoints[2] = 0
    (person,) = readers.read_halpe(halpe_file(tmp_path, keypoints), tmp_path)
    assert person.visible[0] == UNLABELED
    assert not person.keypoints[0].any()


def test_halpe_refuses_what_it_cannot_make(tmp_path):
    tail = Skeleton.from_dict({"name": "tail", "keypoints": ["root_of_tail"]})
    path = halpe_file(tmp_path, triples(136))
    with pytest.raises(EdgeposeError, match="no point of halpe136 has the name of one of tail"):
        registry.read_people("halpe", path, tmp_path, tail, split="train")
    with pytest.raises(EdgeposeError, match="keypoints has 78 numbers instead of 408"):
        readers.read_halpe(halpe_file(tmp_path, triples(26)), tmp_path)


# --- AI Challenger ------------------------------------------------------------------------------------------


def aic_file(folder: Path, entries: list) -> Path:
    picture(folder / "0a1b.jpg")
    path = folder / "keypoint_train_annotations_20170909.json"
    path.write_text(json.dumps(entries))
    return path


def aic_entry(**changes) -> dict:
    """Two people; a third value of 1 is visible, of 2 hidden, of 3 not labeled."""
    points = [value for i in range(14) for value in (i + 3, 10, 1 + i % 3)]
    return {
        "image_id": "0a1b", "url": "", "human_annotations": {"human2": [2, 3, 22, 33], "human1": [0, 0, 64, 48]},
        "keypoint_annotations": {"human1": points, "human2": points},
    } | changes  # fmt: skip


def test_aic_counts_hidden_points_as_labeled_and_has_corners_of_boxes(tmp_path):
    first, second = aic.read_aic(aic_file(tmp_path, [aic_entry()]), tmp_path)
    assert first.visible.tolist() == [TRUTH, TRUTH, UNLABELED] * 4 + [TRUTH, TRUTH]
    np.testing.assert_array_equal(first.keypoints[1], [4, 10])
    np.testing.assert_array_equal(second.bbox, [2, 3, 22, 33])
    assert second.area == pytest.approx(0.53 * 20 * 30)
    assert (first.image_id, second.image_id, first.source) == (0, 0, "aic")


def test_unusable_people_of_aic_are_counted(tmp_path):
    broken = [
        aic_entry(keypoint_annotations={"human1": [1, 2, 1]}), aic_entry(keypoint_annotations={"human9": [0] * 42}),
        aic_entry(image_id="gone", keypoint_annotations={"human1": [5, 5, 1] * 14}),
        aic_entry(keypoint_annotations={"human1": [0, 0, 3] * 14}), {"image_id": 1}, 7,
    ]  # fmt: skip
    report = ReadReport()
    assert len(aic.read_aic(aic_file(tmp_path, [aic_entry(), *broken]), tmp_path, report=report)) == 2
    assert dict(report.skipped) == {
        "keypoint_annotations has 3 numbers instead of 42": 1,
        "human_annotations has 0 numbers instead of 4": 1, "image file missing": 1,
        "no labeled point": 1, "entry without image_id or keypoint_annotations": 2,
    }  # fmt: skip


def test_aic_converted_to_cocos_layout(tmp_path):
    path = coco_file(tmp_path, [{"id": 1, "image_id": 5, "bbox": [0, 3, 20, 30], "keypoints": triples(14, v=1)}])
    (person,) = aic.read_aic(path, tmp_path)
    assert person.visible.tolist() == [TRUTH] * 14
    path.write_text("5")
    with pytest.raises(EdgeposeError, match="expected AI Challenger's list of images, or COCO's layout"):
        aic.read_aic(path, tmp_path)


# --- UBody --------------------------------------------------------------------------------------------------


def ubody(folder: Path) -> Path:
    """Two scenes with two videos each, of which one is in the test list; a third scene without frames."""
    lengths = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
    person = {field: triples(count) for field, count in lengths.items()}
    person |= {"bbox": [0, 3, 40, 30], "face_valid": False, "lefthand_valid": True}
    for scene in ("Speech", "TVShow", "Movie"):
        images, entries = [], []
        for number, video in enumerate((f"{scene}_a_Trim2", f"{scene}_b")):
            if scene != "Movie":
                picture(folder / "images" / scene / video / "000001.png")
            file = {"file_name": f"/{video}/000001.png", "width": 64, "height": 48}
            images.append({"id": number} | file)
            entries.append({"id": number, "image_id": number, "person_id": 0} | person)
        labels = folder / "annotations" / scene / "keypoint_annotation.json"
        labels.parent.mkdir(parents=True)
        labels.write_text(json.dumps({"images": images, "annotations": entries}))
    (folder / "splits").mkdir()
    np.save(folder / "splits" / "intra_scene_test_list.npy", np.array(["Speech_a", "TVShow_b"]))
    return folder


def test_ubody_is_split_by_its_list_of_videos(tmp_path):
    where = ubody(tmp_path) / "annotations", tmp_path / "images"
    report = ReadReport()
    train = read_ubody(*where, report=report)
    assert [person.image.parent.name for person in train] == ["Speech_b", "TVShow_a_Trim2"]
    assert [person.image.parent.name for person in read_ubody(*where, split="val")] == ["Speech_a_Trim2", "TVShow_b"]
    assert len({person.image_id for person in train}) == len({person.annotation_id for person in train}) == 2
    assert report.examples["scene without a folder of images"] == ["Movie"]
    assert {person.source for person in train} == {"ubody"}


def test_parts_that_nobody_could_label_are_unlabeled(tmp_path):
    person, *_ = read_ubody(ubody(tmp_path) / "annotations", tmp_path / "images")
    assert not person.visible[23:91].any()
    assert person.visible[:23].all()
    assert person.visible[91:].all()


def test_a_single_scene_of_ubody(tmp_path):
    labels = ubody(tmp_path) / "annotations" / "TVShow" / "keypoint_annotation.json"
    (person,) = read_ubody(labels, tmp_path / "images")
    assert person.image.parent.name == "TVShow_a_Trim2"
    (tmp_path / "splits" / "intra_scene_test_list.npy").unlink()
    assert len(read_ubody(labels, tmp_path / "images" / "TVShow")) == 2


def test_ubody_refuses_other_folders(tmp_path):
    with pytest.raises(EdgeposeError, match="expected a folder a scene with keypoint_annotation"):
        read_ubody(tmp_path, tmp_path)
    folder = ubody(tmp_path)
    (folder / "splits" / "intra_scene_test_list.npy").write_text("no list")
    with pytest.raises(EdgeposeError, match="expected numpy's file of video names"):
        read_ubody(folder / "annotations", folder / "images")


# --- MPII ---------------------------------------------------------------------------------------------------


def mpii_entry(**changes) -> dict:
    joints = [[11.0 + i, 21.0] for i in range(16)]
    known = [1] * 15 + [0]
    return {"image": "m.jpg", "center": [31, 21], "scale": 0.2, "joints": joints, "joints_vis": known} | changes


def mpii_file(folder: Path, entries: list) -> Path:
    picture(folder / "m.jpg")
    path = folder / "valid.json"
    path.write_text(json.dumps(entries))
    return path


def test_mpii_counts_from_one_and_moves_its_center_down(tmp_path):
    (person,) = readers.read_mpii(mpii_file(tmp_path, [mpii_entry()]), tmp_path)
    np.testing.assert_array_equal(person.keypoints[0], [10, 20])
    np.testing.assert_array_equal(person.visible, [TRUTH] * 15 + [UNLABELED])
    np.testing.assert_allclose(person.bbox, [30 - 20, 20 + 3 - 20, 30 + 20, 20 + 3 + 20], atol=1e-5)
    assert person.image_size == (64, 48)
    assert person.split == "valid"


def test_mpii_head_boxes_come_from_the_mat_in_the_lists_order(tmp_path):
    io = pytest.importorskip("scipy.io", reason="MATLAB files need scipy")
    boxes = np.zeros((2, 2, 2))
    boxes[:, :, 1] = [[11, 11], [41, 51]]
    io.savemat(tmp_path / "heads.mat", {"headboxes_src": boxes})
    path = mpii_file(tmp_path, [mpii_entry(scale=-1), mpii_entry()])
    report = ReadReport()
    (person,) = readers.read_mpii(path, tmp_path, head_boxes=tmp_path / "heads.mat", report=report)
    np.testing.assert_array_equal(person.part_boxes["head"], [10, 10, 40, 50])
    assert mpii_head_length(person.part_boxes["head"][None])[0] == pytest.approx(30)
    assert report.examples["zero area"] == ["entry 0"]
    with pytest.raises(EdgeposeError, match=r"headboxes_src expected \[2, 2, 1\]"):
        readers.read_mpii(mpii_file(tmp_path, [mpii_entry()]), tmp_path, head_boxes=tmp_path / "heads.mat")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (mpii_entry(image="gone.jpg"), "image file missing"),
        (mpii_entry(image="text.jpg"), "image file is no JPEG or PNG"),
        (mpii_entry(center=[900, 20]), "box outside the image"),
        (mpii_entry(joints=[[1, 2]]), "joints has 2 numbers instead of 32"),
        (mpii_entry(joints_vis=[0] * 16), "no labeled point"),
        ({"image": "m.jpg"}, "entry without image, center, scale, joints or joints_vis"),
        (5, "entry without image, center, scale, joints or joints_vis"),
    ],
)
def test_unusable_mpii_entries_are_counted(tmp_path, entry, reason):
    (tmp_path / "text.jpg").write_text("no image")
    report = ReadReport()
    assert len(readers.read_mpii(mpii_file(tmp_path, [mpii_entry(), entry]), tmp_path, report=report)) == 1
    assert dict(report.skipped) == {reason: 1}


def test_mpii_people_without_joints_can_be_kept(tmp_path):
    """FPD learns from them what its teacher sees. MPII's test list has no joints at all."""
    bare = {key: mpii_entry()[key] for key in ("image", "center", "scale")}
    path = mpii_file(tmp_path, [mpii_entry(), mpii_entry(joints_vis=[0] * 16), bare])
    assert len(readers.read_mpii(path, tmp_path)) == 1
    kept = readers.read_mpii(path, tmp_path, keep_unlabeled=True)
    assert [int(person.visible.any()) for person in kept] == [1, 0, 0]
    np.testing.assert_array_equal(kept[2].bbox, kept[0].bbox)


def test_people_of_one_picture_share_its_number(tmp_path):
    picture(tmp_path / "n.jpg")
    path = mpii_file(tmp_path, [mpii_entry(), mpii_entry(image="n.jpg"), mpii_entry()])
    assert [person.image_id for person in readers.read_mpii(path, tmp_path)] == [0, 1, 0]


def test_mpii_refuses_what_is_no_list(tmp_path):
    path = tmp_path / "valid.json"
    path.write_text("{}")
    with pytest.raises(EdgeposeError, match="expected a list of people"):
        readers.read_mpii(path, tmp_path)


# --- LSP and LSPET ------------------------------------------------------------------------------------------


def leeds_file(folder: Path, joints: np.ndarray) -> Path:
    io = pytest.importorskip("scipy.io", reason="MATLAB files need scipy")
    io.savemat(folder / "joints.mat", {"joints": joints})
    return folder / "joints.mat"


def test_lsp_counts_hidden_joints_as_labeled_and_splits_in_the_middle(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "LSP_TRAINING", 1)
    joints = np.zeros((3, 14, 2))
    joints[0], joints[1] = np.arange(14)[:, None] + [11, 21], 20 + np.arange(14)[:, None] % 5
    joints[2, 3] = 1  # hidden
    for number in (1, 2):
        picture(tmp_path / f"im{number:04d}.jpg")
    (train,) = readers.read_lsp(leeds_file(tmp_path, joints), tmp_path)
    np.testing.assert_array_equal(train.keypoints[0], [10, 19])
    assert (train.visible == TRUTH).all()
    np.testing.assert_allclose(
        train.bbox, [16.5 - 6.5 * 1.15, 21 - 2 * 1.15, 16.5 + 6.5 * 1.15, 21 + 2 * 1.15], atol=1e-4
    )
    (test,) = readers.read_lsp(tmp_path / "joints.mat", tmp_path, split="test")
    assert (test.image.name, test.split) == ("im0002.jpg", "test")
    with pytest.raises(EdgeposeError, match="no 'val'"):
        readers.read_lsp(tmp_path / "joints.mat", tmp_path, split="val")


def test_lspet_third_value_says_labeled(tmp_path):
    joints = np.zeros((14, 3, 3))
    joints[:4, :, 0] = [[11, 12, 1], [31, 42, 1], [99, 99, 0], [21, 22, 1]]
    joints[0, :, 1] = [5, 5, 1]
    joints[:4, :, 2] = [[11, 12, 1], [31, np.nan, 1], [99, 99, 0], [21, 22, 1]]
    for number in (1, 2, 3):
        picture(tmp_path / f"im{number:05d}.jpg")
    report = ReadReport()
    (person,) = readers.read_lspet(leeds_file(tmp_path, joints), tmp_path, report=report)
    np.testing.assert_array_equal(np.flatnonzero(person.visible), [0, 1, 3])
    assert dict(report.skipped) == {"fewer than two labeled joints": 1, "joints are not finite": 1}


@pytest.mark.parametrize("joints", [np.zeros((3, 15, 2)), np.zeros((14, 3))])
def test_a_table_of_another_shape_is_refused(tmp_path, joints):
    with pytest.raises(EdgeposeError, match="joints expected 14 joints"):
        readers.read_lspet(leeds_file(tmp_path, joints), tmp_path)


def test_a_broken_mat_is_refused(tmp_path):
    pytest.importorskip("scipy.io", reason="MATLAB files need scipy")
    (tmp_path / "joints.mat").write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(EdgeposeError, match="not a readable MATLAB file"):
        readers.read_lspet(tmp_path / "joints.mat", tmp_path)


# --- any of them by name ------------------------------------------------------------------------------------


def test_every_data_set_is_packed_by_its_name(tmp_path, monkeypatch):
    """The reader that the name asks for, and its points, all the way into a shard."""
    monkeypatch.setattr(readers, "LSP_TRAINING", 1)
    for name, number in (("im0001.jpg", 1), ("im0002.jpg", 2), ("im00001.jpg", 1)):
        picture(tmp_path / name, 64, 48 + number)
    lsp = np.zeros((3, 14, 2))
    lsp[0], lsp[1] = np.arange(14)[:, None] + [11, 21], 20 + np.arange(14)[:, None] % 5
    (tmp_path / "lsp").mkdir()
    (tmp_path / "lspet").mkdir()
    entry = {"id": 1, "image_id": 5, "bbox": [2, 3, 20, 30]}
    crowd = coco_file(tmp_path, [entry | {"keypoints": triples(14)}], crowdIndex=0.5).rename(tmp_path / "crowd.json")
    files = {
        "coco": (coco_file(tmp_path / "coco", [entry | {"keypoints": triples(17)}]), tmp_path / "coco", 133),
        "ap10k": (coco_file(tmp_path / "ap10k", [entry | {"keypoints": triples(17)}]), tmp_path / "ap10k", 17),
        "aic": (aic_file(tmp_path, [aic_entry(keypoint_annotations={"human1": triples(14, v=1)})]), tmp_path, 14),
        "ubody": (ubody(tmp_path / "ubody") / "annotations", tmp_path / "ubody" / "images", 133),
        "crowdpose": (crowd, tmp_path, 14),
        "halpe": (halpe_file(tmp_path / "halpe", triples(136)), tmp_path / "halpe", 136),
        "mpii": (mpii_file(tmp_path, [mpii_entry()]), tmp_path, 16),
        "lsp": (leeds_file(tmp_path / "lsp", lsp), tmp_path, 14),
        "lspet": (leeds_file(tmp_path / "lspet", np.ones((14, 3, 1)) * np.arange(1, 15)[:, None, None]), tmp_path, 14),
    }
    assert set(files) == set(registry.DATASETS)
    for name, (labels, images, points) in files.items():
        out = tmp_path / "shards" / name
        words = ["--dataset", name, "--annotations", labels, "--images", images, "-o", out, "--workers", 1]
        assert pack.main([str(word) for word in words]) == 0
        crop, *_ = read_shard(out / "crops-00000.tar")
        assert len(crop.keypoints) == points, name


def test_points_that_a_data_set_does_not_have_are_refused(tmp_path, capsys):
    words = ["--dataset", "mpii", "--annotations", "x", "--images", "y", "--skeleton", "hand21", "-o", tmp_path / "z"]
    assert pack.main([str(word) for word in words]) == 2
    assert "no point of mpii16 has the name of one of hand21" in capsys.readouterr().err
    assert pack.main(["--dataset", "mpii", "-o", str(tmp_path / "z")]) == 2
    assert "give the folder of the data set as --data" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--licence", "permissive"], ["--license", "permissive"]])
def test_flags_of_either_spelling(tmp_path, words):
    """British ones are not shown any more, and stand in scripts."""
    entry = {"id": 1, "image_id": 5, "bbox": [2, 3, 20, 30], "keypoints": [0] * 42, "num_keypoints": 0}
    labels = coco_file(tmp_path, [entry], licence="permissive")
    where = ["--dataset", "crowdpose", "--annotations", str(labels), "--images", str(tmp_path), "-o", str(tmp_path)]
    for keep in ("--keep-unlabeled", "--keep-unlabelled"):
        assert pack.main([*where, keep, *words, "--workers", "1", "--overwrite"]) == 0
