"""Who may import what: the architecture as a table, read from the syntax trees."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import pytest

import edgepose

ROOT = Path(__file__).parents[1]

# Module of edgepose → (modules of edgepose, third parties) that it may import, wherever in the file.
BASE: set[str] = {"errors"}
DATA = BASE | {"structures", "skeletons", "modelcard"}
OPS = DATA | {"ops"}
VALUES = OPS | {"appearance", "boxes", "codecs", "smoothing", "tracking", "tracks", "formats"}
PICTURES = VALUES | {"transforms", "draw"}
NETS = PICTURES | {"terminal", "models", "runtime", "posemodel", "detectors", "topdown"}
TABLE: dict[str, tuple[set[str], set[str]]] = {
    "__init__": (NETS, set()),  # lazily: only names for type checkers
    **dict.fromkeys(("errors", "structures", "skeletons", "modelcard"), (DATA, {"numpy"})),
    "models": (BASE, set()),
    "terminal": (set(), set()),
    "ops": ({"_C", "ops"}, {"numpy"}),
    **dict.fromkeys(
        ("appearance", "boxes", "codecs", "smoothing", "tracking", "tracks", "formats"), (VALUES, {"numpy"})
    ),
    **dict.fromkeys(("transforms", "draw"), (PICTURES, {"numpy", "cv2"})),
    "runtime": (NETS | {"_C"}, {"numpy", "onnxruntime"}),
    **dict.fromkeys(("posemodel", "topdown"), (NETS, {"numpy"})),
    "detectors": (NETS, {"numpy", "cv2"}),
    "torch": ({"_C", "ops", "torch"}, {"numpy", "torch"}),
}
# Room of the app → (what it may import of the app, third parties): whole rooms, or single modules of the core, which
# are those beside the rooms.
APP_ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "sources": ({"sources", "media"}, set()),
    "outputs": ({"outputs", "engine", "media", "overlay", "status"}, set()),
    "core": ({"core", "sources", "outputs"}, set()),  # nobody but `__main__` the command
    "gui": ({"gui", "core", "sources", "outputs"}, {"PyQt6"}),
}
APP_LATE = {"cli": {"gui.launch"}}  # inside a function: where there is no window, Qt is never asked for
APP_PARTIES = {"numpy", "cv2", "matplotlib", "edgepose", "edgepose_app"}
APP_BY_NAME = {"cli": {"importlib.__import__"}}  # to say in a sentence which package is missing
TRAINING_NEVER = {"PyQt6", "edgepose_app", "app", "training", "benchmarks", "tests"}
# Modules loaded by a name that no syntax tree shows; to look for one, or for a version, loads nothing.
BY_NAME = "importlib."
NOT_LOADED = {"importlib.util.find_spec", "importlib.metadata.version"}

# Room of edgepose_training → rooms, or single modules of them, that it may import besides itself.
CORE = {"config", "distributed"}
ROOMS: dict[str, set[str]] = {
    **{room: set() for room in (*CORE, "command", "metrics", "__init__")},
    **dict.fromkeys(("models", "data"), CORE),
    "engine": CORE | {"data", "models", "metrics"},
    "bundles": CORE | {"data", "engine"},
    "evaluation": CORE | {"data", "models", "metrics", "engine.checkpoints", "engine.cards", "engine.heatmaps"},
    "deploy": CORE | {"data", "models", "engine", "evaluation"},
    "quickstart": CORE | {"data", "models", "engine", "deploy"},
}
ROOMS["detector"] = set(ROOMS) - {"command", "quickstart", "bundles"}
ROOMS["a command"] = set(ROOMS)
COMMANDS = {path.stem for path in (ROOT / "training").glob("*.py")}
METRICS_PARTIES = {"numpy", "pycocotools", "scipy"}
METRICS_EDGEPOSE = {"boxes", "errors"}  # modules of edgepose


def imports(tree: ast.AST, package: str) -> set[str]:
    """Absolute dotted names of everything that a module of `package` imports, deferred imports included."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*parent, *([node.module] if node.module else [])])
            # `from package import module` imports the module; a plain name resolves to the package itself.
            found |= {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "__import__":
            found.add("importlib.__import__")
    return found


def by_name(names: set[str]) -> set[str]:
    """Those of `names` by which any module can be loaded unseen."""
    return {name for name in names if f"{name}.".startswith(BY_NAME) and name not in NOT_LOADED}


def module_of(name: str) -> str:
    """The module of edgepose that an import of `edgepose.…` loads; a public name is at home in one."""
    first = name.split(".")[1] if "." in name else ""
    return edgepose._HOME.get(first, first)


def forbidden(source: str, module: str, package: str) -> list[str]:
    """What a module of edgepose imports against the table."""
    inner, outer = TABLE[module]
    names = imports(ast.parse(source), package)
    unseen = set() if module == "__init__" else by_name(names)  # which loads its public names
    wrong = []
    for name in sorted(names):
        top = name.split(".")[0]
        if top == "edgepose":
            known = module_of(name)
            allowed = known in inner or known == module or (known not in TABLE and known != "_C")
        else:
            allowed = top in sys.stdlib_module_names or top in outer
        if not allowed or name in unseen:
            wrong.append(name)
    return wrong


def _modules() -> list[tuple[str, str, Path]]:  # module of the table, package it lies in, file
    found = []
    for path in sorted((ROOT / "edgepose").rglob("*.py")):
        parts = path.relative_to(ROOT / "edgepose").with_suffix("").parts
        module = parts[0]
        package = ".".join(["edgepose", *parts[:-1]])
        found.append((module, package, path))
    return found


@pytest.mark.parametrize(("module", "package", "path"), _modules(), ids=lambda value: getattr(value, "stem", None))
def test_library(module: str, package: str, path: Path) -> None:
    assert module in TABLE, f"edgepose/{module} has no row in the table of this test"
    assert forbidden(path.read_text("utf-8"), module, package) == []


PACKAGES = (("edgepose", "edgepose"), ("app", "edgepose_app"), ("training/edgepose_training", "edgepose_training"))
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]


def packages_below(folder: Path, package: str) -> set[str]:
    found = (path.parent.relative_to(folder) for path in folder.rglob("__init__.py"))
    return {".".join([package, *path.parts]) for path in found}


def left_behind(folder: Path, package: str, data: Mapping[str, list[str]]) -> set[str]:
    """Files of a package, beside its code, that no pattern of `data` takes into the wheel."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    missing = {path for path in files if path.suffix not in (".py", ".pyc", ".so", ".pyd")}
    for name, patterns in data.items():
        if (name + ".").startswith(package + "."):
            inside = name.split(".")[1:]
            missing = {path for path in missing if not any(_fits(path, [*inside, *p.split("/")]) for p in patterns)}
    return {path.as_posix() for path in missing}


def _fits(path: Path, pattern: list[str]) -> bool:
    return len(path.parts) == len(pattern) and all(map(fnmatch, path.parts, pattern))


@pytest.mark.parametrize(("folder", "package"), PACKAGES)
def test_every_package_is_installed(folder: str, package: str) -> None:
    """What pyproject.toml does not list is there in a checkout and missing from the wheel."""
    listed = {name for name in SETUPTOOLS["packages"] if name.split(".")[0] == package}
    assert listed == packages_below(ROOT / folder, package)
    assert SETUPTOOLS["package-dir"][package] == folder
    assert left_behind(ROOT / folder, package, SETUPTOOLS["package-data"]) == set()


def test_negative_control_of_packages(tmp_path: Path) -> None:
    for name in (
        "__init__.py",
        "room/__init__.py",
        "room/a.py",
        "a.toml",
        "room/a.toml",
        "room/deep/a.toml",
        "room/b.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert packages_below(tmp_path, "house") == {"house", "house.room"}
    everything = {"a.toml", "room/a.toml", "room/deep/a.toml", "room/b.txt"}
    assert left_behind(tmp_path, "house", {"houses": ["*"]}) == everything
    assert left_behind(tmp_path, "house", {"house.room": ["*.toml"]}) == everything - {"room/a.toml"}
    assert left_behind(tmp_path, "house", {"house": ["*/*/*.toml", "*.toml"]}) == {"room/a.toml", "room/b.txt"}


CONTROLS = [
    ("structures", "import cv2", "cv2"),
    ("codecs", "from . import runtime", "edgepose.runtime"),
    ("codecs", "from .runtime import Session", "edgepose.runtime.Session"),
    ("tracking", "def f():\n    import onnxruntime", "onnxruntime"),
    ("topdown", "from edgepose.torch import simcc_decode", "edgepose.torch.simcc_decode"),
    ("ops", "import torch", "torch"),
    ("draw", "from edgepose_app import view", "edgepose_app.view"),
    ("formats", "from . import _C", "edgepose._C"),
    ("terminal", "import numpy", "numpy"),
    ("structures", "from edgepose import TopdownEstimator", "edgepose.TopdownEstimator"),
    ("codecs", "from . import Detector", "edgepose.Detector"),
    ("torch", "from edgepose import Poses", "edgepose.Poses"),
    ("codecs", "import importlib", "importlib"),
    ("ops", "from importlib import import_module", "importlib.import_module"),
    ("tracking", "def f():\n    __import__('torch')", "importlib.__import__"),
    ("terminal", "from .errors import EdgeposeError", "edgepose.errors.EdgeposeError"),
]


@pytest.mark.parametrize(("module", "source", "name"), CONTROLS)
def test_negative_control(module: str, source: str, name: str) -> None:
    """The test itself must see a forbidden import."""
    assert forbidden(source, module, "edgepose") == [name]


def _modules_of_app(tree: ast.AST, package: str) -> set[str]:
    """Dotted modules of the app below `edgepose_app` that are imported, `gui.launch` for one of its names too."""
    names = (name.split(".")[1:] for name in imports(tree, package) if name.startswith("edgepose_app."))
    rooms = {"sources", "outputs", "gui"}
    return {".".join(name[:2] if name[0] in rooms else name[:1]) for name in names}


def app_offences(path: Path, root: Path = ROOT / "app") -> set[str]:
    """What a module of the app imports against `APP_ROOMS`."""
    tree, inside = ast.parse(path.read_text("utf-8")), path.relative_to(root).parts
    room = inside[0] if len(inside) > 1 else "core"
    package = ".".join(["edgepose_app", *inside[:-1]])
    inner, outer = APP_ROOMS[room]
    names = imports(tree, package)
    wrong = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - APP_PARTIES - outer
    wrong |= {name for name in names if name.startswith("edgepose.torch")}
    wrong |= by_name(names) - APP_BY_NAME.get(path.stem, set())
    late = APP_LATE.get(path.stem, set()) if room == "core" else set()
    for name in _modules_of_app(tree, package) - late:
        top = name.split(".")[0]
        found = top if top in APP_ROOMS else "core"
        if not {found, top} & inner or (name == "cli" and path.stem != "__main__"):
            wrong.add(name)
    at_start = ast.Module([node for node in tree.body if not isinstance(node, ast.FunctionDef)], [])
    return wrong | (_modules_of_app(at_start, package) & late)


@pytest.mark.parametrize("path", sorted((ROOT / "app").rglob("*.py")), ids=lambda path: path.stem)
def test_app(path: Path) -> None:
    assert app_offences(path) == set()


APP_CONTROLS = [
    ("engine.py", "from PyQt6 import QtCore", {"PyQt6"}),
    ("engine.py", "import torch\nfrom edgepose.torch import simcc_decode", {"torch", "edgepose.torch.simcc_decode"}),
    ("engine.py", "from .gui.view import VideoView", {"gui.view"}),
    ("headless.py", "def f():\n    from .gui.launch import show", {"gui.launch"}),
    ("cli.py", "from .gui.launch import show", {"gui.launch"}),
    ("cli.py", "def f():\n    from .gui.window import Window", {"gui.window"}),
    ("sources/camera.py", "from PyQt6 import QtCore", {"PyQt6"}),
    ("sources/camera.py", "from ..gui import style", {"gui.style"}),
    ("sources/camera.py", "from ..outputs import JsonlOutput", {"outputs.JsonlOutput"}),
    ("sources/camera.py", "from edgepose_app.engine import Engine", {"engine"}),
    ("outputs/jsonl.py", "from ..gui.bridge import Bridge", {"gui.bridge"}),
    ("outputs/jsonl.py", "from ..sources import Frame", {"sources.Frame"}),
    ("outputs/jsonl.py", "from ..headless import run", {"headless"}),
    ("gui/window.py", "from ..cli import main", {"cli"}),
    ("outputs/jsonl.py", "from edgepose_training import config", {"edgepose_training"}),
    ("engine.py", "from importlib import import_module", {"importlib.import_module"}),
    ("engine.py", "__import__('torch')", {"importlib.__import__"}),
    ("cli.py", "import importlib.util", {"importlib.util"}),
]


@pytest.mark.parametrize(("file", "source", "wrong"), APP_CONTROLS)
def test_negative_control_of_app(tmp_path: Path, file: str, source: str, wrong: set[str]) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
    assert app_offences(path, tmp_path) == wrong


def test_the_command_may_start_the_window_late(tmp_path: Path) -> None:
    (tmp_path / "cli.py").write_text("def f():\n    from .gui.launch import show\n")
    assert app_offences(tmp_path / "cli.py", tmp_path) == set()


def app_arrows(root: Path = ROOT / "app") -> dict[str, set[str]]:
    """What each module of the core, and each other room as one, imports of the others."""
    arrows: dict[str, set[str]] = {}
    for path in root.rglob("*.py"):
        inside = path.relative_to(root).with_suffix("").parts
        found = _modules_of_app(ast.parse(path.read_text("utf-8")), ".".join(["edgepose_app", *inside[:-1]]))
        arrows.setdefault(inside[0], set()).update({name.split(".")[0] for name in found} - {inside[0]})
    return arrows


def circle(arrows: Mapping[str, set[str]]) -> set[str]:
    """The nodes from which no walk along the arrows comes to an end."""
    left = dict(arrows)
    while free := {node for node, known in left.items() if not known & set(left)}:
        left = {node: known for node, known in left.items() if node not in free}
    return set(left)


def test_the_app_has_no_circle() -> None:
    """Outputs use four modules of the core, whose others use outputs: never the same ones."""
    arrows = app_arrows()
    assert {"engine", "status"} <= arrows["outputs"]
    assert "outputs" in arrows["headless"]
    assert circle(arrows) == set()


def test_negative_control_of_circles(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "jsonl.py").write_text("from ..status import count_of")
    (tmp_path / "status.py").write_text("from .engine import Engine")
    (tmp_path / "engine.py").write_text("def f():\n    from .outputs import Output")
    (tmp_path / "media.py").write_text("")
    assert circle(app_arrows(tmp_path)) == {"outputs", "status", "engine"}


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


def test_import_needs_numpy_alone() -> None:
    """What `import edgepose`, its data modules and its ops really load."""
    code = (
        "import sys, edgepose, edgepose.ops, edgepose.codecs, edgepose.tracking, edgepose.formats\n"
        "edgepose.Skeleton, edgepose.Poses, edgepose.__version__\n"
        "heavy = {'cv2', 'onnxruntime', 'torch', 'PyQt6', 'onnx'} & set(sys.modules)\n"
        "sys.exit(f'loaded {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_public_words() -> None:
    assert sorted(edgepose._HOME) == sorted(edgepose.__all__)
    for word in edgepose.__all__:
        assert getattr(edgepose, word).__name__ == word
    with pytest.raises(AttributeError, match="has no attribute 'Posse'"):
        _ = edgepose.Posse
