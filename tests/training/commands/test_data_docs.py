"""Every command of docs/data.md, as it stands, on stand-ins of the official archives; only folders are changed."""

import importlib
import json
import re
import shlex
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
io = pytest.importorskip("scipy.io", reason="MATLAB files need scipy")

import distill  # noqa: E402
import pack  # noqa: E402

from edgepose import Skeleton  # noqa: E402
from edgepose_training.config import Config  # noqa: E402
from edgepose_training.data import readers  # noqa: E402
from edgepose_training.data.crop_cache import CropCache  # noqa: E402
from edgepose_training.data.point_mapping import PointMapping  # noqa: E402
from edgepose_training.data.shards import find_shards  # noqa: E402
from edgepose_training.data.training_data import TrainingData  # noqa: E402
from edgepose_training.engine import checkpoints  # noqa: E402
from edgepose_training.engine.heatmaps import CELLS  # noqa: E402

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines() if line]
PARTS = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
BOX = [8, 8, 44, 64]  # xywh, in pictures of 60 × 80


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((80, 60, 3), 90, np.uint8))


def line(count: int, third: int = 2) -> list:
    return [value for i in range(count) for value in (10 + 40 * i / count, 12 + 56 * i / count, third)]


def coco_like(path: Path, images: Path, points: dict, names: tuple = ("1.jpg", "2.jpg"), **image) -> None:
    for name in names:
        picture(images / name)
    entry = {field: line(count) for field, count in points.items()} | {"bbox": BOX, "iscrowd": 0, "num_keypoints": 14}
    listed = [{"id": i, "file_name": name, "width": 60, "height": 80} | image for i, name in enumerate(names)]
    people = [entry | {"id": i, "image_id": i, "category_id": 1} for i in range(len(names))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": listed, "annotations": people, "categories": [{"id": 1, "name": "person"}]}))


def archives(root: Path) -> None:
    """Each data set as it unpacks, with two people."""
    body = {"keypoints": 17}
    for split in ("train", "val"):
        coco_like(root / f"COCO/annotations/coco_wholebody_{split}_v1.0.json", root / f"COCO/{split}2017", PARTS)
    for name in ("trainval", "test"):
        coco_like(root / f"CrowdPose/json/crowdpose_{name}.json", root / "CrowdPose/images", {"keypoints": 14},
                  crowdIndex=0.5)  # fmt: skip
    hico = root / "Halpe/hico_20160224_det/images/train2015"
    coco_like(root / "Halpe/halpe_train_v1.json", hico, {"keypoints": 136})
    coco_like(root / "Halpe/halpe_val_v1.json", root / "COCO/val2017", {"keypoints": 136})
    coco_like(root / "AP10K/annotations/ap10k-train-split1.json", root / "AP10K/data", body)
    scene = root / "UBody/annotations/Speech/keypoint_annotation.json"
    coco_like(scene, root / "UBody/images/Speech", PARTS, ("a/000001.png", "a/000002.png"))
    coco_like(root / "OWN/labels.json", root / "OWN/images", {"keypoints": 5})
    aic = root / "AIC/ai_challenger_keypoint_train_20170902"
    picture(aic / "keypoint_train_images_20170902/0a.jpg")
    human = {"keypoint_annotations": {"human1": line(14, 1)}, "human_annotations": {"human1": [8, 8, 52, 72]}}
    (aic / "keypoint_train_annotations_20170909.json").write_text(json.dumps([{"image_id": "0a"} | human]))
    mpii_and_lsp(root)


def mpii_and_lsp(root: Path) -> None:
    table = np.array(line(16)).reshape(16, 3)
    picture(root / "MPII/images/1.jpg")
    entry = {
        "image": "1.jpg",
        "center": [31, 41],
        "scale": 0.4,
        "joints": table[:, :2].tolist(),
        "joints_vis": [1] * 16,
    }
    for name in ("train", "val"):
        (root / "MPII/annotations").mkdir(exist_ok=True)
        (root / f"MPII/annotations/mpii_{name}.json").write_text(json.dumps([entry]))
    heads = np.array([[[11.0], [11]], [[41], [51]]])
    io.savemat(root / "MPII/annotations/mpii_gt_val.mat", {"headboxes_src": heads})
    joints = np.repeat(table[:14, :, None], 2, 2)
    for folder, axes, name in (("LSP", (1, 0, 2), "im{:04d}.jpg"), ("LSPET", (0, 1, 2), "im{:05d}.jpg")):
        for number in (1, 2):
            picture(root / folder / "images" / name.format(number))
        io.savemat(root / folder / "joints.mat", {"joints": joints.transpose(axes)})


def untrained(path: Path, skeleton: Skeleton) -> Path:
    """A checkpoint of a tiny net: CrowdPose is measured on nets that have its points."""
    config = Config.from_dict({"skeleton": skeleton.name, "size": "n", "input_size": [64, 64], "sigma": [2.83, 2.83]})
    state = {"model": checkpoints.build_net(config, skeleton).state_dict(), "ema": None, "heatmap_cells": CELLS}
    checkpoints.save(path, state | {"config": config.to_dict(), "skeleton": skeleton.to_dict()})
    return path


def placed(words: list[str], root: Path, model: str = "edgepose-t") -> list[str]:
    """Words with the stand-ins' folders in the place of the page's."""
    there = r"(COCO|MPII|LSP|LSPET|CrowdPose|Halpe|AIC|UBody|AP10K|OWN|runs)(?=/|$)"
    return [model if word == "MODEL" else re.sub(f"^{there}", rf"{root}/\1", word) for word in words]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    archives(root)
    toml = re.search(r'```toml\n(name = "stick".*?)```', PAGE, re.DOTALL)
    (root / "OWN" / "stick.toml").write_text(toml[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "LSP_TRAINING", 1)
        for command in COMMANDS:
            if "pack.py" in command:
                words = placed(shlex.split(command)[2:], root)
                assert pack.main([*words, "--workers", "1"]) == 0, command
        yield root


def test_all_that_the_page_prints_is_run():
    scripts = {shlex.split(command)[1] for command in COMMANDS}
    assert scripts == {"training/pack.py", "training/distill.py", "training/evaluate.py"}
    assert sum("pack.py" in command for command in COMMANDS) == 16


@pytest.mark.parametrize("command", [command for command in COMMANDS if "distill.py" in command])
def test_the_mixes_open_in_the_points_of_their_recipe(command, unpacked):
    """With the shards that the page's other commands made. Training for real is below: these recipes are large."""
    recipe, *words = shlex.split(command)[2:]
    config = Config.load(recipe)
    folders = words[words.index("--shards") + 1 :]
    data = TrainingData(placed(folders, unpacked), config)
    mix = data.open("train", lambda folder: CropCache(find_shards(folder)))
    assert mix.num_keypoints == Skeleton.load(config.skeleton).num_keypoints
    assert (mix.weights > 0).any(1).all()
    assert len(data.report) == len(folders)
    assert len(mix) == sum(row["people"] for row in data.report)


@pytest.mark.parametrize("command", [command for command in COMMANDS if "evaluate.py" in command])
def test_the_protocols_measure(command, unpacked, tmp_path, capsys):
    evaluate = importlib.import_module("evaluate")
    crowd = "crowdpose" in command
    model = str(untrained(tmp_path / "net.pt", Skeleton.load("crowdpose14"))) if crowd else "edgepose-t"
    assert evaluate.main(placed(shlex.split(command)[2:], unpacked, model)) == 0
    assert model in capsys.readouterr().out


def test_a_mix_trains(unpacked, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'skeleton = "lsp14"\nsize = "n"\ninput_size = [64, 64]\nsigma = [2.83, 2.83]\nbatch = 2\nepochs = 1\n'
        'warmup = 1\nworkers = 0\namp = "off"\nlog_every = 1\nkernels = false\n'
    )
    shards = [str(unpacked / "runs" / "lsp"), f"{unpacked}/runs/lspet=2", f"{unpacked}/runs/coco"]
    words = [str(recipe), "--shards", *shards, "-o", str(tmp_path / "run"), "--device", "cpu"]
    assert distill.main(words) == 0
    rows = json.loads((tmp_path / "run" / "data.json").read_text())
    assert [(Path(row["folder"]).parts[-2:], row["people"], row["weight"]) for row in rows] == [
        (("lsp", "train"), 1, 1), (("lspet", "train"), 2, 2), (("coco", "train"), 2, 1), (("lsp", "val"), 1, 1),
        (("coco", "val"), 2, 1),
    ]  # fmt: skip
    assert (tmp_path / "run" / "best.pt").is_file()


def test_the_tables_of_the_page_are_tables(tmp_path):
    skeleton, points = (tmp_path / name for name in ("skeleton.toml", "points.toml"))
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    for path, block in zip((skeleton, points), blocks, strict=True):
        path.write_text(block)
    stick = Skeleton.load(skeleton)
    assert stick.keypoints[stick.swap[1]] == "right_hand"
    mapping = PointMapping.between(Skeleton.load("lsp14"), stick, points)
    named = {stick.keypoints[i]: mapping.of.keypoints[j] for i, j in enumerate(mapping.index) if j >= 0}
    assert named["nose"] == "head_top"
    assert named["left_hand"] == "left_wrist"


def test_the_extras_that_the_docs_install_are_there():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"pip install [^`\n]*\.\[(\w+)\]", page.read_text("utf-8"))}
    assert "train" in named
    assert named <= set(extras)
