"""Names that a module imports, read from its syntax tree: what the tests of the layers share."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import edgepose

ROOT = Path(__file__).parents[1]
# Modules loaded by a name that no syntax tree shows; to look for one, or for a version, loads nothing.
BY_NAME = "importlib."
NOT_LOADED = {
    "importlib.util.find_spec",
    "importlib.metadata.version",
    "importlib.metadata.PackageNotFoundError",
}


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


def circle(arrows: Mapping[str, set[str]]) -> set[str]:
    """The nodes from which no walk along the arrows comes to an end."""
    left = dict(arrows)
    while free := {node for node, known in left.items() if not known & set(left)}:
        left = {node: known for node, known in left.items() if node not in free}
    return set(left)
