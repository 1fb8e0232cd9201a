"""pack.py: nothing that is there is lost in silence, and nothing comes out empty without a reason."""

import json
from pathlib import Path

import numpy as np
import pack
import pytest
from PIL import Image

from edgepose_training.data.packing import COMPACT_SIDE
from edgepose_training.data.shard_folder import Packed
from edgepose_training.data.shards import find_shards, read_shard

LICENSES = ("research", "research", "permissive", "")


def data(folder: Path, points: int = 17, name: str = "own", people: int = 4) -> Path:
    """One person a picture, with a line of labeled points."""
    images, entries = [], []
    folder.mkdir(exist_ok=True)
    for number in range(people):
        Image.fromarray(np.full((80, 60, 3), 40 * number, np.uint8)).save(folder / f"{number}.png")
        image = {"id": number, "file_name": f"{number}.png", "width": 60, "height": 80, "source": name}
        images.append(image | {"licence": LICENSES[number % 4]})
        line = [value for i in range(points) for value in (10 + 2 * i, 12 + 3 * i, 2)]
        entries.append({"id": number, "image_id": number, "bbox": [8, 8, 44, 64], "keypoints": line})
    (folder / "labels.json").write_text(json.dumps({"images": images, "annotations": entries}))
    return folder


def run(source: Path, out: Path, *words: object) -> int:
    where = ["--annotations", source / "labels.json", "--images", source, "-o", out, "--workers", 1]
    return pack.main([str(word) for word in (*where, *words)])


def count(out: Path) -> int:
    return sum(1 for path in find_shards(out) for _ in read_shard(path))


@pytest.fixture
def coco(tmp_path):
    return data(tmp_path / "coco")


def test_a_folder_with_shards_is_refused_and_left_alone(coco, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(coco, out, "--skeleton", "coco17") == 0
    before = [path.read_bytes() for path in find_shards(out)]
    assert run(coco, out, "--skeleton", "coco17") == 2
    assert "holds 1 shards already: add to them with --append, replace them" in capsys.readouterr().err
    assert [path.read_bytes() for path in find_shards(out)] == before


def test_appended_sets_stand_behind_each_other_in_one_skeleton(coco, tmp_path, capsys):
    out = tmp_path / "out"
    crowd = data(tmp_path / "crowd", 14, "crowd", people=3)
    assert run(coco, out, "--skeleton", "coco17") == 0
    assert run(crowd, out, "--dataset", "crowdpose", "--skeleton", "coco17", "--append") == 0
    assert "3 people in 1 shards" in capsys.readouterr().out
    assert [path.name for path in find_shards(out)] == ["crops-00000.tar", "crops-00001.tar"]
    assert count(out) == 7
    crops = list(read_shard(find_shards(out)[1]))
    assert {(crop.source, len(crop.keypoints), int((crop.visible > 0).sum())) for crop in crops} == {("crowd", 17, 12)}
    record = Packed.of(out)
    assert record.skeleton.name == "coco17"
    assert [(entry.dataset, entry.people, entry.sources) for entry in record.sets] == [
        ("coco", 4, {"own": 4}), ("crowdpose", 3, {"crowd": 3}),
    ]  # fmt: skip
    assert sorted(path.name for path in out.iterdir()) == ["crops-00000.tar", "crops-00001.tar", "packed.json"]


def test_other_points_are_not_appended(coco, tmp_path, capsys):
    out = tmp_path / "out"
    crowd = data(tmp_path / "crowd", 14, "crowd")
    assert run(coco, out, "--skeleton", "coco17") == 0
    assert run(crowd, out, "--dataset", "crowdpose", "--append") == 2
    assert "holds people of coco17, not of crowdpose14: give --skeleton coco17" in capsys.readouterr().err
    (out / "packed.json").unlink()  # as those packed before
    assert run(crowd, out, "--dataset", "crowdpose", "--append") == 2
    assert "holds people of 17 points, not of crowdpose14" in capsys.readouterr().err
    assert count(out) == 4


def test_overwriting_leaves_nothing_of_before(coco, tmp_path):
    out = tmp_path / "out"
    assert run(coco, out, "--skeleton", "coco17") == 0
    assert run(coco, out, "--skeleton", "coco17", "--append") == 0
    (out / "decoded").mkdir()
    assert run(coco, out, "--skeleton", "coco17", "--overwrite", "--license", "research") == 0
    assert sorted(path.name for path in out.iterdir()) == ["crops-00000.tar", "packed.json"]
    assert count(out) == 2
    assert [entry.people for entry in Packed.of(out).sets] == [2]


@pytest.mark.parametrize("words", [[], ["--append"], ["--overwrite"]])
def test_what_fails_on_the_way_changes_nothing(coco, tmp_path, words, monkeypatch):
    out = tmp_path / "out"
    if words:
        assert run(coco, out, "--skeleton", "coco17") == 0
    before = {path.name: path.read_bytes() for path in out.glob("*")}

    def interrupted(people, writer, **_):
        writer.write(next(iter(pack_crops(people))))
        raise KeyboardInterrupt

    monkeypatch.setattr(pack, "pack", interrupted)
    assert run(coco, out, "--skeleton", "coco17", *words) == 130
    assert {path.name: path.read_bytes() for path in out.glob("*")} == before
    monkeypatch.undo()
    assert run(coco, out, "--skeleton", "coco17", *words) == 0
    assert count(out) == (8 if words == ["--append"] else 4)
    assert not (out / "unfinished").exists()


def pack_crops(people):
    from edgepose_training.data.packing import crop_person

    return (crop_person(np.zeros((80, 60, 3), np.uint8), person) for person in people)


def test_a_license_that_nobody_has_names_those_that_are_there(coco, tmp_path, capsys):
    assert run(coco, tmp_path / "out", "--skeleton", "coco17", "--license", "nope") == 2
    assert capsys.readouterr().err == (
        "nobody has the license 'nope': there are research (2 people), permissive (1 people)\n"
    )
    assert not (tmp_path / "out").exists()


def test_licenses_of_coco_go_by_their_names(coco, tmp_path, capsys):
    path = coco / "labels.json"
    document = json.loads(path.read_text())
    for image in document["images"]:
        del image["licence"]
    path.write_text(json.dumps(document))
    assert run(coco, tmp_path / "out", "--skeleton", "coco17", "--license", "nope") == 2
    assert "no image of this file states one" in capsys.readouterr().err
    for image in document["images"]:
        image["license"] = image["id"] % 2 + 1
    document["licenses"] = [{"id": 1, "name": "Attribution License"}, {"id": 2, "name": "No known restrictions"}]
    path.write_text(json.dumps(document))
    assert run(coco, tmp_path / "out", "--skeleton", "coco17", "--license", "Attribution License") == 0
    assert count(tmp_path / "out") == 2


def test_pictures_that_cannot_be_read_leave_no_empty_folder(coco, tmp_path, capsys):
    """Their headers are whole: OpenCV finds the fault."""
    for picture in coco.glob("*.png"):
        picture.write_bytes(picture.read_bytes()[:60])
    assert run(coco, tmp_path / "out", "--skeleton", "coco17") == 2
    assert "none of the 4 people could be cut out of their images" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.tar"))


def test_frames_may_be_thinned(coco, tmp_path, capsys):
    assert run(coco, tmp_path / "out", "--skeleton", "coco17", "--every", 3) == 0
    shades = {int(crop.image[0, 0, 0]) for crop in read_shard(tmp_path / "out" / "crops-00000.tar")}
    assert shades == {0, 120}
    with pytest.raises(SystemExit):
        run(coco, tmp_path / "other", "--every", 0)
    assert "--every expected 1 or more, got 0" in capsys.readouterr().err


def test_a_recipe_says_how_to_pack(coco, tmp_path):
    assert run(coco, tmp_path / "large", "--for", "rtmpose_l_body", "--max-side", 500) == 0
    assert run(coco, tmp_path / "wide", "--for", "rtmpose_x_wholebody_384") == 0
    assert run(coco, tmp_path / "usual", "--skeleton", "coco17", "--compact") == 0
    large, wide, usual = (Packed.of(tmp_path / name) for name in ("large", "wide", "usual"))
    assert (large.skeleton.name, large.sets[0].max_side) == ("coco17", 500)
    assert (wide.skeleton.name, wide.sets[0].max_side) == ("coco_wholebody", 432)
    assert wide.sets[0].context > usual.sets[0].context == 1.6
    assert usual.sets[0].max_side == COMPACT_SIDE
    mpii = data(tmp_path / "mpii", 16)
    assert run(mpii, tmp_path / "square", "--for", "rtmpose_m_mpii") == 0
    square = Packed.of(tmp_path / "square")
    assert (square.skeleton.name, square.sets[0].aspect) == ("mpii16", 1.0)


def test_several_categories_are_asked_for(coco, tmp_path, capsys):
    path = coco / "labels.json"
    document = json.loads(path.read_text())
    document["categories"] = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    for entry in document["annotations"]:
        entry["category_id"] = 1 + (entry["id"] == 3)
    path.write_text(json.dumps(document))
    assert run(coco, tmp_path / "out", "--skeleton", "coco17") == 2
    assert "labels of several categories, dog, cat: name the one to read as --category" in capsys.readouterr().err
    assert run(coco, tmp_path / "out", "--skeleton", "coco17", "--category", "cat") == 0
    assert count(tmp_path / "out") == 1
