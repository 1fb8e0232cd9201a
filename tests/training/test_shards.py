"""Shards keep people as they are, in parts of a bounded size, and name a file that is none."""

import cv2
import numpy as np
import pytest

from edgepose import EdgeposeError
from edgepose_training.datasets import Person
from edgepose_training.drawn import draw_person
from edgepose_training.pack import crop_person, pack
from edgepose_training.shards import CropStore, ShardWriter, find_shards, read_shard


def person(image: np.ndarray, path, bbox, points) -> Person:
    keypoints = np.zeros((133, 2), np.float32)
    visible = np.zeros(133, np.uint8)
    keypoints[: len(points)] = points
    visible[: len(points)] = 2
    return Person(
        image=path, image_id=1, annotation_id=1, source="made", licence="permissive", split="train",
        image_size=(image.shape[1], image.shape[0]), bbox=np.array(bbox, np.float32), area=1.0, keypoints=keypoints,
        visible=visible, weights=(visible > 0).astype(np.float32), part_boxes={},
    )  # fmt: skip


def test_a_crop_survives_the_round_trip(tmp_path):
    crop = draw_person(np.random.default_rng(0))
    with ShardWriter(tmp_path, image_format="webp", quality=101) as writer:  # above 100: lossless
        writer.write(crop)
    (back,) = read_shard(writer.paths[0])
    np.testing.assert_array_equal(back.image, crop.image)
    np.testing.assert_allclose(back.keypoints, crop.keypoints, atol=0.051)
    np.testing.assert_allclose(back.bbox, crop.bbox, atol=0.051)
    np.testing.assert_array_equal(back.visible, crop.visible)
    assert (back.source, back.licence) == (crop.source, crop.licence)


def test_parts_stay_below_their_size_and_lose_nobody(tmp_path):
    rng = np.random.default_rng(1)
    with ShardWriter(tmp_path, part_bytes=64 << 10, image_format="jpg") as writer:
        for _ in range(12):
            writer.write(draw_person(rng))
    assert len(writer.paths) > 1
    assert max(path.stat().st_size for path in writer.paths) <= 64 << 10
    assert sum(1 for path in writer.paths for _ in read_shard(path)) == 12


def test_the_store_is_decoded_again_when_the_shards_change(tmp_path):
    rng = np.random.default_rng(2)
    for count in (2, 3):
        with ShardWriter(tmp_path, image_format="jpg") as writer:
            for _ in range(count):
                writer.write(draw_person(rng))
        assert len(CropStore(find_shards(tmp_path))) == count


@pytest.mark.parametrize("content", [b"", b"not a tar file at all" * 50])
def test_a_foreign_file_is_named(tmp_path, content):
    path = tmp_path / "crops-00000.tar"
    path.write_bytes(content)
    with pytest.raises(EdgeposeError, match=r"crops-00000\.tar"):
        CropStore([path])


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
    grey = crop.image[..., 0].astype(np.float64)
    for point in crop.keypoints[:3]:
        x, y = np.round(point).astype(int)
        window = grey[max(y - 5, 0) : y + 6, max(x - 5, 0) : x + 6]
        ys, xs = np.mgrid[
            max(y - 5, 0) : max(y - 5, 0) + window.shape[0], max(x - 5, 0) : max(x - 5, 0) + window.shape[1]
        ]
        centre = np.array([(xs * window).sum(), (ys * window).sum()]) / window.sum()
        np.testing.assert_allclose(point, centre, atol=0.3)


def test_pack_skips_what_it_cannot_read(tmp_path):
    image = draw_person(np.random.default_rng(3)).image
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    cv2.imwrite(str(good), image)
    bad.write_bytes(b"broken")
    people = [person(image, path, [20, 20, 150, 240], [[50, 60]]) for path in (good, bad)]
    with ShardWriter(tmp_path / "out") as writer:
        assert pack(people, writer, workers=1) == 1
