"""docs/finetune.md as it is printed, on stand-in pictures: from a labeling tool's JSON to the app."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from test_commands import ROOT, WHOLEBODY, a_person, blocks, run, through_the_app  # noqa: E402

from edgepose import Skeleton  # noqa: E402
from edgepose_training.config import Config  # noqa: E402
from edgepose_training.data.coco import read_coco_wholebody  # noqa: E402
from edgepose_training.data.synthetic import synthetic_person  # noqa: E402
from edgepose_training.engine import checkpoints  # noqa: E402

PAGE = "docs/finetune.md"


def skeleton_file(folder: Path) -> Path:
    """The skeleton that the page prints."""
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / PAGE).read_text(encoding="utf-8"), re.DOTALL)
    path = folder / "mine.toml"
    path.write_text(text)
    return path


# What the tools write beside what everybody does: entries of an image, of an annotation, and the categories.
POINTS = ["nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle"]
TOOLS = {
    "cvat": (
        {"license": 0, "flickr_url": "", "coco_url": "", "date_captured": 0},
        {"category_id": 1, "segmentation": [], "area": 900.0, "iscrowd": 0, "num_keypoints": 5,
         "attributes": {"occluded": False}},
        [{"id": 1, "name": "person", "supercategory": "", "keypoints": POINTS, "skeleton": [[1, 2]]}],
    ),
    "label studio": (
        {},
        {"category_id": 0, "segmentation": [], "ignore": 0, "iscrowd": 0, "area": 900.0, "num_keypoints": 5},
        [{"id": 0, "name": "person", "keypoints": POINTS, "skeleton": []}],
    ),
    "roboflow": (
        {"license": 1, "date_captured": "2026-11-27T10:00:00+00:00", "extra": {"name": "a.jpg"}},
        {"category_id": 1, "area": 900.0, "segmentation": [], "iscrowd": 0},
        [{"id": 0, "name": "people", "supercategory": "none"},
         {"id": 1, "name": "person", "supercategory": "people", "keypoints": POINTS, "skeleton": [[1, 2]]}],
    ),
}  # fmt: skip


def labeled_pictures(data: Path, tool: str, count: int) -> list[str]:
    """A folder as the page asks for, with the JSON of one tool; the names of the pictures."""
    (data / "annotations").mkdir(parents=True)
    (data / "images").mkdir()
    of_image, of_person, categories = TOOLS[tool]
    rows = [WHOLEBODY.keypoints.index(name) for name in POINTS]
    rng = np.random.default_rng(4)
    images, annotations = [], []
    for number in range(count):
        person = synthetic_person(rng)
        name = f"picture{number:02d}.jpg"
        cv2.imwrite(str(data / "images" / name), person.image)
        height, width = person.image.shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height} | of_image)
        left, top, right, bottom = person.bbox.tolist()
        points = np.column_stack([person.keypoints[rows], 2 * (person.visible[rows] > 0)]).astype(float)
        box = {"bbox": [left, top, right - left, bottom - top], "keypoints": points.ravel().tolist()}
        annotations.append({"id": number, "image_id": number} | box | of_person)
    document = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}
    (data / "annotations" / "train.json").write_text(json.dumps(document))
    return [image["file_name"] for image in images]


@pytest.mark.parametrize("tool", TOOLS)
def test_the_json_of_labeling_tools_is_read(tmp_path, tool):
    labeled_pictures(tmp_path, tool, 3)
    skeleton = Skeleton.load(skeleton_file(tmp_path))
    people = read_coco_wholebody(tmp_path / "annotations/train.json", tmp_path / "images", skeleton)
    assert len(people) == 3
    assert all(person.visible.sum() > 0 for person in people)


def test_the_recipe_fits_any_points(tmp_path):
    config = Config.load("edgepose_t_finetune", [f"skeleton={skeleton_file(tmp_path)}"])
    assert (config.size, config.part_weights, config.stage) == ("t", {}, 1)
    assert config.needs_init


@pytest.mark.slow
def test_six_commands_from_a_labeling_tool_to_the_app(tmp_path):
    (commands,) = blocks(PAGE, "split.py --data DATA")
    assert len(commands) == 6
    names = labeled_pictures(tmp_path / "data", "cvat", 14)
    (tmp_path / "held-out.txt").write_text("\n".join(names[-4:]))
    skeleton = str(skeleton_file(tmp_path))
    places = {"DATA": tmp_path / "data", "runs": tmp_path / "runs", "mine.onnx": tmp_path / "mine.onnx"}
    places["held-out.txt"] = tmp_path / "held-out.txt"
    short = ["--set", "epochs=1", "--set", "warmup=1", "--set", "workers=0", "--device", "cpu"]
    for command in commands[:-1]:
        run(command.replace("mine.toml", skeleton), places, short if "distill.py" in command else [])
    trained, config, points, _ = checkpoints.load_net(tmp_path / "runs/mine/run/best.pt")
    assert (config.size, points.keypoints) == ("t", tuple(POINTS))
    assert trained.state_dict()["head.final_layer.weight"].shape[0] == 5
    answer = through_the_app(commands[-1], places, tmp_path, a_person(), painted=False)
    assert answer["people"]
    assert all(np.shape(person["keypoints"]) == (5, 3) for person in answer["people"])


def test_a_run_that_lacks_what_its_recipe_wants_is_one_sentence(tmp_path, capsys):
    import distill

    for argv, wanted in ((["edgepose_t_cpu_distil", "--no-init"], "--no-teacher"), (["rtmpose_t_body"], "--no-init")):
        assert distill.main([*argv, "--shards", str(tmp_path), "-o", str(tmp_path / "run")]) == 2
        complaint = capsys.readouterr().err.strip().splitlines()[-1]
        assert complaint.endswith(wanted)
    assert not (tmp_path / "run").exists()
