"""Video files: every frame once, upright, at the times of the file; what is damaged and what is not."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from doubles import decode_number, encode_number, write_clip, write_video

from edgepose import EdgeposeError
from edgepose_app.pyav import to_bgr, turned
from edgepose_app.sources import open_source
from edgepose_app.sources.base import Frame
from edgepose_app.sources.video import Clock, VideoFile


def frames_of(video: VideoFile) -> list[Frame]:
    frames = []
    while (frame := video.read()) is not None:
        frames.append(frame)
    video.close()
    return frames


def numbers_of(frames: list[Frame]) -> list[int]:
    return [decode_number(frame.image) for frame in frames]


def test_video_file_gives_every_frame_in_its_time(tmp_path: Path):
    video = VideoFile(write_video(tmp_path / "numbers.avi", 25, fps=25.0))
    assert video.fps == 25.0
    assert video.count == 25
    assert video.sound is None
    frames = frames_of(video)
    assert numbers_of(frames) == list(range(25))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(25) / 25, atol=0.002)


IRREGULAR = [0.0, 0.04, 0.08, 0.5, 0.533, 7.0, 61.0]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.webm", "libvpx-vp9"), ("a.ts", "libx264")],
)
@pytest.mark.parametrize("start", [0.0, 100.0])
def test_variable_rates_keep_their_times(
    tmp_path: Path, name: str, codec: str, start: float, caplog: pytest.LogCaptureFixture
):
    """As browsers and screen recorders write; and as a cut leaves it, whose clock begins anywhere."""
    video = VideoFile(write_clip(tmp_path / name, IRREGULAR, codec=codec, start=start))
    with caplog.at_level(logging.WARNING):
        frames = frames_of(video)
    assert numbers_of(frames) == list(range(7))
    np.testing.assert_allclose([frame.time for frame in frames], IRREGULAR, atol=0.002)
    assert frames[0].sound_at is not None
    assert video.fps <= 240  # no time base is taken for a rate
    assert caplog.text == ""


def test_av1_is_decoded(tmp_path: Path):
    encoder = next((name for name in ("libsvtav1", "libaom-av1") if name in av.codecs_available), None)
    if encoder is None:
        pytest.skip("this PyAV has no encoder of AV1 to make the video with")
    path = write_clip(tmp_path / "a.mp4", [n / 25 for n in range(5)], codec=encoder)
    assert numbers_of(frames_of(VideoFile(path))) == list(range(5))


def test_sound_that_goes_on_is_no_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    video = VideoFile(write_clip(tmp_path / "a.mkv", [n / 25 for n in range(25)], sound=9.0))
    with caplog.at_level(logging.WARNING):
        assert numbers_of(frames_of(video)) == list(range(25))
    assert video.sound == str(tmp_path / "a.mkv")
    assert caplog.text == ""


def cut(source: Path, target: Path, start: float) -> Path:
    """From `start` on, packets copied: the first ones refer to frames that are not there."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None and float(packet.pts * packet.time_base) >= start:
                packet.stream = stream
                new.mux(packet)
    return target


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_cut_at_no_key_frame_is_no_damage(tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture):
    source = write_clip(tmp_path / "whole.mp4", [n / 25 for n in range(300)])  # the second key frame: 250
    video = VideoFile(cut(source, tmp_path / f"cut{suffix}", 4.0))
    with caplog.at_level(logging.WARNING):
        frames = frames_of(video)
    assert numbers_of(frames)[-50:] == list(range(250, 300))
    assert frames[0].time == 0.0
    assert caplog.text == ""


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".avi", ".webm"])
def test_a_file_that_was_cut_off_says_so(tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture):
    times = [n / 25 for n in range(100)]
    if suffix == ".avi":
        path = write_video(tmp_path / "a.avi", 100)
    else:
        path = write_clip(tmp_path / f"a{suffix}", times, codec="libvpx" if suffix == ".webm" else "libx264")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 5])
    video = VideoFile(path)
    with caplog.at_level(logging.WARNING):
        frames = frames_of(video)
    assert 20 < len(frames) < 60
    if suffix != ".ts":  # which states no length
        assert ("damaged" if suffix == ".avi" else "cut off: it ends after") in caplog.text


def test_damage_in_the_middle_is_counted_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = write_video(tmp_path / "a.avi", 50)
    data = bytearray(path.read_bytes())
    middle = data.index(b"00dc", len(data) // 2)
    data[middle + 8 : middle + 600] = bytes(592)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        frames = frames_of(VideoFile(path))
    assert numbers_of(frames)[-10:] == list(range(40, 50))
    assert frames[-1].time == pytest.approx(49 / 25, abs=0.002)
    assert "damaged: 1 of its packets" in caplog.text


@pytest.mark.parametrize("missing", [200, 5000])
def test_damage_at_the_end_of_an_mp4(tmp_path: Path, missing: int):
    path = write_clip(tmp_path / "a.mp4", [n / 25 for n in range(50)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-missing])  # its index is at the end
    with pytest.raises(EdgeposeError, match="cut off before its index was written"):
        VideoFile(path)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.mp4", b"", "the file is empty"),
        ("text.mp4", b"I am no video. " * 100, "no video that can be read"),
        ("zeros.mkv", bytes(10_000), "no video that can be read"),
    ],
)
def test_what_is_no_video_is_one_sentence(tmp_path: Path, name: str, content: bytes, sentence: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EdgeposeError, match=sentence) as error:
        open_source(str(tmp_path / name))
    assert "\n" not in str(error.value)


def test_a_song_is_no_video(tmp_path: Path):
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        stream: Any = container.add_stream("aac", 48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(EdgeposeError, match="there is no video in it, only audio"):
        VideoFile(path)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("space", ["ITU709", "ITU601"])
def test_colors_and_range_are_those_of_the_file(tmp_path: Path, space: str, full_range: bool):
    color = (40, 60, 200)
    path = tmp_path / "red.mkv"
    colors = av.video.reformatter
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", 25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.colorspace = 1 if space == "ITU709" else colors.Colorspace.ITU601
        stream.codec_context.color_range = colors.ColorRange.JPEG if full_range else colors.ColorRange.MPEG
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), color, np.uint8), format="bgr24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=space, dst_color_range="JPEG" if full_range else "MPEG")
        for _ in range(5):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    read = VideoFile(path).read()
    assert read is not None
    assert np.abs(read.image[32, 32].astype(int) - color).max() <= 6


# Matrix → where the corner that is stored at the top left is shown: (row, column) of 2 × 2.
MATRICES = [
    ((1, 0, 0, 1), (0, 0)),
    ((-1, 0, 0, -1), (1, 1)),
    ((0, 1, -1, 0), (0, 1)),  # a quarter turn clockwise
    ((0, -1, 1, 0), (1, 0)),
    ((-1, 0, 0, 1), (0, 1)),  # a mirror
    ((1, 0, 0, -1), (1, 0)),
    ((0, 1, 1, 0), (0, 0)),
    ((0, -1, -1, 0), (1, 1)),
]


@pytest.mark.parametrize(("matrix", "corner"), MATRICES)
def test_phones_that_film_sideways(matrix: tuple[int, int, int, int], corner: tuple[int, int]):
    image = np.zeros((2, 4, 3), np.uint8)
    image[0, 0] = 255
    shown = turned(image, *(65536 * value for value in matrix))
    assert shown.shape == ((2, 4, 3) if matrix[0] else (4, 2, 3))
    row, column = corner
    assert shown[-row, -column].all()
    assert shown.sum() == 3 * 255


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_the_rotation_of_a_file_is_obeyed(tmp_path: Path, degrees: int):
    """`degrees` clockwise, written into the header of the track as phones do."""
    path = write_clip(tmp_path / "a.mp4", [0.0, 0.04, 0.08])
    a, b = {90: (0, 1), 180: (-1, 0), -90: (0, -1)}[degrees]
    matrix = [a, b, 0, -b, a, 0, 0, 0, 0x40000000 >> 16]
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    data[place : place + 36] = b"".join((value * 65536).to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(data)
    video = VideoFile(path)
    frames = frames_of(video)
    upright = np.rot90(frames[2].image, degrees // 90)
    assert decode_number(upright) == 2
    height, width = frames[0].image.shape[:2]
    assert f"{width}×{height}" in video.description


@pytest.mark.parametrize("rotation", [0, 90, -90, 180])
def test_a_kind_of_data_that_pyav_does_not_know(rotation: int):
    """FFmpeg has more kinds beside a frame than PyAV, which then refuses to list any."""

    class FrameOfTomorrow:
        def __init__(self) -> None:
            self.rotation = rotation  # degrees counterclockwise

        def to_ndarray(self, **_format: str) -> np.ndarray:
            return encode_number(6)

        @property
        def side_data(self) -> None:
            raise ValueError("31 is not a valid Type")

    assert decode_number(np.rot90(to_bgr(FrameOfTomorrow()), -rotation // 90)) == 6


@pytest.mark.parametrize("content", [b"", b"no video"])
def test_what_standard_input_cannot_be(monkeypatch: pytest.MonkeyPatch, content: bytes):
    read, write = os.pipe()
    with os.fdopen(write, "wb") as file:
        file.write(content)
    with os.fdopen(read) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        with pytest.raises(EdgeposeError, match=r"standard input: no .*\.mkv, \.ts and \.webm allow"):
            VideoFile("-")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(EdgeposeError, match="standard input is closed"):
        VideoFile("-")


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([7.0, 7.1, 7.5], [0.0, 0.1, 0.5]),
        ([None, None, None], [0.0, 0.1, 0.2]),  # a stream without stamps
        ([7.0, None, 7.2], [0.0, 0.1, 0.2]),
        ([7.0, 7.1, 2.0, 2.3], [0.0, 0.1, 0.2, 0.5]),  # the clock was set back
        ([7.0, 7.0, 7.2], [0.0, 0.1, 0.3]),
        ([None, 5.0, 5.4], [0.0, 0.1, 0.5]),
    ],
)
def test_the_clock_of_a_file_never_runs_back(stamps: list[float | None], times: list[float]):
    clock = Clock(0.1)
    np.testing.assert_allclose([clock.at(stamp) for stamp in stamps], times, atol=1e-9)


def test_without_pyav_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_video(tmp_path / "a.avi", 2)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(EdgeposeError, match=r"PyAV: pip install 'edgepose\[app\]'"):
        open_source(str(path))
