"""Lists, images and samples that a detector learns from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from detector_fixtures import write_data

from edgepose import EdgeposeError
from edgepose_training.data.sources import SourceRoles
from edgepose_training.detector.batches import DetectorBatches, canvas_size, normalized
from edgepose_training.detector.config import DetectorConfig
from edgepose_training.detector.image_cache import ImageCache
from edgepose_training.detector.person_lists import clean, read_images
from edgepose_training.detector.samples import SampleBuilder, SampleOptions, empty_window, paint, placement, texture

EDGEPOSE = SourceRoles.load("edgepose")
NONE = np.zeros((0, 4), np.float32)
NO_SCORES = np.zeros(0, np.float32)


def entry(source: str, boxes: list[list[float]]) -> dict:
    return {"file_name": "a.png", "width": 100, "height": 100, "source": source, "person_boxes": boxes}


def test_a_box_around_a_crowd_is_ignored() -> None:
    crowd = [0, 0, 100, 50]
    heads = [[5 + 30 * i, 5, 20, 30] for i in range(3)]
    image = clean(entry("coco", [crowd, *heads]), Path(), NONE, NONE, NO_SCORES, EDGEPOSE)
    np.testing.assert_array_equal(image.ignored, [[0, 0, 100, 50]])
    assert len(image.people) == 3


def test_raised_hands_of_selfies_are_ignored() -> None:
    body, hand = [20, 10, 70, 90], [2, 30, 15, 20]
    labeled = np.float32([[20, 10, 90, 100]])
    image = clean(entry("hands", [body, hand]), Path(), labeled, NONE, NO_SCORES, EDGEPOSE)
    np.testing.assert_array_equal(image.people, labeled)
    np.testing.assert_array_equal(image.ignored, [[2, 30, 17, 50]])
    assert len(clean(entry("coco", [body, hand]), Path(), labeled, NONE, NO_SCORES, EDGEPOSE).people) == 2


def test_a_piece_of_a_person_is_not_a_second_one() -> None:
    whole, upper = [10, 10, 40, 80], [12, 12, 36, 40]
    image = clean(entry("ccp", [upper, whole]), Path(), NONE, NONE, NO_SCORES, EDGEPOSE)
    np.testing.assert_array_equal(image.people, [[10, 10, 50, 90]])
    np.testing.assert_array_equal(image.ignored, [[12, 12, 48, 52]])


def test_pseudo_labels_fill_the_gaps() -> None:
    """A listed person seen again, a sure and an unsure stranger, and a piece of the listed one."""
    hints = np.float32([[1, 1, 40, 80], [60, 0, 90, 80], [60, 82, 75, 100], [5, 5, 30, 40]])
    scores = np.float32([0.9, 0.8, 0.4, 0.7])
    listed = [[0, 0, 40, 80]]
    filled = clean(entry("hexlong", listed), Path(), NONE, hints, scores, EDGEPOSE)
    np.testing.assert_array_equal(filled.people, np.float32([[0, 0, 40, 80], [60, 0, 90, 80]]))
    np.testing.assert_array_equal(filled.ignored, hints[2:3])
    drawn_by_people = clean(entry("coco", listed), Path(), NONE, hints, scores, EDGEPOSE)
    np.testing.assert_array_equal(drawn_by_people.ignored, hints[1:3])


def test_windows_touch_no_box() -> None:
    boxes = np.float32([[120, 0, 150, 200], [180, 150, 320, 240]])
    found = [empty_window(np.random.default_rng(i), (240, 320), boxes, tries=50) for i in range(20)]
    windows = np.array([w for w in found if w is not None])
    assert len(windows) > 5
    for x, y, w, h in windows:
        apart = (boxes[:, 0] >= x + w) | (boxes[:, 2] <= x) | (boxes[:, 1] >= y + h) | (boxes[:, 3] <= y)
        assert apart.all()
        assert x + w <= 320
        assert y + h <= 240


@pytest.mark.parametrize("seed", range(6))
def test_boxes_follow_the_pixels(seed: int) -> None:
    """A white rectangle on black: where it lands is where its box lands, mirrored, stretched or shrunk."""
    rng = np.random.default_rng(seed)
    image = np.zeros((200, 300, 3), np.uint8)
    image[60:160, 100:180] = 255
    rect = (32, 0, 128, 160)
    place = placement(rng, image.shape[:2], rect, (0.4, 0.9), 1.5)
    canvas = np.zeros((160, 192, 3), np.uint8)
    paint(canvas, image, rect, place)
    rows, columns = np.nonzero((canvas[..., 0] > 128) & (canvas[..., 0] != 114))
    corners = np.array([[100, 60], [180, 160]]) * place.diagonal() + place[:, 2]
    box = np.concatenate([corners.min(0), corners.max(0)])
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(found, box, atol=1.6)


def test_the_chain_of_samples(tmp_path: Path) -> None:
    images = read_images(write_data(tmp_path / "data"), "train")
    assert [len(p.people) for p in images] == [1] * 12 + [0]
    store = ImageCache(images, tmp_path / "store", side=64)
    assert store[0].shape == (64, 48, 3)
    np.testing.assert_array_equal(ImageCache(images, tmp_path / "store", side=64)[12], store[12])
    builder = SampleBuilder(images, store, {"drawn": 1.0})
    people = empty = 0
    for seed in range(60):
        sample = builder.sample(np.random.default_rng(seed), (96, 64), SampleOptions(0.3, 0.3, 0.3, smallest=10))
        assert sample.image.shape == (64, 96, 3)
        people += len(sample.people)
        empty += not sample.people
        for box in sample.people + sample.ignored:
            assert (box >= -1e-3).all()
            assert (box <= np.array([96, 64, 96, 64]) + 1e-3).all()
        assert all(max(box[2:] - box[:2]) >= 10 for box in sample.people)
    assert people > 30
    assert empty > 5


def test_a_step_is_the_same_whenever_it_is_drawn(tmp_path: Path) -> None:
    images = read_images(write_data(tmp_path / "data"), "train")
    builder = SampleBuilder(images, ImageCache(images, tmp_path / "store"), {})
    config = DetectorConfig(batch=3, epochs=1, epoch_steps=10, first_sides=(64, 96), last_sides=(64, 96))
    first, again = (DetectorBatches(builder, config)[7] for _ in range(2))
    assert first.images.equal(again.images)
    assert first.people.equal(again.people)
    assert DetectorBatches(builder, config)[6].images.float().mean() != first.images.float().mean()
    assert first.is_person.sum() > 0


def test_the_net_sees_rgb() -> None:
    import torch

    blue = torch.zeros(1, 2, 2, 3, dtype=torch.uint8)
    blue[..., 0] = 255
    planes = normalized(blue)[0, :, 0, 0]
    assert planes[2] > planes[0]
    assert planes[2] == pytest.approx((255 - 103.53) / 57.375, rel=1e-4)


def test_canvases_are_multiples_of_32() -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([canvas_size(rng, (192, 320)) for _ in range(100)])
    assert (sizes % 32 == 0).all()
    assert sizes.max(axis=1).min() >= 192
    assert sizes.max() == 320
    assert (sizes[:, 0] < sizes[:, 1]).any()


def test_textures_have_the_size_asked_for() -> None:
    assert texture(np.random.default_rng(0), (50, 30)).shape == (30, 50, 3)


def told(*overrides: str, path: Path | None = None) -> tuple[int, int, int]:
    config = DetectorConfig.load(path, list(overrides))
    return config.epochs, config.epoch_steps, config.validate_every


def test_a_run_counted_in_steps_is_one_of_epochs(tmp_path: Path) -> None:
    assert told("steps=12000") == (12, 1000, 1)
    assert told("steps=3000", "validate_every=500", "epoch=20000") == (6, 500, 1)
    assert told("steps=12100") == (11, 1100, 1)  # 12 epochs would lose 4 of them
    path = tmp_path / "old.toml"
    path.write_text("steps = 12000\nvalidate_every = 500\nepoch = 20000\n")
    assert told(path=path) == (24, 500, 1)
    assert told("epochs=3", path=path) == (3, 500, 1)
    assert told("steps=3000", path=path) == (6, 500, 1)
    (tmp_path / "new.toml").write_text('base = "old.toml"\nepochs = 5\n')
    assert told(path=tmp_path / "new.toml") == (5, 500, 1)


def test_steps_that_do_not_divide_are_told_and_none_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    assert told("steps=12007") == (12, 1001, 1)
    assert "12007 steps do not divide: 12 epochs of 1001" in caplog.text


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["epoch=3"], "unknown key 'epoch'"),
        (["validate_every=500"], "validate_every expected epochs, at most 12 of them, got 500"),
        (["steps=6000", "epochs=3"], "steps and epochs say the same"),
        (["steps=6000", "epoch_steps=500"], "steps and epoch_steps say the same"),
        (["steps=many"], "steps expected a whole number from 1, got 'many'"),
        (["steps=100", "validate_every=0"], "validate_every expected a whole number from 1, got 0"),
    ],
)
def test_lengths_of_a_run_that_make_no_sense(overrides: list[str], sentence: str) -> None:
    with pytest.raises(EdgeposeError, match=sentence):
        DetectorConfig.load(None, overrides)
