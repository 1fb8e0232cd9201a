"""Recorded videos: the time of capture, what survives a kill and a full disk, sound, colors, every format."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from doubles import FakeEstimator, encode_number, read_clip, seconds_of, write_clip

from edgepose import EdgeposeError, Poses
from edgepose_app.engine import Result
from edgepose_app.outputs import VideoOutput
from edgepose_app.outputs.encoder import FORMATS, CheckedFile, Encoder
from edgepose_app.overlay import OverlayOptions, SkeletonStyle
from edgepose_app.sources import Frame
from edgepose_app.sources.video import VideoFile

STYLE = SkeletonStyle.of(FakeEstimator.card, FakeEstimator.skeleton)
EVERY = sorted(FORMATS)


def result(number: int, time: float, stream: int = 0, duration: float | None = None) -> Result:
    """A numbered image without people."""
    return Result(Frame(encode_number(number), number, time, stream=stream, duration=duration), Poses.empty(133), {})


def video(path: Path, fps: float = 10.0, sound: Path | None = None) -> VideoOutput:
    return VideoOutput(str(path), fps, STYLE, OverlayOptions(), sound=str(sound) if sound else None)


def record(path: Path, times: list[float], fps: float = 10.0) -> str:
    output = video(path, fps)
    for number, time in enumerate(times):
        output.write(result(number, time))
    return output.close()


LONG_GAP = [5.0, 5.1, 5.4, 5.42, 5.5, 125.0]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".ts", ".flv"])
def test_frames_keep_the_time_of_capture(tmp_path: Path, suffix: str):
    """Gaps, pauses and irregular rates: a time lapse lasts as long as what it shows."""
    path = tmp_path / "deep" / f"a{suffix}"
    assert f"a{suffix}: 120.1 s of video" in record(path, LONG_GAP)
    numbers, times = read_clip(path)
    assert numbers == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(np.array(times) - times[0], np.array(LONG_GAP) - 5, atol=0.002)
    if suffix != ".ts":  # it states no duration
        assert seconds_of(path) == pytest.approx(120.1, abs=0.05)


@pytest.mark.parametrize("suffix", [".avi", ".wmv", ".mpg"])
def test_formats_of_a_constant_rate_last_as_long_as_the_source(tmp_path: Path, suffix: str):
    path = tmp_path / f"a{suffix}"
    record(path, [0.0, 1 / 25, 3.0, 3.04, 12.0], fps=25)
    _, times = read_clip(path)
    lasted = (len(times) - 1) / 25 if suffix == ".mpg" else times[-1] - times[0]
    assert lasted == pytest.approx(12.0, abs=0.05)


@pytest.mark.parametrize("suffix", EVERY)
def test_every_format_holds_every_frame(tmp_path: Path, suffix: str):
    path = tmp_path / f"a{suffix}"
    assert "0.8 s" in record(path, [number / 25 for number in range(20)], fps=25)
    assert read_clip(path)[0] == list(range(20))
    if suffix not in (".mpg", ".mpeg"):  # which stamp some frames only
        assert seconds_of(path) == pytest.approx(0.8, abs=0.09)


def test_the_last_frame_lasts_as_long_as_in_the_source(tmp_path: Path):
    output = video(tmp_path / "a.mp4")
    output.write(result(0, 0.0))
    output.write(result(1, 0.1, duration=4.0))
    output.close()
    assert seconds_of(tmp_path / "a.mp4") == pytest.approx(4.1, abs=0.01)


def test_another_source_follows_the_first(tmp_path: Path):
    output = video(tmp_path / "a.mp4")
    for number, (stream, time) in enumerate([(1, 0.0), (1, 0.1), (2, 700.0), (2, 700.3), (2, 0.0)]):
        output.write(result(number, time, stream))
    output.close()
    numbers, times = read_clip(tmp_path / "a.mp4")
    assert numbers == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(times, [0.0, 0.1, 0.2, 0.5, 0.6], atol=0.001)


def test_frames_without_a_place_at_a_constant_rate_are_counted(tmp_path: Path):
    assert "3 frames left out" in record(tmp_path / "a.avi", [number / 100 for number in range(6)], fps=50)


def test_a_video_of_images_of_several_sizes(tmp_path: Path):
    output = video(tmp_path / "a.mp4", 1.0)
    output.write(result(1, 0.0))
    tall = Frame(np.full((300, 100, 3), 255, np.uint8), 1, 1.0)
    output.write(Result(tall, Poses.empty(133), {}))
    output.close()
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert [(frame.height, frame.width) for frame in container.decode(video=0)] == [(120, 480)] * 2


def test_an_image_of_one_pixel_makes_a_video(tmp_path: Path):
    output = video(tmp_path / "a.mp4", 1.0)
    output.write(Result(Frame(np.full((1, 1, 3), 255, np.uint8), 0, 0.0), Poses.empty(133), {}))
    assert "1.0 s" in output.close()


def test_browsers_and_phones_play_it(tmp_path: Path):
    record(tmp_path / "a.mp4", [0.0, 0.1])
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
    boxes, at, data = [], 0, (tmp_path / "a.mp4").read_bytes()
    while at < len(data):
        boxes.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4], "big")
    assert boxes.count(b"moov") == 1
    assert b"moof" not in boxes  # a plain MP4 in the end


@pytest.mark.parametrize("suffix", EVERY)
def test_colors_arrive(tmp_path: Path, suffix: str):
    """Read back by what the file says of its colors, or by what players assume where it says nothing."""
    image = np.zeros((144, 192, 3), np.uint8)
    for place, color in enumerate([(200, 30, 30), (30, 200, 30), (30, 30, 200), (230, 230, 230)]):
        image[:, 48 * place : 48 * (place + 1)] = color
    output = video(tmp_path / f"a{suffix}", 25)
    for number in range(25):
        output.write(Result(Frame(image, number, number / 25), Poses.empty(133), {}))
    output.close()
    frame = VideoFile(tmp_path / f"a{suffix}").read()
    assert frame is not None
    difference = np.abs(frame.image.astype(int) - image)[:, [24, 72, 120, 168]]
    assert difference.max() <= 16


def test_an_unknown_format_is_refused_at_once():
    with pytest.raises(EdgeposeError, match=r"\.ogv is not written; use \.mp4"):
        VideoOutput("a.ogv", 30, STYLE, OverlayOptions())


def test_without_pyav_a_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(EdgeposeError, match=r"PyAV: pip install 'edgepose\[app\]'"):
        VideoOutput("a.mp4", 30, STYLE, OverlayOptions())


# Sound --------------------------------------------------------------------------------------------------------------


def packets_of(path: Path, kind: str) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        packets = [packet for packet in container.demux(stream) if packet.dts is not None]
        return [(float((packet.pts or 0) * packet.time_base), bytes(packet)) for packet in packets]


def copy(source: Path, target: Path, frames: int = 1000) -> str:
    clip = VideoFile(source)
    output = video(target, clip.fps, Path(clip.sound) if clip.sound else None)
    while (frame := clip.read()) is not None and frame.index < frames:
        output.write(Result(frame, Poses.empty(133), {}))
    clip.close()
    return output.close()


@pytest.mark.parametrize("start", [0.0, 5.0])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mov", ".flv"])
def test_the_sound_is_copied_at_its_time(tmp_path: Path, suffix: str, start: float):
    source = write_clip(tmp_path / "in.mkv", [n / 25 for n in range(50)], sound=4.0, start=start)
    copy(source, tmp_path / f"out{suffix}")
    before, after = packets_of(source, "audio"), packets_of(tmp_path / f"out{suffix}", "audio")
    first = packets_of(source, "video")[0][0], packets_of(tmp_path / f"out{suffix}", "video")[0][0]
    assert after[-1][0] - after[0][0] == pytest.approx(2.0, abs=0.1)  # as long as the images
    known = {data: time - first[0] for time, data in before}
    late = [time - first[1] - known[data] for time, data in after if suffix != ".ts"]  # ADTS headers there
    assert max(map(abs, late), default=0.0) < 0.002
    steps = np.diff([time for time, _ in after])
    assert steps.min() > 0.01  # no two at one time


def test_a_run_that_is_stopped_early_has_as_much_sound(tmp_path: Path):
    source = write_clip(tmp_path / "in.mp4", [n / 25 for n in range(50)], sound=2.0)
    copy(source, tmp_path / "out.mp4", frames=10)
    assert seconds_of(tmp_path / "out.mp4") == pytest.approx(0.4, abs=0.03)


def test_sound_that_does_not_fit_is_named(tmp_path: Path):
    source = write_clip(tmp_path / "in.mp4", [0.0, 0.1], sound=0.5)
    assert "without its sound: aac does not fit there" in copy(source, tmp_path / "out.webm")
    source = write_clip(tmp_path / "in.webm", [0.0, 0.1, 0.2], codec="libvpx", sound=0.5)
    assert copy(source, tmp_path / "out.mp4").endswith(" s of video")
    assert packets_of(tmp_path / "out.mp4", "audio")


# A full disk, and a kill ----------------------------------------------------------------------------------------------


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """A disk that takes `room` writes and has counted `done`."""
    state = {"room": 10**9, "done": 0}
    write = CheckedFile.write

    def limited(self: CheckedFile, data: Any) -> int:
        if state["done"] >= state["room"] and self.failure is None:
            self.failure = OSError(errno.ENOSPC, "No space left on device")
        state["done"] += 1
        return write(self, data)

    monkeypatch.setattr(CheckedFile, "write", limited)
    yield state
    state["room"] = 10**9


def fill(path: Path, sound: Path) -> tuple[int, str]:
    """How many of 30 frames were taken, and the sentence."""
    output = VideoOutput(str(path), 30, STYLE, OverlayOptions(), sound=str(sound))
    for number in range(30):
        frame = Frame(encode_number(number), number, number / 30, sound_at=number / 30)
        try:
            output.write(Result(frame, Poses.empty(133), {}))
        except EdgeposeError as error:
            said = [str(error), closed(output)]
            break
    else:
        number, said = 30, [closed(output)]
    assert len(set(said)) == 1
    return number, said[0]


def closed(output: VideoOutput) -> str:
    try:
        return output.close()
    except EdgeposeError as error:
        return str(error)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts", ".wmv", ".mpg"])
def test_a_disk_that_is_full_at_any_write_is_told_truly(tmp_path: Path, disk: dict[str, int], suffix: str):
    """And what was written by then plays, also where the end of the file is being written."""
    source = write_clip(tmp_path / "in.mkv", [n / 30 for n in range(30)], sound=1.0)
    path = tmp_path / f"a{suffix}"
    assert "cut short" not in fill(path, source)[1]
    writes = disk["done"]
    for room in sorted({0, 1, writes // 3, writes // 2, writes - 3, writes - 2, writes - 1} & set(range(writes))):
        disk.update(room=room, done=0)
        taken, said = fill(path, source)
        disk["room"] = 10**9
        assert "cut short, " in said
        assert "No space left on device" in said
        try:
            numbers = read_clip(path)[0]
        except (av.FFmpegError, IndexError):
            numbers = []
        whole = numbers[:-1] if suffix == ".mpg" else numbers  # its packets end anywhere in a frame
        assert whole == list(range(len(whole)))
        kept = float(said.split("cut short, ")[1].split(" s of ")[0])
        assert kept == pytest.approx(len(numbers) / 30, abs=0.06)
        assert len(numbers) >= taken - 16  # what a constant rate's buffers hold back


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path: Path):
    """The real thing, with writes that are done in part."""
    code = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from test_recording import *
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
output = video(Path(sys.argv[1]), 30)
rng = np.random.default_rng(0)
try:
    for number in range(60):
        noise = rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)
        output.write(Result(Frame(noise, number, number / 30), Poses.empty(133), {}))
    output.close()
except EdgeposeError as error:
    sys.exit(str(error))
"""
    pytest.importorskip("resource", reason="limits of POSIX")
    path = tmp_path / "a.mkv"
    here = str(Path(__file__).parent)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code, path, here], capture_output=True, text=True, env=env)
    assert "cut short, 0." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
def test_a_kill_leaves_a_file_that_plays(tmp_path: Path, suffix: str):
    code = """
import os, sys
sys.path.insert(0, sys.argv[2])
from test_recording import *
output = video(Path(sys.argv[1]), 30)
for number in range(40):
    output.write(result(number, number / 30))
os.kill(os.getpid(), signal.SIGKILL)
"""
    if not hasattr(signal, "SIGKILL"):
        pytest.skip("no SIGKILL here")
    path = tmp_path / f"a{suffix}"
    here = str(Path(__file__).parent)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code, path, here], env=env, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    numbers, times = read_clip(path)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 30
    np.testing.assert_allclose(np.array(times) - times[0], np.arange(len(numbers)) / 30, atol=0.002)


def test_an_encoder_refuses_what_comes_after_a_failure(tmp_path: Path):
    file = CheckedFile(tmp_path / "a")
    file.failure = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="No space left"):
        file.write(b"more")
    file.close()
    assert (tmp_path / "a").read_bytes() == b""
    encoder = Encoder(av, str(tmp_path / "b.mp4"), (64, 64), 30.0)
    encoder.close()  # without a frame
