"""Who may import what in the training: rooms, and commands above them."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from import_names import ROOT, by_name, circle, imports, module_of

TRAINING_NEVER = {"PyQt6", "edgepose_app", "app", "training", "benchmarks", "tests"}
# Room of edgepose_training → rooms, or single modules of them, that it may import besides itself.
CORE = {"config", "distributed", "progress"}
ROOMS: dict[str, set[str]] = {
    **{room: set() for room in ("distributed", "command", "metrics", "progress", "ranges", "__init__")},
    "config": {"ranges"},
    **dict.fromkeys(("models", "data"), CORE),
    "engine": CORE | {"data", "models", "metrics"},
    "bundles": CORE | {"data", "engine"},
    "evaluation": CORE | {"data", "models", "metrics", "engine.checkpoints", "engine.cards"},
    "deploy": CORE | {"data", "models", "engine", "evaluation"},
    "quickstart": CORE | {"data", "models", "engine", "deploy"},
}
ROOMS["detector"] = set(ROOMS) - {"command", "quickstart", "bundles"}
ROOMS["a command"] = set(ROOMS)
COMMANDS = {path.stem for path in (ROOT / "training").glob("*.py")}
METRICS_PARTIES = {"numpy", "pycocotools", "scipy"}
METRICS_EDGEPOSE = {"boxes", "errors"}  # modules of edgepose


def training_offences(source: str, room: str) -> list[str]:
    """What a module of a room, or a command, imports against the table."""
    package = f"edgepose_training.{room}" if (ROOT / "training" / "edgepose_training" / room).is_dir() else ""
    wrong = []
    names = imports(ast.parse(source), package or "edgepose_training")
    unseen = by_name(names)
    for name in sorted(names):
        top, _, inner = name.partition(".")
        if name in unseen:
            allowed = False
        elif top == "edgepose_training":
            allowed = any(f"{inner}.".startswith(f"{known}.") for known in (room, *ROOMS[room]))
        elif room == "metrics":
            inside = top == "edgepose" and module_of(name) in METRICS_EDGEPOSE
            allowed = inside or top in sys.stdlib_module_names | METRICS_PARTIES
        else:
            allowed = top not in TRAINING_NEVER | COMMANDS
        if not allowed:
            wrong.append(name)
    return wrong


def _training() -> list[tuple[str, Path]]:  # room, file
    library = ROOT / "training" / "edgepose_training"
    rooms = [(path.relative_to(library).with_suffix("").parts[0], path) for path in sorted(library.rglob("*.py"))]
    return rooms + [("a command", ROOT / "training" / f"{name}.py") for name in sorted(COMMANDS)]


@pytest.mark.parametrize(("room", "path"), _training(), ids=lambda value: getattr(value, "stem", value))
def test_training(room: str, path: Path) -> None:
    assert room in ROOMS, f"edgepose_training/{room} has no row in the table of this test"
    assert training_offences(path.read_text("utf-8"), room) == []


TRAINING_CONTROLS = [
    ("config", "from edgepose_training.models import build_pose_net", "edgepose_training.models.build_pose_net"),
    ("models", "from edgepose_training.engine import losses", "edgepose_training.engine.losses"),
    ("models", "from ..data import coco", "edgepose_training.data.coco"),
    ("data", "from edgepose_training.models import posenet", "edgepose_training.models.posenet"),
    ("metrics", "import torch", "torch"),
    ("metrics", "from edgepose.torch import simcc_decode", "edgepose.torch.simcc_decode"),
    ("metrics", "from edgepose_training.data.coco import Person", "edgepose_training.data.coco.Person"),
    ("engine", "def f():\n    from edgepose_training import evaluation", "edgepose_training.evaluation"),
    ("evaluation", "from edgepose_training.engine.trainer import Run", "edgepose_training.engine.trainer.Run"),
    ("evaluation", "from edgepose_training.engine import trainer", "edgepose_training.engine.trainer"),
    ("evaluation", "import edgepose_training.deploy.onnx_graph", "edgepose_training.deploy.onnx_graph"),
    ("deploy", "from edgepose_training.detector.net import Detector", "edgepose_training.detector.net.Detector"),
    ("engine", "from edgepose_training.detector import loss", "edgepose_training.detector.loss"),
    ("detector", "from edgepose_training import quickstart", "edgepose_training.quickstart"),
    ("data", "from edgepose_training.command import command", "edgepose_training.command.command"),
    ("deploy", "import export", "export"),
    ("a command", "def f():\n    import pack", "pack"),
    ("a command", "from evaluate import run", "evaluate.run"),
    ("data", "from edgepose_app import camera", "edgepose_app.camera"),
    ("a command", "from PyQt6 import QtCore", "PyQt6.QtCore"),
    ("metrics", "from edgepose import TopdownEstimator", "edgepose.TopdownEstimator"),
    ("metrics", "from edgepose.runtime import Session", "edgepose.runtime.Session"),
    ("metrics", "import edgepose", "edgepose"),
    ("data", "from training import evaluate", "training.evaluate"),
    ("engine", "import benchmarks.measure", "benchmarks.measure"),
    ("a command", "from tests.training import conftest", "tests.training.conftest"),
    ("engine", "import importlib", "importlib"),
    ("a command", "def f():\n    from importlib import import_module", "importlib.import_module"),
    ("data", "__import__('edgepose_app')", "importlib.__import__"),
]


@pytest.mark.parametrize(("room", "source", "name"), TRAINING_CONTROLS)
def test_negative_control_of_training(room: str, source: str, name: str) -> None:
    assert training_offences(source, room) == [name]


def test_rooms_have_no_circle() -> None:
    """Read as arrows, the table can be walked to its end."""
    assert circle({room: {name.partition(".")[0] for name in known} - {room} for room, known in ROOMS.items()}) == set()
