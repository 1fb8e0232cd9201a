"""The camera code against a live stream on loopback, which dies, freezes and comes back."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from doubles import FakeEstimator, Stream, decode_number

from edgepose import EdgeposeError
from edgepose_app.engine import Engine
from edgepose_app.sources import camera, open_source
from edgepose_app.sources.camera import CameraSettings, FreezeWatch, LiveCapture, list_cameras


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_slow_net_does_not_make_the_stream_old(stream: Stream):
    engine = Engine(FakeEstimator(delay=0.15), realtime=False)
    engine.open(lambda: LiveCapture(stream.url))
    behind = []
    for result in engine.results():
        if result is not None:
            behind.append(stream.sent - decode_number(result.frame.image))
        if len(behind) == 15:
            break
    engine.stop()
    # The net sees every sixth image. Plain read() in the same thread would fall behind by five images per result, to a
    # median of 35 or more; on a busy machine single results may be late.
    assert statistics.median(behind) <= 25


def test_a_dead_stream_is_opened_again(stream: Stream, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(camera, "RETRY_DELAYS", (0.05,))
    source = open_source(stream.url)
    assert source.live
    assert "480×120" in source.description
    first = source.read()
    assert first is not None
    frames = [first]
    reader = threading.Thread(target=lambda: [frames.append(frame) for _ in range(400) if (frame := source.read())])
    reader.start()
    wait_until(lambda: len(frames) > 5)
    stream.dead = True
    wait_until(lambda: "opening it again" in source.message)
    stopped_at = len(frames)
    stream.dead = False
    wait_until(lambda: len(frames) > stopped_at + 5)
    source.stop()
    reader.join(10)
    assert not reader.is_alive()
    assert source.message == ""
    assert stream.connections >= 2
    times = [frame.time for frame in frames]
    assert times == sorted(times)  # the clock goes on, it does not restart
    source.close()


def test_a_frozen_stream_is_opened_again(stream: Stream, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(camera, "RETRY_DELAYS", (0.05,))
    monkeypatch.setattr(camera, "FROZEN_AFTER", 0.5)
    stream.frozen = True
    source = LiveCapture(stream.url)
    assert source.read() is not None
    reader = threading.Thread(target=lambda: [source.read() for _ in range(200)])
    reader.start()
    wait_until(lambda: stream.connections >= 2)
    source.stop()
    reader.join(10)
    assert not reader.is_alive()
    source.close()


def test_stop_ends_the_waiting_for_a_dead_stream(stream: Stream):
    source = LiveCapture(stream.url)
    stream.dead = True
    got: list[object] = []

    def read_to_the_end() -> None:
        while source.read() is not None:
            pass
        got.append(None)

    reader = threading.Thread(target=read_to_the_end)
    reader.start()
    wait_until(lambda: "opening it again" in source.message)
    source.stop()
    reader.join(10)
    assert got == [None]
    source.close()


def test_freeze_watch():
    watch = FreezeWatch(after=5.0)
    still, other = np.zeros((16, 16, 3), np.uint8), np.ones((16, 16, 3), np.uint8)
    assert not watch.frozen(still, 0.0)
    assert not watch.frozen(still, 4.9)
    assert not watch.frozen(other, 5.1)  # something moved
    assert not watch.frozen(other, 10.0)
    assert watch.frozen(other, 10.2)
    assert not watch.frozen(other, 15.3)  # the next alarm needs twice as long
    assert watch.frozen(other, 20.3)


def test_nobody_at_the_address(stream: Stream):
    stream.dead = True
    with pytest.raises(EdgeposeError, match="no video stream there"):
        LiveCapture(stream.url)


def test_no_such_camera():
    number = max(list_cameras(), default=0) + 77
    with pytest.raises(EdgeposeError, match=f"camera {number}: there is no such camera"):
        open_source(number)


CAMERAS = {0: "Integrated Camera", 2: "HD Webcam C920", 4: "HD Webcam C920", 6: "Integrated Camera: IR"}


@pytest.mark.parametrize(
    ("name", "number"), [("integrated camera", 0), ("IR", 6), ("Integrated Camera: IR", 6), ("hd webcam c920", 2)]
)
def test_cameras_by_name(monkeypatch: pytest.MonkeyPatch, name: str, number: int):
    monkeypatch.setattr(camera, "list_cameras", lambda: CAMERAS)
    assert camera.find_camera(name) == number


@pytest.mark.parametrize(
    ("name", "sentence"), [("Logitech", "no camera has such a name"), ("Webcam", "several cameras have such a name")]
)
def test_a_name_that_is_no_cameras_or_several(monkeypatch: pytest.MonkeyPatch, name: str, sentence: str):
    monkeypatch.setattr(camera, "list_cameras", lambda: CAMERAS)
    with pytest.raises(EdgeposeError, match=rf"{sentence}; cameras here: 0 \(Integrated Camera\), 2"):
        camera.find_camera(name)


class Device:
    """A camera that knows one size, format and rate."""

    def __init__(self, *_args: object) -> None:
        self.asked: dict[int, float] = {}

    def isOpened(self) -> bool:
        return True

    def set(self, prop: int, value: float) -> bool:
        self.asked[prop] = value
        return True

    def get(self, prop: int) -> float:
        return {cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"YUYV")}.get(prop, 0.0)

    def read(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((480, 640, 3), np.uint8)

    def release(self) -> None: ...


@pytest.mark.parametrize(
    ("settings", "description"),
    [
        (CameraSettings(), "camera 0 · 640×480 · YUYV · 30 fps"),
        (CameraSettings((640, 480), 30, "YUYV"), "camera 0 · 640×480 · YUYV · 30 fps"),
        (
            CameraSettings((1920, 1080), 60, "MJPG"),
            "camera 0 · 640×480 · YUYV · 30 fps (asked for 1920×1080 · MJPG · 60 fps)",
        ),
    ],
)
def test_what_a_camera_agreed_to_is_said(monkeypatch: pytest.MonkeyPatch, settings: CameraSettings, description: str):
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    source = LiveCapture(0, settings)
    assert source.description == description
    asked = source._capture.asked  # type: ignore[attr-defined]
    width, height = settings.size or (1280, 720)
    assert (asked[cv2.CAP_PROP_FRAME_WIDTH], asked[cv2.CAP_PROP_FRAME_HEIGHT]) == (width, height)
    assert asked[cv2.CAP_PROP_FPS] == (settings.fps or 30)
    assert asked[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*(settings.format or "MJPG"))
    source.rotation = 90
    frame = source.read()
    assert frame is not None
    assert frame.image.shape == (640, 480, 3)
