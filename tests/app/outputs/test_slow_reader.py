"""An output whose reader is slow or has stopped: results stay new, or the run waits, and the end always comes."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator

import pytest
from test_outputs import StalledOutput, result

from edgepose_app.outputs import Recorder
from edgepose_app.outputs.jsonl import JsonlStream

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes that can be asked")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


def numbers(reader: int) -> list[int]:
    """Of the frames in a pipe whose writer has closed it; a line that was cut short at the end does not count."""
    data = b""
    while piece := os.read(reader, 1 << 16):
        data += piece
    return [json.loads(line)["frame"] for line in data.split(b"\n")[:-1]]


def test_of_live_images_a_slow_reader_gets_the_newest(pipe: tuple[int, int]):
    reader, writer = pipe
    recorder = Recorder([JsonlStream("--json -", writer, live=True)])
    for number in range(500):
        recorder(result(number, number / 30))
    assert recorder.dropped > 400  # what is in the pipe is old by now; 500 lines are ten times its smallest size
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.extend(numbers(reader)))
    thread.start()
    recorder.close(hurry=False)
    thread.join(30)
    assert seen[-1] == 499
    assert seen == sorted(seen)
    assert len(seen) + recorder.dropped == 500
    assert recorder.complaints() == [f"--json -: {recorder.dropped} frames were left out: its reader is too slow"]


def test_of_a_file_a_slow_reader_gets_everything(pipe: tuple[int, int]):
    reader, writer = pipe
    recorder = Recorder([JsonlStream("--json -", writer, live=False)], lossless=True)
    seen: list[int] = []

    def read_late() -> None:
        time.sleep(0.3)
        seen.extend(numbers(reader))

    thread = threading.Thread(target=read_late)
    thread.start()
    for number in range(2000):  # more than a pipe holds
        recorder(result(number, number / 30))
    recorder.close(hurry=False)
    thread.join(30)
    assert seen == list(range(2000))
    assert recorder.complaints() == []


@pytest.mark.parametrize("lossless", [False, True])
def test_a_reader_who_has_stopped_does_not_hold_the_end(pipe: tuple[int, int], lossless: bool):
    reader, writer = pipe
    recorder = Recorder([JsonlStream("--json -", writer, live=True)], lossless=lossless)
    feeding = threading.Thread(target=lambda: [recorder(result(n, n / 30)) for n in range(2000)], daemon=True)
    feeding.start()
    time.sleep(0.5)  # until the pipe is full; whatever has arrived by then, the end must come
    ended = threading.Thread(target=recorder.close, daemon=True)
    ended.start()
    ended.join(60)
    feeding.join(60)
    assert not ended.is_alive()
    assert not feeding.is_alive()
    assert recorder.complaints()[0].endswith("its reader is too slow")
    assert len(numbers(reader)) < 2000


def test_a_reader_who_leaves_is_no_mistake():
    reader, writer = os.pipe()
    os.close(reader)
    recorder = Recorder([JsonlStream("--json -", writer, live=True)])
    recorder(result(0, 0.0))
    recorder.close()
    assert isinstance(recorder.error, BrokenPipeError)


def test_a_disk_that_does_not_answer_does_not_hold_the_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edgepose_app.outputs.feed.FILE_PATIENCE", 0.2)
    stalled = StalledOutput()
    recorder = Recorder([stalled])
    recorder(result(0, 0.0))
    ended = threading.Thread(target=recorder.close, daemon=True)
    ended.start()
    ended.join(60)
    assert not ended.is_alive()
    assert recorder.complaints()[-1] == "recording: a file could not be finished: its disk does not answer"
    stalled.go_on.set()
