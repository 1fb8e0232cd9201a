"""--doctor and --benchmark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from doubles import write_video
from test_cli import app

from edgepose_app import doctor
from edgepose_app.doctor import Finding


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The packages that are installed, as the doctor sees them."""
    known: dict[str, str] = {}
    monkeypatch.setattr(doctor, "installed", known.get)
    return known


def test_both_onnxruntimes_at_once(packages: dict[str, str]):
    packages |= {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}
    (finding,) = doctor.one_of("onnxruntime", doctor.ONNXRUNTIMES, "edgepose[runtime]")
    assert "onnxruntime 1.31.1, onnxruntime-gpu 1.31.1 at once" in finding.said
    assert "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu" in finding.remedy
    assert not finding.optional


def test_one_onnxruntime_or_none(packages: dict[str, str]):
    (finding,) = doctor.one_of("onnxruntime", doctor.ONNXRUNTIMES, "edgepose[runtime]")
    assert finding.remedy == "pip install 'edgepose[runtime]'"
    packages["onnxruntime-openvino"] = "1.24"
    (finding,) = doctor.one_of("onnxruntime", doctor.ONNXRUNTIMES, "edgepose[runtime]")
    assert (finding.said, finding.remedy) == ("onnxruntime-openvino 1.24", "")


@pytest.mark.parametrize(
    ("driver", "wanted", "fits"), [("13.0", "13.0", True), ("13.2", "12.8", True), ("12.9", "13.0", False)]
)
def test_the_driver_against_cuda(driver: str, wanted: str, fits: bool):
    (finding,) = doctor.driver_against_cuda(driver, wanted)
    assert driver in finding.said
    assert wanted in finding.said
    assert (finding.remedy == "") == fits


def test_plug_ins_of_another_qt():
    assert [*doctor.plugin_clash("", "/x/cv2/qt/plugins", "/x/PyQt6/Qt6/plugins")] == []
    (finding,) = doctor.plugin_clash("/opt/conda/plugins", "")
    assert "unset" in finding.remedy


def test_a_check_that_breaks_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch):
    def broken() -> Iterator[Finding]:
        yield Finding("first", "well")
        raise ImportError("libX is missing")

    monkeypatch.setattr(doctor, "CHECKS", (broken, lambda: iter([Finding("last", "well")])))
    said: list[str] = []
    assert doctor.report(said.append) == 1
    assert said[0] == "ok  first: well"
    assert "ImportError: libX is missing" in said[1]
    assert said[2:] == ["ok  last: well", "1 to mend"]


def test_what_is_optional_is_no_fault(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([Finding("a", "not there", "install it", optional=True)]),))
    said: list[str] = []
    assert doctor.report(said.append) == 0
    assert said == ["--  a: not there\n      → install it", "nothing to mend"]


def test_the_doctor_of_this_machine(tmp_path: Path):
    run = app("--doctor", cwd=tmp_path)
    assert "Traceback" not in run.stdout + run.stderr
    for what in ("edgepose", "machine", "Python", "onnxruntime", "OpenCV", "shipped models", "devices that", "camera"):
        assert f"  {what}" in run.stdout
    assert run.returncode == ("!!" in run.stdout)


def test_a_benchmark_is_json_and_nothing_else(tmp_path: Path, constant_model: Path):
    write_video(tmp_path / "clip.avi", 5000)
    args = ["--model", constant_model, "--detector", "none", "--source", "clip.avi", "--threads", 1]
    run = app(*args, "--benchmark", 2, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    measured = json.loads(run.stdout)
    assert 1 < measured["seconds"] < 60
    assert measured["fps"] == pytest.approx(measured["frames"] / measured["seconds"], rel=0.01)
    assert (measured["device"], measured["threads"], measured["interrupted"]) == ("cpu", 1, False)
    assert {"detect", "crop", "network", "decode", "track", "pose"} <= set(measured["stages_ms"])
    for row in measured["stages_ms"].values():
        assert row["p50"] <= row["p95"] <= row["p99"]
    assert [path.name for path in tmp_path.iterdir()] == ["clip.avi"]
    assert app(*args, "--benchmark", 1, "--json", "-", cwd=tmp_path).returncode == 2
