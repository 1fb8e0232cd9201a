"""Outputs: times, frame rates, file names and failures."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from doubles import FakeEstimator, Stream, decode_number, encode_number

from edgepose import EdgeposeError, Poses
from edgepose_app import headless
from edgepose_app.engine import Result
from edgepose_app.outputs import ImagesOutput, JsonlOutput, Recorder, RunInfo, VideoOutput, close_all, open_output
from edgepose_app.overlay import OverlayOptions, SkeletonStyle, fitted
from edgepose_app.sources import Frame
from edgepose_app.sources.camera import LiveCapture

STYLE = SkeletonStyle.of(FakeEstimator.card, FakeEstimator.skeleton)
RUN = RunInfo(STYLE, OverlayOptions(), 30.0, live=False)


def result(number: int, time: float, file: str | None = None) -> Result:
    """A numbered image without people."""
    return Result(Frame(encode_number(number), number, time, file), Poses.empty(133), {"pose": 1.0})


def test_fitted():
    boxed = fitted(np.full((100, 100, 3), 255, np.uint8), (200, 100))
    assert boxed.shape == (100, 200, 3)
    assert boxed[:, 50:150].all()
    assert not boxed[:, :50].any()
    assert not boxed[:, 150:].any()


def test_endings_choose_the_output(tmp_path: Path):
    assert isinstance(open_output(str(tmp_path / "a.avi"), RUN), VideoOutput)
    assert isinstance(open_output(str(tmp_path / "a.png"), RUN), ImagesOutput)
    assert isinstance(open_output(str(tmp_path / "folder"), RUN), ImagesOutput)
    with pytest.raises(EdgeposeError, match=r"unknown ending \.doc"):
        open_output("a.doc", RUN)


def test_images_keep_their_names(tmp_path: Path):
    output = ImagesOutput(str(tmp_path / "out"), STYLE, OverlayOptions())
    output.write(result(7, 0.0, file="deeper/a.png"))
    output.write(result(8, 1.0))
    assert "2 annotated images" in output.close()
    assert decode_number(cv2.imread(str(tmp_path / "out" / "deeper" / "a.png"))) == 7
    assert decode_number(cv2.imread(str(tmp_path / "out" / "frame000008.jpg"))) == 8


def test_places_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(EdgeposeError, match="choose another place"):
        JsonlOutput(str(tmp_path / "file" / "a.jsonl"))
    with pytest.raises(EdgeposeError, match="choose another place"):
        ImagesOutput(str(tmp_path / "file" / "out"), STYLE, OverlayOptions()).write(result(0, 0.0))
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(EdgeposeError, match=r"a.mp4: cannot be written \(Is a directory\); choose another place"):
        VideoOutput(str(tmp_path / "a.mp4"), 30, STYLE, OverlayOptions()).write(result(0, 0.0))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="the folder in which nobody can write, of Linux")
@pytest.mark.parametrize("name", ["x.mp4", "x.png", "x.avi"])
def test_a_folder_that_takes_no_files_is_blamed_not_the_ending(name: str):
    with pytest.raises(
        EdgeposeError, match=rf"/proc/{name}: cannot be written \(.+\); choose another place for --save"
    ):
        open_output(f"/proc/{name}", RUN).write(result(0, 0.0))


def test_lines_can_be_followed_while_they_are_written(tmp_path: Path):
    output = JsonlOutput(str(tmp_path / "a.jsonl"))
    output.write(result(3, 0.25, file="x.png"))
    record = json.loads((tmp_path / "a.jsonl").read_text())  # before close
    assert record == {
        "frame": 3, "time": 0.25, "file": "x.png", "size": [480, 120], "people": [], "timings_ms": {"pose": 1.0},
    }  # fmt: skip
    assert output.close() == f"{tmp_path / 'a.jsonl'}: 1 line"


def test_names_of_formats_without_color_get_another_ending(tmp_path: Path):
    output = ImagesOutput(str(tmp_path), STYLE, OverlayOptions())
    output.write(result(7, 0.0, file="a.pgm"))
    assert decode_number(cv2.imread(str(tmp_path / "a.pgm.png"))) == 7


def test_a_full_disk_is_one_sentence(tmp_path: Path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    (tmp_path / "a.jsonl").symlink_to("/dev/full")
    output = JsonlOutput(str(tmp_path / "a.jsonl"))
    with pytest.raises(EdgeposeError, match="cut short after 0 lines"):
        output.write(result(0, 0.0))
    with pytest.raises(EdgeposeError, match="cut short"):
        output.close()


def test_one_file_that_fails_does_not_keep_the_others_open(tmp_path: Path):
    class Failing:
        def write(self, _result: Result) -> None: ...

        def close(self) -> str:
            raise EdgeposeError("a: cannot be finished")

    lines = JsonlOutput(str(tmp_path / "b.jsonl"))
    with pytest.raises(EdgeposeError, match="a: cannot be finished"):
        close_all([Failing(), lines])
    with pytest.raises(ValueError, match="closed file"):
        lines.write(result(0, 0.0))


class StalledOutput:
    """Writes nothing before it may, and fails at the fifth frame."""

    def __init__(self) -> None:
        self.written = 0
        self.go_on = threading.Event()

    def write(self, _result: Result) -> None:
        assert self.go_on.wait(60)
        self.written += 1
        if self.written == 5:
            raise OSError("the disk is full")

    def close(self) -> str:
        return f"{self.written} written"


def test_a_slow_disk_never_delays_the_next_pose():
    output = StalledOutput()
    recorder = Recorder([output])
    for number in range(200):
        recorder(result(number, number / 30))
    assert recorder.dropped >= 200 - 17  # one is being written, sixteen wait
    output.go_on.set()
    assert recorder.close() == ["5 written"]
    left_out = f"{recorder.dropped} frames were left out: the disk is too slow"
    assert recorder.complaints() == [left_out, "recording: the disk is full"]


def test_an_output_that_stands_still_does_not_hold_the_others(tmp_path: Path):
    stalled, lines = StalledOutput(), JsonlOutput(str(tmp_path / "a.jsonl"))
    recorder = Recorder([stalled, lines])
    for number in range(10):
        recorder(result(number, number / 30))
    deadline = time.monotonic() + 30
    while len((tmp_path / "a.jsonl").read_text().splitlines()) < 10:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    stalled.go_on.set()
    assert any("a.jsonl: 10 lines" in said for said in recorder.close())


def test_a_dead_stream_does_not_make_a_limited_run_endless(stream: Stream):
    source = LiveCapture(stream.url)
    stream.dead = True
    said: list[str] = []
    start = time.monotonic()
    report = headless.run(source, FakeEstimator(), [], duration=4.0, progress=said.append)
    assert time.monotonic() - start < 30
    assert report.frames < 100
    assert any("opening it again" in line for line in said)
