"""The window, offscreen."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from doubles import FakeEstimator, Stream, decode_number, write_video

from edgepose_app import display
from edgepose_app.context import AppContext
from edgepose_app.options import AppOptions
from edgepose_app.overlay import OverlayOptions, SkeletonStyle
from edgepose_app.sources import open_source


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


def context_for(spec: str, *options: str, estimator: FakeEstimator | None = None) -> Any:
    estimator = estimator or FakeEstimator()
    style = SkeletonStyle.of(estimator.card, estimator.skeleton)
    return AppContext(AppOptions.parse(["--source", spec, *options]), spec, open_source(spec), estimator, style)  # type: ignore[arg-type]


@pytest.fixture
def open_window(qapp: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    from edgepose_app.gui.window import Window

    video = str(write_video(tmp_path / "numbers.avi", 500, fps=50.0))
    windows = []

    def make(*options: str, spec: str = video, estimator: FakeEstimator | None = None) -> Any:
        window = Window(context_for(spec, *options, estimator=estimator), [])
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


def test_images_come_on_screen_with_facts(qapp: Any, open_window: Callable[..., Any]):
    window = open_window()
    spin(qapp, lambda: window._shown > 10)
    window._refresh()
    view = pixels(window.view)
    assert view.std() > 20  # the numbered image, black, gray and white
    assert (view[0, 0] < 20).all()  # letterboxed: 480 × 120 in a window that is higher
    facts = window.status.facts.text()
    assert "fps" in facts
    assert "ms old" in facts
    assert "1 person" in facts
    assert "fake on cpu" in facts
    assert 0 < window.view.age_ms() < 5000
    assert "numbers.avi" in window.status.left.text()


def test_notifications_do_not_pile_up(qapp: Any):
    from edgepose_app.gui.bridge import Bridge

    bridge, slots = Bridge(), []
    bridge.notified.connect(lambda: (bridge.acknowledge(), slots.append(1)), type=qtype_queued())
    for _ in range(100):
        bridge.notify()
    qapp.processEvents()
    assert len(slots) == 1
    bridge.notify()
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
    assert window.view.overlay == OverlayOptions(threshold=0.55, mirror=True, hidden=frozenset({"face"}), bboxes=True)


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


def test_several_sources_follow_each_other(qapp: Any, open_window: Callable[..., Any], tmp_path: Path):
    """What was dropped: a folder of videos and one that is no video, which does not stop the rest."""
    (tmp_path / "clips").mkdir()
    clips = [write_video(tmp_path / "clips" / name, 3) for name in ("b.avi", "d.avi")]
    (tmp_path / "clips" / "c.mp4").write_text("no video")
    window = open_window()
    spin(qapp, lambda: window._shown > 2)
    window._open_all([str(tmp_path / "clips"), str(tmp_path / "numbers.avi")])
    spin(qapp, lambda: window._spec == str(clips[1]))
    spin(qapp, lambda: window._spec == str(tmp_path / "numbers.avi"))
    spin(qapp, lambda: "numbers.avi" in window.status.left.text())
    window._open_all([str(tmp_path / "nothing*.mp4")])
    assert "no image and no video has such a name" in window.status.left.text()
    assert window._spec == str(tmp_path / "numbers.avi")


def test_screenshot_and_recording_buttons(
    qapp: Any, open_window: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    window = open_window()
    spin(qapp, lambda: window._shown > 0)
    window.controls.screenshot_button.click()
    (image,) = (tmp_path / "output").glob("pose-*.png")
    assert cv2.imread(str(image)).shape == (120, 480, 3)
    window.controls.record_button.click()
    shown = window._shown
    spin(qapp, lambda: window._shown > shown + 20)
    window.controls.record_button.click()
    (video,) = (tmp_path / "output").glob("recording-*.mp4")
    saved = cv2.VideoCapture(str(video))
    assert saved.get(cv2.CAP_PROP_FRAME_COUNT) >= 15
    saved.release()


def test_a_saved_image_is_not_mirrored(
    qapp: Any, open_window: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    window = open_window("--mirror", "--threshold", "0.95")
    spin(qapp, lambda: window._shown > 3)
    assert window.view.overlay.mirror
    number = window.view.result.frame.index
    window.controls.screenshot_button.click()
    (image,) = (tmp_path / "output").glob("pose-*.png")
    assert decode_number(cv2.imread(str(image))) == number


def test_the_age_of_the_shown_frame_is_in_milliseconds(qapp: Any, open_window: Callable[..., Any]):
    window = open_window(estimator=FakeEstimator(delay=0.05))
    spin(qapp, lambda: window._shown > 2)
    assert 50 <= window.view.age_ms() < 5000


@pytest.mark.parametrize("stop", ["pause", "end", "stream"])
def test_an_image_that_stands_still_grows_old(
    qapp: Any, open_window: Callable[..., Any], tmp_path: Path, stream: Stream, stop: str
):
    spec = {"end": str(write_video(tmp_path / "short.avi", 5)), "stream": stream.url}.get(stop)
    window = open_window(spec=spec) if spec else open_window()
    spin(qapp, lambda: window._shown > 3)
    if stop == "pause":
        window.controls.pause_button.click()
    stream.dead = True
    spin(qapp, lambda: window.view.age_ms() > 1500)
    spin(qapp, lambda: " s old" in window.status.facts.text())
    captured = window.view.result.frame.captured
    assert window.view.age_ms(now=captured + 60.0) == pytest.approx(60_000)


def test_nothing_of_the_old_source_stays_on_screen(qapp: Any, open_window: Callable[..., Any], tmp_path: Path):
    window = open_window()
    spin(qapp, lambda: window._shown > 0)
    window._open(str(tmp_path / "nowhere.mp4"))
    spin(qapp, lambda: "no such file" in window._message())
    window._refresh()
    assert window.view.result is None
    strip = pixels(window.view)[210 * window.view.height() // 600 :][:20]  # of the old image, above the message
    assert strip.std(axis=(0, 1)).max() < 1
    assert window.status.left.text() == ""
    assert "old" not in window.status.facts.text()


def test_a_window_is_there_while_its_address_hangs(qapp: Any, constant_model: Path):
    from edgepose_app.context import make_context
    from edgepose_app.gui.window import Window

    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/hang"
        context = make_context(AppOptions.parse(["--source", url, "--model", str(constant_model)]), patience=0.1)
        window = Window(context, [])
        window.show()
        spin(qapp, lambda: window._message().startswith(f"Opening {url}… "))
        window.close()


def offscreen(*args: object, cwd: Path) -> subprocess.Popen[str]:
    """The app in a process of its own, with a window that nobody sees."""
    display.clear_opencv_qt()
    env = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-m", "edgepose_app", *map(str, args)]
    return subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.usefixtures("qapp")
def test_a_single_image_can_be_looked_at_and_photographed(tmp_path: Path, constant_model: Path):
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


@pytest.mark.usefixtures("qapp")
def test_the_window_closes_when_nobody_reads_the_lines(tmp_path: Path, constant_model: Path):
    """`edgepose-app --json - | head -1`"""
    video = write_video(tmp_path / "numbers.avi", 2000)
    process = offscreen("--source", video, "--model", constant_model, "--json", "-", cwd=tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith("{")
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=30) == 0, stderr
    assert "Broken" not in stderr


def test_an_exception_in_a_slot_does_not_abort(tmp_path: Path):
    """In a process of its own, as PyQt6's answer to an escaped exception is to abort."""
    code = """
import sys
sys.path += sys.argv[1:3]
from test_window import context_for
from edgepose_app.gui import launch, window
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
sys.exit(launch.show(context_for(sys.argv[3]), []))
"""
    video = write_video(tmp_path / "numbers.avi", 100)
    env = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    display.clear_opencv_qt()
    if reason := display.why_no_window():
        pytest.skip(reason)
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, (*Path(__file__).parents[:2], video))],
        env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 1, run.stderr  # not −6
    assert "an unlucky slot" in run.stderr


def test_a_minimized_window_computes_only_what_is_kept(
    qapp: Any, open_window: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    estimator = FakeEstimator()
    window = open_window(estimator=estimator)
    spin(qapp, lambda: estimator.calls > 3)
    window.showMinimized()
    spin(qapp, lambda: window.engine.paused)
    time.sleep(0.3)  # what was under way
    calls = estimator.calls
    wait = time.monotonic() + 1
    spin(qapp, lambda: time.monotonic() > wait)
    assert estimator.calls == calls
    window.controls.record_button.click()
    spin(qapp, lambda: estimator.calls > calls + 3)
    window.controls.record_button.click()
    spin(qapp, lambda: window.engine.paused)
    window.showNormal()
    calls = estimator.calls
    spin(qapp, lambda: estimator.calls > calls + 3)
    window.controls.pause_button.click()
    window.showMinimized()
    window.showNormal()
    qapp.processEvents()
    assert window.engine.paused  # by the user, so it stays


def test_passwords_are_not_on_screen(qapp: Any, open_window: Callable[..., Any]):
    window = open_window()
    window._open("rtsp://admin:hunter2@127.0.0.1:9/x")
    spin(qapp, lambda: window.engine.message not in ("", "opening…"))
    box = window.controls.source_box
    said = [box.itemText(n) for n in range(box.count())] + [
        window.engine.message,
        window.status.left.text(),
        window._message(),
    ]
    assert "hunter2" not in " ".join(said)
