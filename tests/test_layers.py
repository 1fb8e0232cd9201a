"""Who may import what: the architecture as a table, read from the syntax trees."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Module of edgepose → (modules of edgepose, third parties) that it may import, wherever in the file.
BASE: set[str] = {"errors"}
DATA = BASE | {"structures", "skeletons", "modelcard"}
OPS = DATA | {"ops"}
VALUES = OPS | {"appearance", "boxes", "codecs", "smoothing", "tracking", "tracks", "formats"}
PICTURES = VALUES | {"transforms", "draw"}
NETS = PICTURES | {"models", "runtime", "posenet", "detectors", "topdown"}
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
    **dict.fromkeys(("posenet", "topdown"), (NETS, {"numpy"})),
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
TRAINING_NEVER = {"PyQt6", "edgepose_app", "app"}


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
    return found


def forbidden(source: str, module: str, package: str) -> list[str]:
    """What a module of edgepose imports against the table."""
    inner, outer = TABLE[module]
    wrong = []
    for name in sorted(imports(ast.parse(source), package)):
        top, *rest = name.split(".")
        if top == "edgepose":
            known = rest[0] if rest else ""
            allowed = known in inner or known == module or (known not in TABLE and known != "_C")
        else:
            allowed = top in sys.stdlib_module_names or top in outer
        if not allowed:
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


def test_every_package_is_installed() -> None:
    """A folder that pyproject.toml does not list is there in a checkout and missing from the wheel."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    for folder, package in (("edgepose", "edgepose"), ("app", "edgepose_app")):
        folders = (path.parent.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("__init__.py"))
        found = {".".join([package, *path.parts]) for path in folders}
        assert {name for name in listed if name.split(".")[0] == package} == found


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
    ("terminal", "from .errors import EdgeposeError", "edgepose.errors.EdgeposeError"),
]


@pytest.mark.parametrize(("module", "source", "name"), CONTROLS)
def test_negative_control(module: str, source: str, name: str) -> None:
    """The test itself must see a forbidden import."""
    assert forbidden(source, module, "edgepose") == [name]


def _tops(path: Path, package: str) -> set[str]:
    return {name.split(".")[0] for name in imports(ast.parse(path.read_text("utf-8")), package)}


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


@pytest.mark.parametrize("path", sorted((ROOT / "training").rglob("*.py")), ids=lambda path: path.stem)
def test_training(path: Path) -> None:
    assert _tops(path, "edgepose_training") & TRAINING_NEVER == set()


def test_negative_control_of_training(tmp_path: Path) -> None:
    train = tmp_path / "data.py"
    train.write_text("from edgepose_app.sources import camera\n")
    assert _tops(train, "edgepose_training") & TRAINING_NEVER == {"edgepose_app"}


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
    import edgepose

    assert sorted(edgepose._HOME) == sorted(edgepose.__all__)
    for word in edgepose.__all__:
        assert getattr(edgepose, word).__name__ == word
    with pytest.raises(AttributeError, match="has no attribute 'Posse'"):
        _ = edgepose.Posse
