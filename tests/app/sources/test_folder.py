"""Folders of images: every kind of image, order, damage, and what a sequence is."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from doubles import FakeEstimator, read_clip, seconds_of

from edgepose import EdgeposeError
from edgepose.images import read_image
from edgepose_app import headless
from edgepose_app.outputs import JsonlOutput, VideoOutput
from edgepose_app.overlay import OverlayOptions, SkeletonStyle
from edgepose_app.sources import open_source
from edgepose_app.sources.folder import Folder, natural_key

STYLE = SkeletonStyle.of(FakeEstimator.card, FakeEstimator.skeleton)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One image of each kind, all of the same scene; and one that is damaged, and one that is empty."""
    y, x = np.mgrid[0:48, 0:64]
    color = np.stack([x * 4, y * 5, 255 - x * 4], axis=2).astype(np.uint8)
    gray = cv2.cvtColor(color, cv2.COLOR_BGR2GRAY)
    root = tmp_path / "images"
    (root / "deeper").mkdir(parents=True)
    cv2.imwrite(str(root / "p1_color.png"), color)
    cv2.imwrite(str(root / "p2_gray.png"), gray)
    cv2.imwrite(str(root / "p10_sixteen.png"), gray.astype(np.uint16) * 257)
    cv2.imwrite(str(root / "p11_sixteen_color.tiff"), color.astype(np.uint16) * 257)
    cv2.imwrite(str(root / "p12_alpha.png"), np.dstack([color, np.full_like(gray, 255)]))
    cv2.imwrite(str(root / "deeper" / "p13.jpg"), color)
    whole = (root / "deeper" / "p13.jpg").read_bytes()
    (root / "p3_damaged.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "p4_text.png").write_text("I am no image")
    (root / "p5_empty.png").touch()
    (root / "notes.txt").write_text("not looked at")
    return root


def test_every_kind_of_image_is_read_alike(folder: Path):
    reference = read_image(folder / "p1_color.png").astype(int)
    gray = cv2.cvtColor(reference.astype(np.uint8), cv2.COLOR_BGR2GRAY)[..., None].astype(int)
    expected = {"p2_gray": gray, "p10_sixteen": gray, "p11_sixteen_color": reference, "p12_alpha": reference}
    for path in folder.iterdir():
        if path.stem in expected:
            image = read_image(path)
            assert image.dtype == np.uint8
            assert image.shape == (48, 64, 3)
            assert np.abs(image.astype(int) - expected[path.stem]).max() <= 1, path.name


def test_natural_order_and_damage(folder: Path, caplog: pytest.LogCaptureFixture):
    source = Folder(folder)
    frames = []
    with caplog.at_level(logging.WARNING):
        while (frame := source.read()) is not None:
            frames.append(frame)
    names = [frame.file for frame in frames]
    assert names == [
        "deeper/p13.jpg",
        "p1_color.png",
        "p2_gray.png",
        "p10_sixteen.png",
        "p11_sixteen_color.tiff",
        "p12_alpha.png",
    ]
    assert [frame.index for frame in frames] == [0, 1, 2, 6, 7, 8]  # what cannot be read keeps its place
    assert source.skipped == ["p3_damaged.jpg", "p4_text.png", "p5_empty.png"]
    for name in source.skipped:
        assert f"{name}: skipped" in caplog.text


def test_a_folder_is_unrelated_images_unless_it_is_a_sequence(folder: Path):
    for sequence in (False, True):
        estimator = FakeEstimator()
        source = open_source(str(folder), sequence=sequence)
        report = headless.run(source, estimator, [])
        assert report.frames == 6
        assert set(estimator.sequences) == {sequence}
        assert len(report.skipped) == 3
        assert "skipped 3 files" in report.text()


def test_a_single_image(folder: Path):
    source = open_source(str(folder / "p1_color.png"))
    frame = source.read()
    assert frame is not None
    assert frame.file == "p1_color.png"
    assert source.read() is None


def test_a_folder_without_images(tmp_path: Path):
    with pytest.raises(EdgeposeError, match="no images in this folder"):
        Folder(tmp_path)


def test_names_with_digits_that_are_no_numbers(tmp_path: Path):
    for name in ("a10.png", "a1²2.png", "a2.png", "a٣.png"):
        (tmp_path / name).touch()
    names = sorted(tmp_path.iterdir(), key=natural_key)
    assert [path.name for path in names] == ["a1²2.png", "a2.png", "a٣.png", "a10.png"]


def test_a_broken_image_of_a_sequence_keeps_its_place_in_time(folder: Path, tmp_path: Path):
    """In the frames, in the lines and in the video alike."""
    source = Folder(folder, sequence=True, fps=10)
    output = VideoOutput(str(tmp_path / "a.mp4"), source.fps, STYLE, OverlayOptions())
    lines = JsonlOutput(str(tmp_path / "a.jsonl"))
    headless.run(source, FakeEstimator(), [output, lines])
    output.close()
    lines.close()
    records = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [record["frame"] for record in records] == [0, 1, 2, 6, 7, 8]
    times = [record["time"] for record in records]
    assert times == [0.0, 0.1, 0.2, 0.6, 0.7, 0.8]
    np.testing.assert_allclose(read_clip(tmp_path / "a.mp4", decode=False)[1], times, atol=0.001)
    assert seconds_of(tmp_path / "a.mp4") == pytest.approx(0.9, abs=0.01)


def test_a_single_image_that_cannot_be_read_says_why(folder: Path):
    with pytest.raises(EdgeposeError, match=r"p5_empty\.png: the file is empty"):
        Folder(folder / "p5_empty.png").read()


def test_heic_is_an_image(tmp_path: Path):
    (tmp_path / "a.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(EdgeposeError, match=r"a\.HEIC: (HEIC, which pillow-heif reads|no image)"):
        open_source(str(tmp_path / "a.HEIC")).read()
