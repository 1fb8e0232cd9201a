"""Sizes of images are those of the pixels that the loader gives, and only headers are read for them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edgepose.images import read_image
from edgepose_training.data.annotations import SkipEntry
from edgepose_training.data.image_size import image_size, read_header


def picture(path: Path, width: int, height: int) -> Path:
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
    return path


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_sizes_are_read_from_the_header(tmp_path, name):
    assert image_size(picture(tmp_path / name, 70, 33)) == (70, 33)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_are_those_of_the_pixels_that_are_read(tmp_path, name, orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.fromarray(np.zeros((33, 70, 3), np.uint8)).save(tmp_path / name, exif=tags)
    height, width = read_image(tmp_path / name).shape[:2]
    assert read_header(tmp_path / name).size == (width, height)


def test_a_file_cut_after_its_header_still_has_a_size(tmp_path):
    path = picture(tmp_path / "a.png", 700, 330)
    path.write_bytes(path.read_bytes()[:60])
    assert image_size(path) == (700, 330)


def test_other_formats_and_missing_files_are_left_out(tmp_path):
    with pytest.raises(SkipEntry, match="no JPEG or PNG"):
        image_size(picture(tmp_path / "a.webp", 70, 33))
    with pytest.raises(SkipEntry, match="missing"):
        image_size(tmp_path / "nowhere.png")


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00", b"\x89PNG"])
def test_a_cut_header_is_no_picture(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(SkipEntry, match="no JPEG or PNG"):
        image_size(tmp_path / "a.jpg")


def test_broken_tags_turn_nothing(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (70, 33)).save(path, exif=b"Exif\x00\x00no TIFF header")
    assert image_size(path) == (70, 33)


def test_an_image_of_too_many_pixels_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(SkipEntry, match="too many pixels"):
        image_size(picture(tmp_path / "a.png", 70, 33))
