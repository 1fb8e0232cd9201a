"""The command on terminals that are not UTF-8."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENTS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}


def app(name: str, *args: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONIOENCODING", "PYTHONUTF8")}
    return subprocess.run(
        [sys.executable, "-m", "edgepose_app", *map(str, args)],
        cwd=cwd,
        env={**clean, "OMP_NUM_THREADS": "1", **ENVIRONMENTS[name]},
        capture_output=True,
        encoding="cp1252" if name == "cp1252" else "ascii",  # strictly: anything else fails here
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_help_version_and_errors(tmp_path: Path, name: str):
    assert "--camera" in app(name, "--help", cwd=tmp_path).stdout
    assert app(name, "--version", cwd=tmp_path).stdout.startswith("edgepose ")
    run = app(name, "--source", "→.mp4", "--headless", cwd=tmp_path)
    assert run.returncode == 2
    assert ".mp4: there is no such file or folder" in run.stderr
    assert "Error" not in run.stderr


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_demo_headless(tmp_path: Path, constant_model: Path, name: str):
    pytest.importorskip("matplotlib", reason="the demo's photograph comes with matplotlib")
    args = ("--source", "demo", "--model", constant_model, "--detector", "none", "--headless", "--duration", "1")
    run = app(name, *args, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "960×720 ->" in run.stdout if name == "cp1252" else "960x720 ->" in run.stdout
    assert "30 frames" in run.stdout
    assert "→" in (tmp_path / "output" / "demo_timings.txt").read_text("utf-8")  # files are UTF-8 everywhere
