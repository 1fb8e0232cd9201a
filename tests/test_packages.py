"""What pyproject.toml installs is what the checkout has."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import pytest
from import_names import ROOT

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
