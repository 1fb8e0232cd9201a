"""Who may import what: the library as a table, read from the syntax trees."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from import_names import ROOT, by_name, imports, module_of

import edgepose

# Module of edgepose → (modules of edgepose, third parties) that it may import, wherever in the file.
BASE: set[str] = {"errors"}
DATA = BASE | {"structures", "skeletons", "modelcard"}
OPS = DATA | {"ops"}
VALUES = OPS | {
    "angles",
    "appearance",
    "boxes",
    "codecs",
    "decision",
    "following",
    "offline",
    "smoothing",
    "torso",
    "tracking",
    "tracks",
    "visibility",
    "formats",
}
IMAGES = VALUES | {"transforms", "draw", "images"}
NETS = IMAGES | {"terminal", "models", "runtime", "posemodel", "detectors", "topdown", "topdown_config", "providers"}
TABLE: dict[str, tuple[set[str], set[str]]] = {
    "__init__": (NETS, set()),  # lazily: only names for type checkers
    **dict.fromkeys(("errors", "structures", "skeletons", "modelcard"), (DATA, {"numpy"})),
    "models": (BASE, set()),
    "providers": (set(), set()),
    "terminal": (set(), set()),
    "ops": ({"_C", "ops"}, {"numpy"}),
    **dict.fromkeys(
        sorted(VALUES - OPS),
        (VALUES, {"numpy"}),
    ),
    **dict.fromkeys(("transforms", "draw"), (IMAGES, {"numpy", "cv2"})),
    "images": (IMAGES, {"numpy", "cv2", "PIL", "pillow_heif"}),
    "runtime": (NETS | {"_C"}, {"numpy", "onnxruntime"}),
    **dict.fromkeys(("posemodel", "topdown", "topdown_config"), (NETS, {"numpy"})),
    "detectors": (NETS, {"numpy", "cv2"}),
    "torch": ({"_C", "ops", "torch"}, {"numpy", "torch"}),
}


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
