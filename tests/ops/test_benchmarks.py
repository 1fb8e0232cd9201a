"""The kernel benchmarks run, whatever they measure; results are compared with the targets."""

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
    for case in ("decode 256x192 N=1", "labels 256x192 N=64", "KL 256x192 N=8", "192x256 at 0°", "threads: KL N=64"):
        assert f"| {case} |" in done.stdout
    assert "its numbers mean nothing" in done.stdout


@pytest.mark.slow
def test_the_gpu_table_runs_on_the_cpu():
    """Everything but the graph: what is measured on a GPU, of a few people."""
    for module in ("torch", "cv2"):
        pytest.importorskip(module)
    command = [sys.executable, FOLDER / "on_gpu.py", "--quick", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for case in ("decode 256x192 N=1", "KL 256x192 N=8", "192x256 at 0°", "encode N=64"):
        assert f"| {case} |" in done.stdout
    for case, megabytes in (("decode", 3.826), ("labels", 3.83), ("KL kernel", 11.45), ("Gaussian KL kernel", 7.644)):
        assert f"| {case} 256x192 N=8, {megabytes} MB | copy of as many bytes |" in done.stdout
    assert "GB/s)" in done.stdout
    assert "its numbers mean nothing" in done.stdout


def test_limits_take_the_worst_of_their_cases(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    targets = pytest.importorskip("targets")
    rows = [
        targets.Row("decode N=1", name, ms, (ms, ms), {}) for name, ms in (("ops", 0.011), ("ops", 0.0125), ("x", 9))
    ]
    held = targets.held_to([targets.Limit("decode N=1", "ops", 12), targets.Limit("decode", "graph", 5)], rows)
    assert held == [{"case": "decode N=1", "variant": "ops", "microseconds": 12, "reached": 12.5, "met": False}]
    (*_, line) = targets.table(held)
    assert line == "| decode N=1 | the clock, ops | at most 12 µs | 12.5 µs | **missed** |"


def test_targets_take_the_worst_of_their_cases(monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("cv2")
    monkeypatch.syspath_prepend(FOLDER)
    everything = pytest.importorskip("everything")
    rows = [
        everything.Row(f"decode 256x192 N={n}", "edgepose", 1.0, (1.0, 1.0), {"numpy": ratio})
        for n, ratio in ((1, 9.0), (32, 5.0), (320, 1.0))
    ]
    targets = [everything.Target("decode 256x192 N=32", "numpy", 5), everything.Target("decode 256x192", "numpy", 2)]
    held = everything.held_to([*targets, everything.Target("decode", "torch", 1)], rows)
    assert [(each["reached"], each["met"]) for each in held] == [(5.0, True), (1.0, False)]
