"""The app in a real X11 window, on a screen that is a file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose_app import display


class Screen:
    """An X server without a screen; its memory is a file that can be looked at."""

    def __init__(self, folder: Path) -> None:
        read, write = os.pipe()
        self._process = subprocess.Popen(
            [
                "Xvfb",
                "-displayfd",
                str(write),
                "-screen",
                "0",
                "1280x900x24",
                "-fbdir",
                str(folder),
                "-nolisten",
                "tcp",
            ],
            pass_fds=[write],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(write)
        with os.fdopen(read) as pipe:
            self.name = ":" + pipe.readline().strip()
        self._memory = folder / "Xvfb_screen0"

    def pixels(self) -> np.ndarray:  # -> [H, W, 3] BGR
        """The screen, from the XWD file that the server keeps its image in."""
        data = self._memory.read_bytes()
        header = np.frombuffer(data, ">u4", 25)
        size, width, height, stride, colors = (int(header[i]) for i in (0, 4, 5, 12, 19))
        start = size + 12 * colors
        rows = np.frombuffer(data, np.uint8, stride * height, start).reshape(height, stride)
        return rows[:, : 4 * width].reshape(height, width, 4)[..., :3]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed (apt-get install xvfb)")
    made = Screen(tmp_path)
    yield made
    made.close()


def test_a_window_on_a_real_screen(
    screen: Screen, tmp_path: Path, constant_model: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("matplotlib", reason="the demo's photograph comes with matplotlib")
    monkeypatch.setenv("DISPLAY", screen.name)
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    display.clear_opencv_qt()
    if reason := display.why_no_window():
        pytest.skip(reason)
    assert not screen.pixels().any()
    shot = tmp_path / "shot.png"
    args = ["--source", "demo", "--model", str(constant_model), "--screenshot", str(shot)]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgepose_app", *args], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    seen = 0.0
    while process.poll() is None:
        seen = max(seen, float(screen.pixels().std()))
        time.sleep(0.2)
    assert process.stderr is not None
    assert process.returncode == 0, process.stderr.read()
    process.stderr.close()
    assert seen > 25  # a photograph was on the screen itself
    window = cv2.imread(str(shot))
    assert window is not None
    assert window.std() > 25
