"""Missing displays, and what Qt reports about them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgepose_app import display


def test_a_display_that_is_not_there(tmp_path: Path, constant_model: Path):
    env = {**os.environ, "DISPLAY": ":987", "QT_QPA_PLATFORM": "xcb"}
    run = subprocess.run(
        [sys.executable, "-m", "edgepose_app", "--source", "demo", "--model", str(constant_model)],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert "--headless" in run.stderr


@pytest.mark.parametrize(
    ("last_words", "sentence"),
    [
        ("ImportError: libEGL.so.1: cannot open shared object file: No such file", "apt-get install libegl1"),
        (
            "Cannot load library libqxcb.so: (libxcb-cursor.so.0: cannot open shared object file: No such file)\n"
            "Cannot load library libqwayland.so: (libwayland-egl.so.1: cannot open shared object file)\nAborted",
            "apt-get install libxcb-cursor0 ",
        ),
        ("ImportError: libodd.so.3: cannot open shared object file", "(the package with libodd.so.3)"),
        ("ModuleNotFoundError: No module named 'PyQt6'", "pip install 'edgepose[app]'"),
        ("qt.qpa.xcb: could not connect to display :5\nAborted", "cannot be reached"),
        ("something else", "something else"),
    ],
)
def test_the_last_words_of_qt_become_a_sentence(last_words: str, sentence: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(display, "_loads", lambda _library: True)
    explained = display.explain(last_words)
    assert sentence in explained
    assert "--headless" in explained


def test_all_missing_libraries_are_named_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(display, "_loads", lambda library: library != "libxcb-keysyms.so.1")
    said = display.explain("(libxcb-cursor.so.0: cannot open shared object file: No such file or directory)")
    assert "apt-get install libxcb-cursor0 libxcb-keysyms1 " in said
    assert "wayland" not in said


def test_opencv_does_not_lead_qt_astray(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("QT_QPA_PLATFORM_PLUGIN_PATH", "/somewhere/cv2/qt/plugins")
    monkeypatch.setenv("QT_QPA_FONTDIR", "/chosen/by/the/user")
    display.clear_opencv_qt()
    assert "QT_QPA_PLATFORM_PLUGIN_PATH" not in os.environ
    assert os.environ["QT_QPA_FONTDIR"] == "/chosen/by/the/user"
