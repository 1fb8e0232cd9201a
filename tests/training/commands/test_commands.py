"""The commands that README and docs print, run as they stand: from COCO-WholeBody, or from mmpose's file, to the app.

Only folders and sizes are changed: where files lie, the camera that is not here, and a schedule of seconds.
"""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import types
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluation_fixtures import FIELDS
from seeded_weights import seeded

torch = pytest.importorskip("torch")

import pack  # noqa: E402

from edgepose import Skeleton  # noqa: E402
from edgepose_training.data.synthetic import synthetic_person  # noqa: E402
from edgepose_training.engine import mmpose_checkpoints  # noqa: E402
from edgepose_training.models import build_pose_net  # noqa: E402

ROOT = Path(__file__).parents[3]
WHOLEBODY = Skeleton.load("coco_wholebody")
TINY = ["size=n", "input_size=[64, 64]", "sigma=[2.83, 2.83]", "batch=4", "epochs=2", "half_size_epochs=1", "amp=off"]


def blocks(page: str, containing: str) -> list[list[str]]:
    """The shell blocks of a page that hold a word; comments and empty lines left out."""
    found = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    lines = [
        [line.partition("  #")[0].strip() for line in block.splitlines()] for block in found if containing in block
    ]
    return [[line for line in block if line and not line.startswith("#")] for block in lines]


def run(command: str, places: dict[str, Path], more: list[str]) -> None:
    """A printed command in a process of its own; its words of `places` are replaced."""
    words = shlex.split(command)
    for name, path in places.items():
        words = [str(path) + word.removeprefix(name) if re.match(rf"{name}(?=$|/)", word) else word for word in words]
    if words[0] == "edgepose-app":
        words = [sys.executable, "-m", "edgepose_app", *words[1:]]
    assert words[0] in ("python", sys.executable)
    words[0] = sys.executable
    clean = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}
    environment = clean | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*words, *more], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def through_the_app(
    command: str, places: dict[str, Path], folder: Path, image: np.ndarray, *, painted: bool = True
) -> dict:
    """The app on a folder of one image instead of a camera; what it wrote of it."""
    pictures = folder / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "person.png"), image)
    answers, drawn = folder / "answers.jsonl", folder / "drawn"
    more = ["--source", str(pictures), "--detector", "none", "--headless", "--json", str(answers), "--save", str(drawn)]
    run(command.replace("--camera 0 ", ""), places, [*more, "--threshold", "0"])
    (picture,) = drawn.iterdir()
    seen = cv2.imread(str(picture))
    assert seen.shape == image.shape
    if painted:
        assert np.abs(image.astype(int) - seen).max() > 100
    (line,) = answers.read_text().splitlines()
    return json.loads(line)


def a_person() -> np.ndarray:  # [320, 240, 3]
    return synthetic_person(np.random.default_rng(7), (240, 320)).image


def annotation(number: int, person) -> dict:
    """A synthetic person as COCO-WholeBody writes one."""
    x1, y1, x2, y2 = (float(v) for v in person.bbox)
    entry = {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "num_keypoints": 17}
    entry |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": 0.5 * (x2 - x1) * (y2 - y1)}
    for part, (start, stop) in WHOLEBODY.parts.items():
        table = np.column_stack([person.keypoints[start:stop], person.visible[start:stop]])
        entry[FIELDS[part]] = table.astype(float).ravel().tolist()
        entry[f"{part}_valid"] = True
    return entry


def coco_wholebody(folder: Path, splits: dict[str, int]) -> Path:
    """A folder as COCO and COCO-WholeBody unpack."""
    (folder / "annotations").mkdir(parents=True)
    rng = np.random.default_rng(3)
    for split, count in splits.items():
        images, annotations = [], []
        (folder / f"{split}2017").mkdir()
        for number in range(count):
            person = synthetic_person(rng)
            name = f"{number:012d}.jpg"
            cv2.imwrite(str(folder / f"{split}2017" / name), person.image)
            height, width = person.image.shape[:2]
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            annotations.append(annotation(number, person))
        path = folder / "annotations" / f"coco_wholebody_{split}_v1.0.json"
        path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", ["docs/training.md", "README.md"])
def test_from_coco_wholebody_on_disk_to_a_running_app(page, tmp_path):
    (commands,) = blocks(page, "pack.py --data DATA")
    commands = [command for command in commands if command != "python training/distill.py"]  # test_quickstart.py
    assert len(commands) <= 5
    assert commands[-1].startswith("edgepose-app")
    data = coco_wholebody(tmp_path / "coco", {"train": 8, "val": 4})
    places = {"DATA": data, "runs": tmp_path / "runs", "mine.onnx": tmp_path / "mine.onnx"}
    for command in commands[:-1]:
        more = [part for value in TINY for part in ("--set", value)] if "distill.py" in command else []
        run(command, places, [*more, "--device", "cpu"] if more else [])
    answer = through_the_app(commands[-1], places, tmp_path, a_person(), painted=False)  # it has learnt nothing yet
    assert all(np.shape(person["keypoints"]) == (133, 3) for person in answer["people"])


def checkpoint_of_mmengine(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What mmengine's runner leaves of an RTMPose-t: weights, averages, optimizer, and objects of its own classes."""

    class HistoryBuffer:
        def __init__(self) -> None:
            self._log_history, self._count_history = np.array([0.25]), np.array([1])
            self._statistics_methods = {"mean": self.mean}

        def mean(self) -> float:
            return 0.25

    module = types.ModuleType("mmengine.logging.history_buffer")
    module.HistoryBuffer = HistoryBuffer
    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    net = build_pose_net("t", 133, (192, 256))
    weights = OrderedDict(
        (name, torch.from_numpy(seeded(name, tuple(value.shape)))) for name, value in net.state_dict().items()
    )
    names = dict(enumerate(WHOLEBODY.keypoints))
    dataset = {"dataset_name": "coco_wholebody", "num_keypoints": 133, "keypoint_id2name": names,
               "sigmas": WHOLEBODY.sigmas, "flip_indices": WHOLEBODY.swap.tolist()}  # fmt: skip
    torch.save(
        {
            "meta": {"epoch": 270, "iter": 1000, "cfg": "", "seed": 21, "experiment_name": "rtmpose-t",
                     "mmengine_version": "0.10.7", "dataset_meta": dataset, "best_score": np.float64(0.6)},
            "state_dict": weights,
            "ema_state_dict": {"steps": torch.tensor(1000)}
            | {f"module.{name}": value + 1 for name, value in weights.items()},
            "message_hub": {"log_scalars": OrderedDict({"train/loss": HistoryBuffer()}),
                            "runtime_info": OrderedDict(epoch=270), "resumed_keys": {}},
            "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 4e-3, "params": [0]}]},
            "param_schedulers": [{"last_step": 1, "_global_step": 2}],
        },
        path,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("page", ["docs/models.md", "README.md"])
def test_an_mmpose_checkpoint_reaches_the_app_with_the_printed_commands(page, tmp_path, monkeypatch):
    text = (ROOT / page).read_text(encoding="utf-8")
    convert, export = (re.search(rf"python training/{name}\.py [^`\n]*", text)[0] for name in ("convert", "export"))
    export = next(line for line in re.findall(r"python training/export\.py [^`\n]*", text) if "runs/" not in line)
    theirs, ours, model = (re.search(pattern, convert + " " + export)[0]
                           for pattern in (r"\S+\.pth", r"\S+\.pt\b(?!h)", r"\S+\.onnx"))  # fmt: skip
    checkpoint_of_mmengine(tmp_path / theirs, monkeypatch)
    assert any(value for value in mmpose_checkpoints.read(tmp_path / theirs)["message_hub"]["log_scalars"].values())
    places = {name: tmp_path / name for name in (theirs, ours, model)}
    run(convert, places, [])
    run(export, places, [])
    answer = through_the_app(f"edgepose-app --camera 0 --model {model}", places, tmp_path, a_person())
    assert np.shape(answer["people"][0]["keypoints"]) == (133, 3)


FIVE = """
name = "five"
keypoints = ["middle", "left_hand", "right_hand", "left_foot", "right_foot"]
swap = [[1, 2], [3, 4]]
links = [[0, 1], [0, 2], [0, 3], [0, 4]]
"""
# The box that the app puts around these points is, with its padding, the whole frame: every look of the app is then the
# one crop that the net has learned by heart.
DOTS = np.array([[48, 64], [80, 22], [16, 22], [80, 111], [16, 111]], np.float32)
DOTS_BBOX = [9.6, 12.8, 76.8, 102.4]  # xywh, 1 / 1.25 of the frame
COLORS = [(0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 255, 255), (255, 255, 0)]


def five_dots() -> np.ndarray:  # [128, 96, 3]
    image = np.full((128, 96, 3), 40, np.uint8)
    for (x, y), color in zip(DOTS.astype(int).tolist(), COLORS, strict=True):
        cv2.circle(image, (x, y), 9, color, -1)
    return image


@pytest.mark.slow
def test_a_made_up_skeleton_is_packed_trained_exported_run_and_drawn(tmp_path):
    """Five points, from a TOML file: whatever K is, it is the file's, in the shards, the net, the card and the app."""
    (tmp_path / "five.toml").write_text(FIVE)
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "dots.png"), five_dots())
    image = {"id": 1, "file_name": "dots.png", "width": 96, "height": 128}
    points = np.column_stack([DOTS, np.full(5, 2)]).ravel().tolist()
    person = {"image_id": 1, "bbox": DOTS_BBOX, "keypoints": points}
    document = {"images": [image], "annotations": [{"id": number, **person} for number in range(32)]}
    (tmp_path / "annotations" / "train.json").write_text(json.dumps(document))
    places = {"WHERE": tmp_path}
    run("python training/pack.py --data WHERE --skeleton WHERE/five.toml -o WHERE/shards/train", places, [])
    values = [f"skeleton={tmp_path}/five.toml", "size=n", "input_size=[96, 128]", "sigma=[3.46, 4.0]", "batch=2",
              "epochs=14", "save_minutes=60", "lr=2e-3", "warmup=5", "head_init_scale=0.02", "ema=0.2", "amp=off",
              "workers=0", "truncation_prob=0", "flip=0", "half_body=0", "scale=[1, 1]",
              "rotation=0", "shift=0", "erase=0", "color=0"]  # fmt: skip
    more = [part for value in values for part in ("--set", value)]
    run("python training/distill.py --shards WHERE/shards -o WHERE/run --device cpu", places, more)
    run("python training/export.py WHERE/run/best.pt -o WHERE/five.onnx", places, [])
    answer = through_the_app("edgepose-app --camera 0 --model WHERE/five.onnx", places, tmp_path, five_dots())
    found = np.array(answer["people"][0]["keypoints"])
    assert found.shape == (5, 3)
    np.testing.assert_allclose(found[:, :2], DOTS, atol=5)  # px; a wrong point is 48 px off
    assert found[:, 2].min() > 0.3


@pytest.mark.parametrize("path", sorted((ROOT / "training").rglob("*.py")), ids=lambda path: path.stem)
def test_every_module_of_the_training_imports(path):
    module = ".".join(path.relative_to(ROOT / "training").with_suffix("").parts)
    importlib.import_module(module.removesuffix(".__init__"))


def test_pack_finds_the_usual_layouts_and_says_what_it_sought(tmp_path, capsys):
    data = coco_wholebody(tmp_path / "coco", {"val": 2})
    (data / "val2017").rename(data / "pictures")
    (data / "images").mkdir()
    (data / "pictures").rename(data / "images" / "val2017")
    assert pack.main(["--data", str(data), "--split", "val", "-o", str(tmp_path / "shards")]) == 0
    assert "2 people in 1 shards" in capsys.readouterr().out
    assert pack.main(["--data", str(data), "-o", str(tmp_path / "none")]) == 2
    complaint = capsys.readouterr().err.strip()
    assert complaint.endswith("train.json, coco_wholebody_train_v1.0.json or person_keypoints_train2017.json")
    assert "\n" not in complaint
