"""edgepose/_C.pyi against the module that was built: every name, and every function's parameters."""

import ast
import importlib.util
import re
import subprocess
import sys
from inspect import signature
from pathlib import Path

import pytest

from edgepose import _C, ops

ROOT = Path(__file__).parents[2]
STUB = ast.parse((ROOT / "edgepose" / "_C.pyi").read_text("utf-8"))
FUNCTIONS = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
OPS = sorted(set(ops.__all__) - {"reference"})
VALUES = {node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign)}


def test_names_are_those_of_the_module():
    real = {name for name in dir(_C) if not name.startswith("_")}
    assert real == FUNCTIONS.keys() | VALUES
    assert {name for name in real if callable(getattr(_C, name))} == FUNCTIONS.keys()
    assert isinstance(_C.with_cuda, bool)


def parameters(node):
    return [argument.arg for argument in node.args.posonlyargs + node.args.args]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_parameters_are_those_of_the_module(name):
    """pybind11 writes `simcc_decode(arg0: object, arg1: object, …) -> object` at the head of a docstring."""
    head = getattr(_C, name).__doc__.partition("\n")[0]
    taken = re.fullmatch(rf"{name}\((.*)\) -> (.+)", head)
    assert taken, head
    arguments = [part for part in taken.group(1).split(", ") if ":" in part]
    assert len(arguments) == len(parameters(FUNCTIONS[name]))
    returned = ast.unparse(FUNCTIONS[name].returns)
    assert returned == taken.group(2) or taken.group(2) in ("object", "collections.abc.Sequence[str]")


@pytest.mark.parametrize("name", OPS)
def test_parameter_names_are_those_of_the_source(name):
    source = (ROOT / "csrc" / "bindings" / f"{name}.cpp").read_text("utf-8")
    (declared,) = re.findall(rf"^py::object {name}\(([^)]*)\) {{$", source, re.MULTILINE)
    assert parameters(FUNCTIONS[name]) == [part.split()[-1] for part in declared.split(",")]


def test_ops_pass_on_their_arguments_by_the_names_of_the_stub():
    """The public function's own parameters, in whatever order, are those of the kernel."""
    for name in OPS:
        assert set(signature(getattr(ops, name)).parameters) == set(parameters(FUNCTIONS[name])), name


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_stubtest_agrees():
    config = str(ROOT / "pyproject.toml")
    command = [
        sys.executable,
        "-m",
        "mypy.stubtest",
        "edgepose._C",
        "--ignore-missing-stub",
        "--mypy-config-file",
        config,
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
