"""Who may import what in the application: rooms, Qt in one of them, no circle."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from import_names import ROOT, by_name, circle, imports

# Room of the app → (what it may import of the app, third parties): whole rooms, or single modules of the core, which
# are those beside the rooms.
APP_ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "sources": ({"sources", "media", "pyav", "redaction"}, set()),
    "outputs": ({"outputs", "engine", "media", "overlay", "pyav", "status"}, set()),
    "core": ({"core", "sources", "outputs"}, set()),  # nobody but `__main__` the command
    "gui": ({"gui", "core", "sources", "outputs"}, {"PyQt6"}),
}
APP_LATE = {"cli": {"gui.launch"}}  # inside a function: where there is no window, Qt is never asked for
APP_PARTIES = {"numpy", "cv2", "matplotlib", "edgepose", "edgepose_app"}
APP_ONLY = {"pyav": {"av"}, "osc": {"pythonosc"}, "websocket": {"websockets"}}  # one file a library
APP_BY_NAME = {
    "cli": {"importlib.__import__"},  # to say in a sentence which package is missing
    "kinds": {"importlib.import_module"},  # the modules of its own folder
}


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
    wrong -= APP_ONLY.get(path.stem, set()) if room in ("core", "outputs") else set()
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
    ("sources/video.py", "import av", {"av"}),
    ("headless.py", "from av.video import VideoFrame", {"av"}),
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
    ("outputs/jsonl.py", "import websockets", {"websockets"}),
    ("outputs/kinds.py", "from importlib import __import__", {"importlib.__import__"}),
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
