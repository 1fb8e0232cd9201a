"""Shards keep people as they are, in parts of a bounded size, and name a file that is none."""

import cv2
import numpy as np
import pytest

from edgepose import EdgeposeError
from edgepose_training.data.coco import Person
from edgepose_training.data.crop_cache import CropCache, extend
from edgepose_training.data.packing import crop_person, pack
from edgepose_training.data.shards import ShardWriter, find_shards, read_shard
from edgepose_training.data.synthetic import synthetic_person


def person(image: np.ndarray, path, bbox, points) -> Person:
    keypoints = np.zeros((133, 2), np.float32)
    visible = np.zeros(133, np.uint8)
    keypoints[: len(points)] = points
    visible[: len(points)] = 2
    return Person(
        image=path, image_id=1, annotation_id=1, source="made", license="permissive", split="train",
        image_size=(image.shape[1], image.shape[0]), bbox=np.array(bbox, np.float32), area=1.0, keypoints=keypoints,
        visible=visible, weights=(visible > 0).astype(np.float32), part_boxes={},
    )  # fmt: skip


def test_a_crop_survives_the_round_trip(tmp_path):
    crop = synthetic_person(np.random.default_rng(0))
    with ShardWriter(tmp_path, image_format="webp", quality=101) as writer:  # above 100: lossless
        writer.write(crop)
    (back,) = read_shard(writer.paths[0])
    np.testing.assert_array_equal(back.image, crop.image)
    np.testing.assert_allclose(back.keypoints, crop.keypoints, atol=0.051)
    np.testing.assert_allclose(back.bbox, crop.bbox, atol=0.051)
    np.testing.assert_array_equal(back.visible, crop.visible)
    assert (back.source, back.license) == (crop.source, crop.license)


def test_parts_stay_below_their_size_and_lose_nobody(tmp_path):
    rng = np.random.default_rng(1)
    with ShardWriter(tmp_path, part_bytes=64 << 10, image_format="jpg") as writer:
        for _ in range(12):
            writer.write(synthetic_person(rng))
    assert len(writer.paths) > 1
    assert max(path.stat().st_size for path in writer.paths) <= 64 << 10
    assert sum(1 for path in writer.paths for _ in read_shard(path)) == 12


def test_the_store_is_decoded_again_when_the_shards_change(tmp_path):
    rng = np.random.default_rng(2)
    for count in (2, 3):
        with ShardWriter(tmp_path, image_format="jpg") as writer:
            for _ in range(count):
                writer.write(synthetic_person(rng))
        assert len(CropCache(find_shards(tmp_path))) == count


def write(folder, count: int, seed: int, name: str = "crops-00000.tar", **options):
    rng = np.random.default_rng(seed)
    with ShardWriter(folder / name, image_format="jpg", **options) as writer:
        for _ in range(count):
            writer.write(synthetic_person(rng))
    return [path.rename(folder / f"{name}-{path.name}") for path in writer.paths]


def test_compressed_shards_keep_their_bound_and_their_people(tmp_path):
    plain = write(tmp_path, 30, seed=4, name="a", part_bytes=1 << 30)
    packed = write(tmp_path, 30, seed=4, name="b", part_bytes=500 << 10, compress=True)
    assert len(packed) > 1
    assert max(path.stat().st_size for path in packed) <= 500 << 10
    assert sum(p.stat().st_size for p in packed) < 0.95 * plain[0].stat().st_size
    ours, theirs = ([crop for path in paths for crop in read_shard(path)] for paths in (plain, packed))
    assert len(ours) == len(theirs) == 30
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.keypoints, b.keypoints)


def same(a: CropCache, b: CropCache) -> bool:
    return len(a) == len(b) and all(
        np.array_equal(x.image, y.image) and np.array_equal(x.keypoints, y.keypoints) and x.source == y.source
        for x, y in zip(a, b, strict=True)
    )


def test_a_store_grows_by_shards_that_come_later(tmp_path):
    """What arrived in an earlier delivery stays, though its shard is gone; decoding twice adds nothing."""
    first, second = write(tmp_path, 3, seed=5, name="a"), write(tmp_path, 2, seed=6, name="b")
    whole = CropCache([*first, *second], tmp_path / "whole")
    assert extend(tmp_path / "grown", first) == 3
    first[0].rename(tmp_path / "elsewhere")
    assert extend(tmp_path / "grown", second) == 2
    assert extend(tmp_path / "grown", second) == 0
    assert same(CropCache.open(tmp_path / "grown"), whole)
    assert len(CropCache(second, tmp_path / "grown")) == 2  # asked for these alone


def test_processes_decode_the_same_store(tmp_path):
    shards = write(tmp_path, 2, seed=7, name="a") + write(tmp_path, 2, seed=8, name="b")
    assert same(CropCache(shards, tmp_path / "two", workers=2), CropCache(shards, tmp_path / "one"))


def test_a_broken_delivery_leaves_the_store_as_it_was(tmp_path):
    good, late = write(tmp_path, 3, seed=9, name="a"), write(tmp_path, 2, seed=10, name="c")
    extend(tmp_path / "store", good)
    broken = tmp_path / "b.tar.gz"
    broken.write_bytes(write(tmp_path, 2, seed=11, name="b", compress=True)[0].read_bytes()[:-2000])
    with pytest.raises(EdgeposeError, match=r"b\.tar\.gz"):
        extend(tmp_path / "store", [late[0], broken])
    assert len(CropCache.open(tmp_path / "store")) == 3
    extend(tmp_path / "store", late)
    assert same(CropCache.open(tmp_path / "store"), CropCache([*good, *late], tmp_path / "other"))
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["index.npz", "pixels.bin"]


@pytest.mark.parametrize("content", [b"", b"not a tar file at all" * 50])
def test_a_foreign_file_is_named(tmp_path, content):
    path = tmp_path / "crops-00000.tar"
    path.write_bytes(content)
    with pytest.raises(EdgeposeError, match=r"crops-00000\.tar"):
        CropCache([path])


def test_an_empty_folder_says_how_to_make_shards(tmp_path):
    with pytest.raises(EdgeposeError, match=r"pack\.py"):
        find_shards(tmp_path)


@pytest.mark.parametrize("max_side", [288, 60])
def test_points_stay_on_their_pixels(tmp_path, max_side):
    """White dots on black are found where the crop's keypoints say, scaled down or not."""
    image = np.zeros((240, 320, 3), np.uint8)
    spots = np.array([[100, 80], [180, 150], [140, 200]], np.float32)
    for x, y in spots.astype(int):
        cv2.circle(image, (int(x), int(y)), 4, (255, 255, 255), -1)
    crop = crop_person(image, person(image, tmp_path, [90, 70, 200, 220], spots), max_side=max_side)
    gray = crop.image[..., 0].astype(np.float64)
    for point in crop.keypoints[:3]:
        x, y = np.round(point).astype(int)
        window = gray[max(y - 5, 0) : y + 6, max(x - 5, 0) : x + 6]
        ys, xs = np.mgrid[
            max(y - 5, 0) : max(y - 5, 0) + window.shape[0], max(x - 5, 0) : max(x - 5, 0) + window.shape[1]
        ]
        center = np.array([(xs * window).sum(), (ys * window).sum()]) / window.sum()
        np.testing.assert_allclose(point, center, atol=0.3)


def test_pack_skips_what_it_cannot_read(tmp_path):
    image = synthetic_person(np.random.default_rng(3)).image
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    cv2.imwrite(str(good), image)
    bad.write_bytes(b"broken")
    people = [person(image, path, [20, 20, 150, 240], [[50, 60]]) for path in (good, bad)]
    with ShardWriter(tmp_path / "out") as writer:
        assert pack(people, writer, workers=1) == 1
