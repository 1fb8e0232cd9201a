"""Which output a path or an address asks for, and what each one writes."""

from __future__ import annotations

import csv
import json
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from doubles import FakeEstimator

from edgepose import EdgeposeError, ModelCard, Poses, Skeleton
from edgepose_app.engine import Result
from edgepose_app.outputs import RunInfo, kinds, open_save, open_send
from edgepose_app.outputs.address import host_and_port
from edgepose_app.overlay import OverlayOptions, SkeletonStyle
from edgepose_app.sources import Frame

STYLE = SkeletonStyle.of(FakeEstimator.card, FakeEstimator.skeleton)
RUN = RunInfo(STYLE, OverlayOptions(threshold=0.5), 30.0, live=False)
IMAGE = np.zeros((48, 64, 3), np.uint8)


def people(count: int, low: tuple[int, ...] = ()) -> Poses:
    """Point k of person n at (k, 1000 n + k), score .9; the points `low` have the score .2."""
    k = np.arange(133, dtype=np.float32)
    points = np.stack([np.stack([k, 1000 * n + k], axis=1) for n in range(count)]) if count else np.zeros((0, 133, 2))
    scores = np.full((count, 133), 0.9)
    scores[:, low] = 0.2
    return Poses(points, scores, np.tile([1, 2, 3, 4], (count, 1)), np.arange(count) + 7, np.full(count, 0.5))


def saved(path: Path, *poses: Poses, file: str | None = None) -> str:
    output = open_save(str(path), RUN)
    try:
        for number, of_frame in enumerate(poses):
            output.write(Result(Frame(IMAGE, number, number / 4, file), of_frame, {}))
    except EdgeposeError:
        with suppress(EdgeposeError):  # the same again
            output.close()
        raise
    return output.close()


def test_the_ending_says_what_is_written(tmp_path: Path):
    known = {
        "a.csv": "CsvOutput",
        "A.CSV": "CsvOutput",
        "b.wide.csv": "CsvOutput",
        "a.jsonl": "JsonlOutput",
        "cam01_json": "OpenposeOutput",
        "cam02_json/": "OpenposeOutput",
        "a.coco.json": "CocoOutput",
        "a.mp4": "VideoOutput",
        "a.png": "ImagesOutput",
        "folder": "ImagesOutput",
    }
    for name, kind in known.items():
        output = open_save(f"{tmp_path}/{name}", RUN)
        assert type(output).__name__ == kind, name
        output.close()
    with pytest.raises(EdgeposeError, match=r"unknown ending \.doc; use .*\.wide\.csv"):
        open_save("a.doc", RUN)
    with pytest.raises(EdgeposeError, match=r"say which JSON: a\.jsonl .* a\.coco\.json .* a_json"):
        open_save("a.json", RUN)


def test_a_new_output_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import edgepose_app.outputs

    (tmp_path / "count.py").write_text(
        "class CountOutput:\n"
        "    ENDINGS = ('.count',)\n"
        "    SCHEMES = ('count',)\n"
        "    @classmethod\n"
        "    def open(cls, target, run):\n"
        "        return target\n"
    )
    monkeypatch.setattr(edgepose_app.outputs, "__path__", [*edgepose_app.outputs.__path__, str(tmp_path)])
    kinds.save_kinds.cache_clear()
    kinds.send_kinds.cache_clear()
    try:
        assert open_save("a.count", RUN) == "a.count"
        assert open_send("count://here", RUN) == "count://here"
    finally:
        kinds.save_kinds.cache_clear()
        kinds.send_kinds.cache_clear()


def test_csv_long(tmp_path: Path):
    assert saved(tmp_path / "a.csv", people(2), people(0), people(1), file="x.png").endswith("a.csv: 399 rows")
    with (tmp_path / "a.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["frame"] for row in rows] == ["0"] * 266 + ["2"] * 133
    assert rows[133 + 5] == {
        "frame": "0", "time": "0.0", "file": "x.png", "id": "8", "person_score": "0.5", "keypoint": "left_shoulder",
        "x": "5.0", "y": "1005.0", "score": "0.9", "angle": "0.0",
    }  # fmt: skip


def test_csv_wide(tmp_path: Path):
    assert saved(tmp_path / "a.wide.csv", people(2, low=(7,)), people(1)).endswith("3 rows")
    with (tmp_path / "a.wide.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert (rows[1]["id"], rows[1]["left_elbow_x"], rows[1]["left_elbow_y"], rows[1]["y2"]) == (
        "8",
        "7.0",
        "1007.0",
        "4.0",
    )
    assert rows[1]["left_elbow_angle"] == ""  # its point is below the threshold
    assert rows[2]["left_elbow_angle"] == "180.0"
    assert rows[2]["right_ankle_angle"] != ""


def test_openpose(tmp_path: Path):
    folder = tmp_path / "cam01_json"
    assert saved(folder, people(1, low=(9, 11)), people(0)).endswith("2 OpenPose files")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["cam01_000000000000_keypoints.json", "cam01_000000000001_keypoints.json"]
    # As Pose2Sim sorts them: by the last number in the name.
    assert [int(re.findall(r"\d+", name)[-1]) for name in names] == [0, 1]
    first, empty = (json.loads((folder / name).read_text()) for name in names)
    assert empty == {"version": 1.3, "people": []}
    body = np.array(first["people"][0]["pose_keypoints_2d"]).reshape(25, 3)
    assert body[7].tolist() == [0, 0, 0]  # the left wrist
    assert body[8].tolist() == [0, 0, 0]  # the middle of the hips wants both of them
    assert body[9].tolist() == pytest.approx([12, 12, 0.9])
    assert body[1].tolist() == pytest.approx([5.5, 5.5, 0.9])


def test_openpose_of_another_skeleton(tmp_path: Path):
    body = Skeleton.load("coco17")
    style = SkeletonStyle.of(ModelCard(name="x", skeleton=body), body)
    with pytest.raises(EdgeposeError, match="the model has coco17; use"):
        open_save(str(tmp_path / "a_json"), RunInfo(style, OverlayOptions(), 30.0, live=False))


def test_coco_wholebody(tmp_path: Path):
    path = tmp_path / "a.coco.json"
    assert saved(path, people(2), people(0), people(1)).endswith("3 people")
    entries = json.loads(path.read_text())
    assert [entry["image_id"] for entry in entries] == [0, 0, 2]
    assert len(entries[0]["lefthand_kpts"]) == 63
    assert saved(path, people(1), file="val/000000000139.jpg").endswith("1 person")
    assert json.loads(path.read_text())[0]["image_id"] == 139
    assert saved(path).endswith("0 people")
    assert json.loads(path.read_text()) == []


def test_pycocotools_reads_the_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    coco = pytest.importorskip("pycocotools.coco")
    saved(tmp_path / "a.coco.json", people(2))
    truth = {"images": [{"id": 0, "width": 64, "height": 48}], "annotations": [], "categories": [{"id": 1}]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    results = coco.COCO(str(tmp_path / "truth.json")).loadRes(str(tmp_path / "a.coco.json"))
    assert len(results.loadAnns(results.getAnnIds(imgIds=[0]))) == 2
    capsys.readouterr()


@pytest.mark.parametrize("name", ["a.csv", "a.wide.csv", "a.jsonl", "a.coco.json", "a_json"])
def test_a_full_disk_is_one_sentence(tmp_path: Path, name: str):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    if name == "a_json":
        (tmp_path / name).mkdir()
        (tmp_path / name / "a_000000000000_keypoints.json").symlink_to("/dev/full")
    else:
        (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(EdgeposeError, match=r"cut short.*choose another place"):
        saved(tmp_path / name, people(1))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.coco.json"])
def test_the_other_name_of_a_replaced_file_keeps_its_content(tmp_path: Path, name: str):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / name).hardlink_to(tmp_path / "precious")
    saved(tmp_path / name, people(1))
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / name).read_text() != "precious"


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("udp", ("127.0.0.1", 9)),
        ("udp://", ("127.0.0.1", 9)),
        ("udp://:7000", ("127.0.0.1", 7000)),
        ("udp://192.168.1.20", ("192.168.1.20", 9)),
        ("udp://[::1]:7000", ("::1", 7000)),
    ],
)
def test_an_address_is_on_this_machine_unless_it_says_otherwise(address: str, where: tuple[str, int]):
    assert host_and_port(address, 9) == where


@pytest.mark.parametrize(
    "address", ["udp://:99999", "udp://a:b", "udp://host/path", "udp://user:word@host", "udp://[::1"]
)
def test_addresses_that_are_none(address: str):
    with pytest.raises(EdgeposeError, match="expected"):
        host_and_port(address, 9)


def test_an_unknown_scheme():
    with pytest.raises(EdgeposeError, match=r"unknown kind of address; use osc://, udp://, ws://"):
        open_send("tcp://127.0.0.1:9", RUN)
