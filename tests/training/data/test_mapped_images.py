"""One file of images under two caches: it grows, it survives a crash, and files written before still open."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose import EdgeposeError
from edgepose_training.data.mapped_images import MappedImages, appending, offsets_of, replacing
from edgepose_training.detector import image_cache
from edgepose_training.detector.image_cache import ImageCache
from edgepose_training.detector.person_lists import AnnotatedImage

NO_BOXES = np.zeros((0, 4), np.float32)


def random_images(count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*rng.integers(3, 9, 2), 3)).astype(np.uint8) for _ in range(count)]


def sizes_of(images: list[np.ndarray]) -> np.ndarray:
    return np.array([image.shape[:2] for image in images], np.int64).reshape(-1, 2)


def write(path: Path, known: list[np.ndarray], images: list[np.ndarray]) -> None:
    with appending(path, sizes_of(known)) as file:
        for image in images:
            file.write(image.data)


def annotated(folder: Path, images: list[np.ndarray], prefix: str) -> list[AnnotatedImage]:
    folder.mkdir(exist_ok=True)
    entries = []
    for i, image in enumerate(images):
        path = folder / f"{prefix}{i}.png"
        cv2.imwrite(str(path), image)
        entries.append(AnnotatedImage(path, image.shape[1::-1], "made", NO_BOXES, NO_BOXES))
    return entries


def test_a_file_grows_and_forgets_what_no_index_knows(tmp_path: Path) -> None:
    path, first, lost, second = tmp_path / "a" / "pixels.bin", *(random_images(3, seed) for seed in range(3))
    write(path, [], first)
    write(path, first, lost)  # and then a crash: no index knows them
    write(path, first, second)
    mapped = MappedImages(path, sizes_of(first + second))
    assert len(mapped) == 6
    for image, expected in zip(mapped, first + second, strict=False):
        np.testing.assert_array_equal(image, expected)
    assert path.stat().st_size == sum(image.size for image in first + second)
    np.testing.assert_array_equal(offsets_of(np.array([[2, 3], [1, 1], [4, 4]])), [0, 18, 21])


def test_a_process_maps_the_file_by_itself(tmp_path: Path) -> None:
    images = random_images(2, 5)
    write(tmp_path / "pixels.bin", [], images)
    mapped = MappedImages(tmp_path / "pixels.bin", sizes_of(images))
    np.testing.assert_array_equal(mapped[1], images[1])
    sent = pickle.dumps(mapped)
    assert len(sent) < 2000
    np.testing.assert_array_equal(pickle.loads(sent)[1], images[1])


def test_an_index_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    index = tmp_path / "index.json"
    index.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(index) as temporary:
        (temporary.parent / "missing" / "file").write_text("new")
    assert index.read_text() == "old"
    with replacing(index) as temporary:
        temporary.write_text("new")
    assert index.read_text() == "new"


def test_the_detectors_cache_decodes_each_image_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = annotated(tmp_path / "images", random_images(4, 7), "a")
    late = annotated(tmp_path / "images", random_images(2, 8), "b")
    decoded: list[str] = []
    read = image_cache._read
    monkeypatch.setattr(image_cache, "_read", lambda name, side: decoded.append(name) or read(name, side))
    ImageCache(train, tmp_path / "cache")
    cache = ImageCache([late[1], train[2], late[0]], tmp_path / "cache")
    assert len(decoded) == len(set(decoded)) == 6
    for image, entry in zip(cache, [late[1], train[2], late[0]], strict=False):
        np.testing.assert_array_equal(image, cv2.imread(str(entry.path)))


def test_an_image_that_cannot_be_read_leaves_the_cache_as_it_was(tmp_path: Path) -> None:
    good, late = (annotated(tmp_path / "images", random_images(3, seed), f"{seed}-") for seed in (9, 10))
    ImageCache(good, tmp_path / "cache")
    content = late[1].path.read_bytes()
    late[1].path.write_bytes(b"broken")
    with pytest.raises(EdgeposeError, match="10-1"):
        ImageCache(good + late, tmp_path / "cache")
    np.testing.assert_array_equal(ImageCache(good, tmp_path / "cache")[2], cv2.imread(str(good[2].path)))
    late[1].path.write_bytes(content)
    np.testing.assert_array_equal(ImageCache(late, tmp_path / "cache")[2], cv2.imread(str(late[2].path)))


def test_a_cache_of_images_decoded_before(tmp_path: Path) -> None:
    images = random_images(3, 11)
    entries = annotated(tmp_path / "images", images, "a")
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "pixels-320.bin").write_bytes(b"".join(image.tobytes() for image in images))
    names = [str(entry.path) for entry in entries]
    (folder / "index-320.json").write_text(json.dumps({"names": names, "sizes": sizes_of(images).tolist()}))
    for entry in entries:
        entry.path.unlink()  # so that nothing can be decoded again
    np.testing.assert_array_equal(ImageCache(entries, folder)[1], images[1])


def write_cache(folder: Path, names: list[str], images: list[np.ndarray]) -> None:
    folder.mkdir()
    (folder / "pixels-320.bin").write_bytes(b"".join(image.tobytes() for image in images))
    (folder / "index-320.json").write_text(json.dumps({"names": names, "sizes": sizes_of(images).tolist()}))


def test_an_index_with_a_name_twice_finds_the_images_behind(tmp_path: Path) -> None:
    images = random_images(3, 12)
    a, b, late = annotated(tmp_path / "images", images, "a")
    write_cache(tmp_path / "cache", [str(a.path), str(a.path), str(b.path)], [images[0], images[0], images[1]])
    cache = ImageCache([b, a, late], tmp_path / "cache")
    again = ImageCache([b, a, late], tmp_path / "cache")
    for row, image in enumerate([images[1], images[0], images[2]]):
        np.testing.assert_array_equal(cache[row], image)
        np.testing.assert_array_equal(again[row], image)


@pytest.mark.parametrize("pixels", [b"", b"half", None])
def test_an_index_without_its_pixels_is_none(tmp_path: Path, pixels: bytes | None) -> None:
    images = random_images(2, 13)
    entries = annotated(tmp_path / "images", images, "a")
    write_cache(tmp_path / "cache", [str(entry.path) for entry in entries], images)
    file = tmp_path / "cache" / "pixels-320.bin"
    file.unlink()
    if pixels is not None:
        file.write_bytes(pixels)
    np.testing.assert_array_equal(ImageCache(entries, tmp_path / "cache")[1], images[1])


def test_relative_and_absolute_paths_share_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(1, 14)
    (absolute,) = annotated(tmp_path / "images", images, "a")
    monkeypatch.chdir(tmp_path)
    (relative,) = annotated(Path("images"), images, "a")
    ImageCache([absolute], tmp_path / "cache")
    monkeypatch.setattr(image_cache, "_read", lambda *_: pytest.fail("decoded again"))
    np.testing.assert_array_equal(ImageCache([relative], tmp_path / "cache")[0], images[0])


def test_a_relative_path_written_before_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was another folder's."""
    theirs, ours = random_images(1, 15), random_images(1, 16)
    monkeypatch.chdir(tmp_path)
    (entry,) = annotated(Path("images"), ours, "a")
    write_cache(tmp_path / "cache", [str(entry.path)], theirs)
    np.testing.assert_array_equal(ImageCache([entry], tmp_path / "cache")[0], ours[0])
