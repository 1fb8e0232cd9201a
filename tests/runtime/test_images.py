"""The loader of pictures: orientation, depth and alpha in every format, damage in a few words."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edgepose import EdgeposeError
from edgepose.images import decode_image, read_image


def photo() -> np.ndarray:  # [48, 64, 3] BGR
    """Each corner in a color of its own."""
    image = np.full((48, 64, 3), 128, np.uint8)
    image[:24, :32], image[:24, 32:], image[24:, :32] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return image


def stored(orientation: int) -> np.ndarray:
    """What a camera stores with `orientation` so that `photo` is seen, by the definition of EXIF."""
    inverse = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    picture = Image.fromarray(photo()[:, :, ::-1])
    operation = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(inverse)
    return np.asarray(picture.transpose(operation) if operation is not None else picture)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".avif"])
def test_pictures_are_upright(tmp_path: Path, suffix: str, orientation: int):
    if suffix == ".avif" and not Image.registered_extensions().get(".avif"):
        pytest.skip("this Pillow writes no AVIF")
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {".webp": {"lossless": True}, ".jpg": {"quality": 95, "subsampling": 0}}.get(suffix, {})
    Image.fromarray(stored(orientation)).save(tmp_path / f"a{suffix}", exif=exif, **options)
    image = read_image(tmp_path / f"a{suffix}")
    assert image.shape == (48, 64, 3)
    assert np.abs(image.astype(int) - photo())[[8, 8, 40, 40], [8, 56, 8, 56]].max() <= 24
    assert image.flags.c_contiguous


def test_heic_is_read_by_pillow_heif(tmp_path: Path):
    """Which obeys the rotation of its container; of EXIF that format ignores it."""
    heif = pytest.importorskip("pillow_heif", reason="HEIC is read by pillow-heif")
    picture = heif.from_pillow(Image.fromarray(photo()[:, :, ::-1]))
    picture.save(tmp_path / "a.HEIC", quality=95, chroma=444)
    image = read_image(tmp_path / "a.HEIC")
    assert np.abs(image.astype(int) - photo())[[8, 8, 40, 40], [8, 56, 8, 56]].max() <= 24


def test_depth_gray_palette_and_alpha(tmp_path: Path):
    gray = cv2.cvtColor(photo(), cv2.COLOR_BGR2GRAY)
    pictures = {
        "color": (photo(), photo()),
        "sixteen": (photo().astype(np.uint16) * 257, photo()),
        "ten": (photo().astype(np.uint16) * 4, photo() // 64),
        "gray": (gray, np.repeat(gray[..., None], 3, axis=2)),
        "gray16": (gray.astype(np.uint16) * 257, np.repeat(gray[..., None], 3, axis=2)),
        "alpha": (np.dstack([photo(), np.zeros_like(gray)]), photo()),
        "alpha16": (np.dstack([photo(), gray]).astype(np.uint16) * 257, photo()),
    }
    for name, (picture, expected) in pictures.items():
        for suffix in (".png", ".tiff"):
            cv2.imwrite(str(tmp_path / f"{name}{suffix}"), picture)
            np.testing.assert_array_equal(read_image(tmp_path / f"{name}{suffix}"), expected, err_msg=name + suffix)
    Image.fromarray(photo()[:, :, ::-1]).convert("P").save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png").shape == (48, 64, 3)
    cv2.imwrite(str(tmp_path / "floats.tiff"), photo().astype(np.float32) / 255)
    np.testing.assert_array_equal(read_image(tmp_path / "floats.tiff"), photo())


def test_what_opencv_cannot_decode_pillow_does(tmp_path: Path):
    Image.fromarray(photo()[:, :, ::-1]).save(tmp_path / "a.tga")
    assert cv2.imread(str(tmp_path / "a.tga")) is None
    np.testing.assert_array_equal(read_image(tmp_path / "a.tga"), photo())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the file is empty"),
        (b"I am no picture", "no image that can be read, or damaged"),
        (cv2.imencode(".png", photo())[1].tobytes()[:90], "damaged"),
        (cv2.imencode(".webp", photo())[1].tobytes()[:40], "damaged"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "no image that can be read, or damaged"),
    ],
)
def test_damage_is_a_few_words(tmp_path: Path, content: bytes, sentence: str):
    if b"heic" in content:
        pytest.importorskip("pillow_heif", reason="HEIC is read by pillow-heif")
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(EdgeposeError, match=f"{tmp_path / 'a'}: .*{sentence}") as error:
        read_image(tmp_path / "a")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(EdgeposeError, match=r"nowhere\.png: cannot be read \(No such file or directory\)"):
        read_image(tmp_path / "nowhere.png")


def test_damaged_metadata_costs_the_orientation_alone():
    data = cv2.imencode(".png", photo())[1].tobytes()
    broken = data[:33] + (4).to_bytes(4, "big") + b"eXIfNoEx\0\0\0\0" + data[33:]
    np.testing.assert_array_equal(decode_image(np.frombuffer(broken, np.uint8)), photo())


def test_heic_without_its_reader_is_a_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ValueError, match="pip install pillow-heif"):
        decode_image(np.frombuffer(b"\0\0\0\x18ftypheic" + bytes(100), np.uint8))
