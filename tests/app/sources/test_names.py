"""What people type for a source: paths in every usual way, patterns, folders, several at once."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from doubles import decode_number, encode_number, write_clip

from edgepose import EdgeposeError
from edgepose_app.sources import Pictures, SourceOptions, expand, local_path, open_source
from edgepose_app.sources.names import camera_of


def write(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix.lower(), encode_number(number))
    assert done
    data.tofile(path)
    return path


NAMES = ["plain.png", "with blank.png", " leading.png", "ünïcode.png", "100%.png", "a%20b.png", "[1].png", "a*b?.png"]
NAMES += ["it's.png", "-dash.png", "UPPER.PNG", "a;b&c$d.png", "frame_%04d.png"]


@pytest.mark.skipif(os.name == "nt", reason="names that Windows does not allow")
@pytest.mark.parametrize("name", NAMES)
def test_every_name_that_a_file_can_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    """Typed as it is, absolute, after ./, quoted, and as the address that file managers give."""
    path = write(tmp_path / name, 5)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    typed = [name, str(path), f"./{name}", f"'{path}'", f'"{path}"', f"  {path} ", path.as_uri(), f"file://{path}"]
    typed += [path.as_uri().replace("file:///", "file://localhost/"), path.as_uri().replace("file:///", "file:/")]
    for spec in [*typed, f"~/{name}"]:
        (one,) = expand([spec])
        frame = open_source(one).read()
        assert frame is not None, spec
        assert decode_number(frame.image) == 5, spec


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text, which Linux alone allows")
def test_a_name_that_is_no_text(tmp_path: Path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mp4")
    write_clip(tmp_path / "a.mp4", [0.0, 0.1]).rename(path)
    assert expand([path]) == [path]
    frame = open_source(path).read()
    assert frame is not None


def test_what_is_no_file(tmp_path: Path):
    for spec in ("demo", "-", "rtsp://camera/1", "http://a/b.mp4", "", "  "):
        assert local_path(spec) is None
        assert expand([spec]) == [spec]
    for spec in ("no" * 3000, "a\0b", str(tmp_path / "nowhere.mp4"), "file:///nowhere.mp4"):
        with pytest.raises(EdgeposeError, match="there is no such file or folder"):
            open_source(*expand([spec]))


def test_devices_are_cameras(tmp_path: Path):
    assert camera_of(Path("/dev/video12")) == 12
    assert camera_of(Path("/dev/video")) is None
    assert camera_of(tmp_path / "video0") is None
    (tmp_path / "by-id").symlink_to("/dev/video3")
    assert camera_of(tmp_path / "by-id") == 3
    with pytest.raises(EdgeposeError, match="camera 4711"):
        open_source("/dev/video4711")


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Images and videos, in folders."""
    for number in (1, 2, 10):
        write(tmp_path / "images" / f"a{number}.png", number)
    for name in ("b2.mp4", "b10.MKV", "deep/c.webm"):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clips" / name).touch()
    write(tmp_path / "both" / "a.png")
    (tmp_path / "both" / "b.mp4").touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_patterns_and_folders(shelf: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(shelf)
    images = tuple(Path("images") / f"a{number}.png" for number in (1, 2, 10))
    assert expand(["images/*.png"]) == [Pictures("*.png", images, False)]
    assert expand(["clips/*"]) == [str(Path("clips") / name) for name in ("b2.mp4", "b10.MKV")]
    assert len(expand(["clips/**/*.*"])) == 3
    assert expand(["images"]) == ["images"]
    assert expand(["clips"]) == [str(Path("clips") / name) for name in ("b2.mp4", "b10.MKV", "deep/c.webm")]
    assert expand(["both"]) == ["both", str(Path("both/b.mp4"))]
    assert expand(["empty"]) == ["empty"]
    assert expand([*map(str, images), "demo", str(images[0])]) == [
        Pictures("a1.png … a10.png", images, False), "demo", str(images[0]),
    ]  # fmt: skip
    assert expand([3, "demo"]) == [3, "demo"]
    for pattern in ("*.mp4", "images/*.mp4", "nowhere/*.png"):
        with pytest.raises(EdgeposeError, match="no image and no video has such a name"):
            expand([pattern])


def test_numbered_files_are_a_sequence(shelf: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(shelf)
    for pattern in ("images/a%d.png", "images/a%02d.png"):
        (spec,) = expand([pattern])
        source = open_source(spec, options=SourceOptions(fps=25))
        assert source.is_sequence
        frames = [frame for _ in range(3) if (frame := source.read()) is not None]
        assert [decode_number(frame.image) for frame in frames] == [1, 2, 10]
        assert [frame.time for frame in frames] == [0.0, 0.04, 0.08]
        assert [frame.file for frame in frames] == ["a1.png", "a2.png", "a10.png"]
    with pytest.raises(EdgeposeError, match="no file has such a name"):
        expand(["images/b%04d.png"])


def test_a_rate_makes_images_a_sequence(shelf: Path):
    for spec in (*expand([str(shelf / "images" / "*.png")]), str(shelf / "images")):
        assert not open_source(spec).is_sequence
        source = open_source(spec, options=SourceOptions(fps=50))
        assert source.is_sequence
        assert source.fps == 50


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".webm"])
def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str):
    codec = "libvpx" if suffix == ".webm" else "libx264"
    data = write_clip(tmp_path / f"a{suffix}", [0.0, 0.1, 0.5], codec=codec).read_bytes()

    class Pipe(io.RawIOBase):
        """Cannot be wound back."""

        def __init__(self) -> None:
            self._rest = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:
            return self._rest.readinto(buffer)

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Pipe())))
    source = open_source("-")
    assert source.name == "standard input"
    assert source.sound is None
    frames = [frame for _ in range(4) if (frame := source.read()) is not None]
    assert [decode_number(frame.image) for frame in frames] == [0, 1, 2]
    np.testing.assert_allclose([frame.time for frame in frames], [0.0, 0.1, 0.5], atol=0.002)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotate(tmp_path: Path, degrees: int):
    path = write(tmp_path / "a.png", 9)
    video = write_clip(tmp_path / "a.mp4", [0.0, 0.1])
    for spec, number in ((str(path), 9), (str(video), 0)):
        source = open_source(spec, options=SourceOptions(rotate=degrees))
        frame = source.read()
        assert frame is not None
        assert decode_number(np.rot90(frame.image, degrees // 90)) == number
    with pytest.raises(EdgeposeError, match="the demo is upright"):
        open_source("demo", options=SourceOptions(rotate=degrees))


def test_size_and_format_are_asked_of_cameras(tmp_path: Path):
    path = write(tmp_path / "a.png")
    for options in (SourceOptions(size=(640, 480)), SourceOptions(format="YUYV")):
        with pytest.raises(EdgeposeError, match=r"ask a camera for what it can send; a\.png is none"):
            open_source(str(path), options=options)


@pytest.mark.parametrize("name", ["photo", "photo.mp4", "photo.jpg", "photo.dat"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".mp4", ".mkv"])
def test_the_content_says_what_a_file_is(tmp_path: Path, suffix: str, name: str):
    made = write_clip(tmp_path / f"made{suffix}", [0.0, 0.1]) if suffix in (".mp4", ".mkv") else None
    path = (made or write(tmp_path / f"made{suffix}")).rename(tmp_path / name)
    source = open_source(str(path))
    frames = [frame for _ in range(3) if (frame := source.read()) is not None]
    assert [decode_number(frame.image) for frame in frames] == ([0, 1] if made else [0])
