"""The benchmarks of the kernels run, whatever they measure; goals are held against what was reached."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "ops"


@pytest.mark.slow
def test_everything_runs():
    for module in ("torch", "cv2"):
        pytest.importorskip(module)
    command = [sys.executable, FOLDER / "everything.py", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for case in ("decode 256x192 N=1", "labels 256x192 N=64", "KL 256x192 N=64", "192x256 at 0°", "threads: KL N=64"):
        assert f"| {case} |" in done.stdout
    assert "its numbers mean nothing" in done.stdout


def test_goals_take_the_worst_of_their_cases(monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("cv2")
    monkeypatch.syspath_prepend(FOLDER)
    everything = pytest.importorskip("everything")
    rows = [
        everything.Row(f"decode 256x192 N={n}", "edgepose", 1.0, (1.0, 1.0), {"numpy": ratio})
        for n, ratio in ((1, 9.0), (32, 5.0), (320, 1.0))
    ]
    goals = [everything.Goal("decode 256x192 N=32", "numpy", 5), everything.Goal("decode 256x192", "numpy", 2)]
    held = everything.held_to([*goals, everything.Goal("decode", "torch", 1)], rows)
    assert [(each["reached"], each["met"]) for each in held] == [(5.0, True), (1.0, False)]
