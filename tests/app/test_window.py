"""The window: offscreen in this process, and once on a real X11 screen whose pixels are looked at."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from doubles import FakeEstimator, write_video

from edgepose_app import cli, display
from edgepose_app.overlay import Cast, Look, compose
from edgepose_app.source import open_source


@pytest.fixture(scope="module")
def qapp() -> Iterator[Any]:
    """Qt without a screen, where its system libraries are installed."""
    display.clear_opencv_qt()
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    if reason := display.why_no_window():
        pytest.skip(reason)
    from PyQt6.QtWidgets import QApplication

    yield QApplication.instance() or QApplication(["test"])
    os.environ.pop("QT_QPA_PLATFORM")


def setup_for(spec: str, *options: str, estimator: FakeEstimator | None = None) -> Any:
    estimator = estimator or FakeEstimator()
    args = cli.parser().parse_args(["--source", spec, *options])
    cast = Cast.of(estimator.card, estimator.skeleton)
    return cli.Setup(args, spec, open_source(spec), estimator, cast)  # type: ignore[arg-type]


@pytest.fixture
def open_window(qapp: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    from edgepose_app.window import Window

    video = str(write_video(tmp_path / "numbers.avi", 500, fps=50.0))
    windows = []

    def make(*options: str, spec: str = video, estimator: FakeEstimator | None = None) -> Any:
        window = Window(setup_for(spec, *options, estimator=estimator), [])
        windows.append(window)
        window.resize(800, 600)
        window.show()
        return window

    yield make
    for window in windows:
        window.close()
    qapp.processEvents()


def spin(qapp: Any, condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Let Qt run until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        qapp.processEvents()
        time.sleep(0.005)


def pixels(window: Any) -> np.ndarray:  # -> [H, W, 3] BGR
    from PyQt6.QtGui import QImage

    image = window.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    data = np.frombuffer(image.constBits().asstring(image.sizeInBytes()), np.uint8)
    return data.reshape(image.height(), image.bytesPerLine() // 4, 4)[:, : image.width(), :3]


def test_pictures_come_on_screen_with_facts(qapp: Any, open_window: Callable[..., Any]):
    window = open_window()
    spin(qapp, lambda: window._shown > 10)
    window._refresh()
    view = pixels(window.view)
    assert view.std() > 20  # the numbered picture, black, grey and white
    assert (view[0, 0] < 20).all()  # letterboxed: 480 × 120 in a window that is higher
    facts = window.facts.text()
    assert "fps" in facts
    assert "ms old" in facts
    assert "1 person" in facts
    assert "fake on cpu" in facts
    assert 0 < window.view.age_ms < 5000
    assert "numbers.avi" in window.status.text()


def test_pokes_do_not_pile_up(qapp: Any):
    from edgepose_app.bridge import Bridge

    bridge, slots = Bridge(), []
    bridge.poked.connect(lambda: (bridge.settle(), slots.append(1)), type=qtype_queued())
    for _ in range(100):
        bridge.poke()
    qapp.processEvents()
    assert len(slots) == 1
    bridge.poke()
    qapp.processEvents()
    assert len(slots) == 2


def qtype_queued() -> Any:
    from PyQt6.QtCore import Qt

    return Qt.ConnectionType.QueuedConnection


def test_controls_change_the_look_alone(qapp: Any, open_window: Callable[..., Any]):
    window = open_window()
    spin(qapp, lambda: window._shown > 0)
    controls = window.controls
    controls.mirror_button.click()
    controls.group_buttons["face"].click()
    controls.threshold_slider.setValue(55)
    controls.boxes_button.click()
    assert window.view.look == Look(threshold=0.55, mirror=True, hidden=frozenset({"face"}), bboxes=True)


def test_a_wrong_path_is_said_and_the_window_lives(qapp: Any, open_window: Callable[..., Any], tmp_path: Path):
    window = open_window()
    spin(qapp, lambda: window._shown > 0)
    window._open(str(tmp_path / "nowhere.mp4"))
    spin(qapp, lambda: "no such file" in window._message())
    again = write_video(tmp_path / "again.avi", 50)
    window._open(str(again))
    shown = window._shown
    spin(qapp, lambda: window._shown > shown + 3)
    assert window._message() == ""
    assert window.exit_code == 0


def test_a_failing_net_is_said(qapp: Any, open_window: Callable[..., Any]):
    window = open_window(estimator=FakeEstimator(fail_at=2))
    spin(qapp, lambda: "the net fell over" in window._message())
    spin(qapp, lambda: window.exit_code == 1)


def test_the_end_and_again(qapp: Any, open_window: Callable[..., Any], tmp_path: Path):
    window = open_window(spec=str(write_video(tmp_path / "short.avi", 5)))
    spin(qapp, lambda: "The end" in window._message())
    window._space()
    shown = window._shown
    spin(qapp, lambda: window._shown > shown)


def test_screenshot_and_recording_buttons(
    qapp: Any, open_window: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    window = open_window()
    spin(qapp, lambda: window._shown > 0)
    window.controls.screenshot_button.click()
    (picture,) = (tmp_path / "output").glob("pose-*.png")
    assert cv2.imread(str(picture)).shape == (120, 480, 3)
    window.controls.record_button.click()
    shown = window._shown
    spin(qapp, lambda: window._shown > shown + 20)
    window.controls.record_button.click()
    (video,) = (tmp_path / "output").glob("recording-*.mp4")
    saved = cv2.VideoCapture(str(video))
    assert saved.get(cv2.CAP_PROP_FRAME_COUNT) >= 15
    saved.release()


def offscreen(*args: object, cwd: Path) -> subprocess.Popen[str]:
    """The app in a process of its own, with a window that nobody sees."""
    display.clear_opencv_qt()
    env = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-m", "edgepose_app", *map(str, args)]
    return subprocess.Popen(command, cwd=cwd, env=env, stderr=subprocess.PIPE, text=True)


@pytest.mark.usefixtures("qapp")
def test_a_single_picture_can_be_looked_at_and_photographed(tmp_path: Path, constant_model: Path):
    cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8))
    process = offscreen("--source", "a.png", "--model", constant_model, "--screenshot", "shot.png", cwd=tmp_path)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert cv2.imread(str(tmp_path / "shot.png")).std() > 25


@pytest.mark.usefixtures("qapp")
def test_ctrl_c_closes_the_window(tmp_path: Path, constant_model: Path):
    video = write_video(tmp_path / "numbers.avi", 500)
    process = offscreen("--source", video, "--model", constant_model, "--json", "out.jsonl", cwd=tmp_path)
    out = tmp_path / "out.jsonl"
    deadline = time.monotonic() + 60
    while (not out.exists() or out.stat().st_size == 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr
    assert out.read_text().endswith("}\n")


def test_an_exception_in_a_slot_does_not_abort(tmp_path: Path):
    """In a process of its own, as PyQt6's answer to an escaped exception is to abort."""
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from test_window import setup_for
from edgepose_app import view, window
from PyQt6.QtCore import QTimer
def broken(self):
    raise ZeroDivisionError("an unlucky slot")
window.Window._space = broken
real_show = window.Window.show
def show(self):
    real_show(self)
    QTimer.singleShot(300, self._space)
    QTimer.singleShot(900, self.close)
window.Window.show = show
sys.exit(window.show(setup_for(sys.argv[2]), []))
"""
    video = write_video(tmp_path / "numbers.avi", 100)
    env = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    display.clear_opencv_qt()
    if reason := display.why_no_window():
        pytest.skip(reason)
    run = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(video)],
        env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 1, run.stderr  # not −6
    assert "an unlucky slot" in run.stderr


def test_compose_mirrors_the_picture_and_the_points_together():
    estimator = FakeEstimator()
    image = np.zeros((100, 200, 3), np.uint8)
    poses = estimator(image, timestamp=0.0)
    poses.keypoints[..., 0] = 20  # everything at the left
    cast = Cast.of(estimator.card, estimator.skeleton)
    plain, mirrored = compose(image, poses, cast, Look()), compose(image, poses, cast, Look(mirror=True))
    assert plain[:, :100].any()
    assert not plain[:, 100:].any()
    assert mirrored[:, 100:].any()
    assert not mirrored[:, :100].any()
    assert not image.any()  # drawn on a copy
    hidden = compose(image, poses, cast, Look(hidden=frozenset({"body", "face", "hands"})))
    assert not hidden.any()
    assert not compose(image, poses, cast, Look(threshold=0.95)).any()
    assert compose(image, poses, cast, Look(), size=(400, 200)).shape == (200, 400, 3)


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
        """The screen, from the XWD file that the server keeps its picture in."""
        data = self._memory.read_bytes()
        header = np.frombuffer(data, ">u4", 25)
        size, width, height, stride, colours = (int(header[i]) for i in (0, 4, 5, 12, 19))
        start = size + 12 * colours
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
