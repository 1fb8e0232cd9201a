"""Several sets as the data of one run: weights, points, what is refused and what is told."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgepose import EdgeposeError, Skeleton  # noqa: E402
from edgepose_training.config import Config  # noqa: E402
from edgepose_training.data import window  # noqa: E402
from edgepose_training.data.augment import PLAIN  # noqa: E402
from edgepose_training.data.crop_cache import CropCache  # noqa: E402
from edgepose_training.data.feed import Feed  # noqa: E402
from edgepose_training.data.loaders import DeviceCrops, EpochSampler, labels_of, repeated  # noqa: E402
from edgepose_training.data.shard_folder import PackedSet, ShardFolder  # noqa: E402
from edgepose_training.data.shards import Crop, find_shards  # noqa: E402
from edgepose_training.data.training_data import Source, TrainingData  # noqa: E402
from edgepose_training.distributed import SINGLE_PROCESS  # noqa: E402

COCO17, LSP14 = Skeleton.load("coco17"), Skeleton.load("lsp14")
USUAL = {"context": 1.6, "max_side": 288, "aspect": 0.75}


def packed(folder: Path, skeleton: Skeleton, people: int, source: str, shade: int = 0, split: str = "train", **changes):
    """A folder of gray people; every point is labeled, at 5 times its number in x."""
    count = skeleton.num_keypoints
    points = np.column_stack((np.arange(count) * 5.0 + 1, np.full(count, 40.0))).astype(np.float32)
    shards = ShardFolder(folder / split, skeleton)
    with shards.writing(image_format="jpg", quality=100) as writer:
        for i in range(people):
            image = np.full((100 + shade, 90, 3), shade + i, np.uint8)
            box = np.array([5, 5, 85, 95], np.float32)
            seen = np.full(count, 2, np.uint8)
            writer.write(Crop(image, box, points, seen, np.ones(count, np.float32), source, "research"))
    shards.record(PackedSet(source, "x", people, {source: people}, **(USUAL | changes)))
    return folder


@pytest.fixture
def sets(tmp_path):
    return packed(tmp_path / "coco", COCO17, 6, "coco"), packed(tmp_path / "lsp", LSP14, 4, "lsp", shade=100)


def body(**changes) -> Config:
    """A run on COCO's points, small enough for the crops of these tests."""
    return replace(Config(), skeleton="coco17", input_size=(48, 64), batch=2, workers=0, **changes)


def opened(texts, config=None, split: str = "train", points=None):
    data = TrainingData([str(text) for text in texts], config or body(), points)
    return data, data.open(split, lambda folder: CropCache(find_shards(folder)))


def test_sets_of_other_points_become_one(sets):
    _, mix = opened(sets)
    assert (len(mix), mix.num_keypoints) == (10, 17)
    for i, crop in enumerate(mix):
        assert crop.image.shape == ((100, 90, 3) if i < 6 else (200, 90, 3))
        assert abs(int(crop.image[0, 0, 0]) - (i if i < 6 else 94 + i)) <= 1
        skeleton = COCO17 if i < 6 else LSP14
        for name, point, seen in zip(COCO17.keypoints, crop.keypoints, crop.visible, strict=True):
            assert bool(seen) == (name in skeleton.keypoints)
            assert point[0] == (skeleton.keypoints.index(name) * 5 + 1 if seen else 0)
        assert crop.source == ("coco" if i < 6 else "lsp")
    with pytest.raises(IndexError):
        mix[10]


def test_one_folder_of_the_runs_points_is_itself(sets):
    _, crops = opened(sets[:1])
    assert type(crops) is CropCache


def test_pixels_lie_at_their_offsets(sets):
    """As training on a GPU reads them: all at once."""
    _, mix = opened(sets)
    flat = mix.flat()
    for i, crop in enumerate(mix):
        start = int(mix.offsets[i])
        np.testing.assert_array_equal(flat[start : start + crop.image.size].reshape(crop.image.shape), crop.image)
    crops = DeviceCrops(mix, COCO17, torch.device("cpu"))
    (batch,) = crops.batches((48, 64), PLAIN, 10)
    assert [int(shade) for shade in batch.images[:, 30, 20, 0]] == pytest.approx([*range(6), *range(100, 104)], abs=2)


def test_weights_say_how_often_people_are_seen(sets):
    _, mix = opened([f"{sets[0]}=0.5", f"{sets[1]}=2"])
    seen = [np.bincount(EpochSampler(10, 1, epoch, repeats=mix.repeats).order, minlength=10) for epoch in range(40)]
    for count in seen:
        assert count[:6].max() == 1
        assert count[:6].sum() == 3
        assert count[6:].tolist() == [2] * 4
    assert (np.sum(seen, 0)[:6] > 0).all()  # others every time
    feed = Feed(body(), mix, COCO17, torch.device("cpu"), SINGLE_PROCESS)
    assert feed.steps_per_epoch == (3 + 8) // 2
    assert sum(len(batch.keypoints) for batch in feed.epoch(body(), 0)) == 10


def test_a_weight_of_one_changes_no_run_of_before():
    plain, once = EpochSampler(9, 3, 2), EpochSampler(9, 3, 2, repeats=np.ones(9))
    assert list(plain) == list(once)
    assert repeated(np.array([0.1, 0.1]), np.random.default_rng(0)).size == 1


def test_validation_sees_everybody_once(sets):
    packed(sets[1], LSP14, 3, "lsp", split="val")
    _, valid = opened([sets[0], f"{sets[1]}=5"], split="val")
    assert len(valid) == 3
    assert valid.repeats.tolist() == [1] * 3
    assert opened(sets[:1], split="val")[1] is None
    assert labels_of(valid, slice(None)).keypoints.shape == (3, 17, 2)


def test_people_without_a_source_are_only_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    packed(tmp_path, COCO17, 3, "")
    opened([tmp_path])
    assert f"{tmp_path}/train: 3 people, all points of coco17" in caplog.text


def test_it_is_told_who_came_from_where(sets, tmp_path, caplog):
    caplog.set_level("INFO")
    data, _ = opened([sets[0], f"{sets[1]}=2"])
    assert f"{sets[0]}/train: 6 people (6 of coco), all points of coco17" in caplog.text
    assert "4 people (4 of lsp), 12 of the 14 points of lsp14 as coco17, each 2 times an epoch" in caplog.text
    data.write(tmp_path / "data.json")
    rows = json.loads((tmp_path / "data.json").read_text())
    assert [(row["people"], row["sources"], row["weight"]) for row in rows] == [(6, {"coco": 6}, 1), (4, {"lsp": 4}, 2)]


def test_a_table_maps_points_of_ones_own(sets, tmp_path):
    table = tmp_path / "points.toml"
    table.write_text('[lsp14]\nnose = "head_top"\n')
    _, mix = opened(sets[1:], points=table)
    assert mix.keypoints[0, 0, 0] == LSP14.keypoints.index("head_top") * 5 + 1


@pytest.mark.parametrize("weight", ["0", "-1", "much", "nan", "inf", ""])
def test_weights_are_numbers_above_zero(weight):
    with pytest.raises(EdgeposeError, match="expected DIR=WEIGHT with a number above 0"):
        Source.parse(f"runs/shards={weight}")


def test_a_folder_may_have_an_equals_sign(tmp_path):
    (tmp_path / "a=2").mkdir()
    assert Source.parse(f"{tmp_path}/a=2") == Source(tmp_path / "a=2")
    assert Source.parse(f"{tmp_path}/a=2=3") == Source(tmp_path / "a=2", 3)


def test_a_folder_one_too_deep_gets_a_hint(sets):
    with pytest.raises(EdgeposeError, match=f"holds shards itself: give the folder above it, --shards {sets[0]}$"):
        TrainingData([str(sets[0] / "train")], body())
    (sets[0] / "train").rename(sets[0] / "crops")
    with pytest.raises(EdgeposeError, match="move them into train/"):
        TrainingData([str(sets[0] / "crops")], body())


def test_shards_of_unknown_points_are_refused(sets):
    (sets[1] / "train" / "packed.json").unlink()
    with pytest.raises(EdgeposeError, match=r"hold 14 keypoints, but skeleton coco17 has 17, and no packed\.json says"):
        opened(sets)
    (sets[0] / "train" / "packed.json").write_text("{")
    with pytest.raises(EdgeposeError, match=r"packed\.json: not a record"):
        opened(sets)


# --- windows ------------------------------------------------------------------------------------------------


def test_crops_that_the_input_would_enlarge_are_refused(sets):
    with pytest.raises(EdgeposeError, match=r"at most 288 px tall, which an input of 288×384 would enlarge.*--for"):
        TrainingData([str(sets[0])], replace(body(), input_size=(288, 384)))


def test_windows_that_leave_the_input_black_are_told(tmp_path, caplog):
    packed(tmp_path / "narrow", COCO17, 2, "coco", context=1.0)
    TrainingData([str(tmp_path / "narrow")], body())
    assert "of the input will be black beside the packed windows" in caplog.text
    caplog.clear()
    packed(tmp_path / "wide", COCO17, 2, "coco")
    TrainingData([str(tmp_path / "wide")], body())
    assert not caplog.text


@pytest.mark.parametrize("name", ["rtmpose_x_wholebody_384", "rtmpose_m_mpii", "edgepose_t_cpu"])
def test_windows_are_as_large_as_the_recipe_needs(name):
    config = Config.load(name)
    needed = window.window_for(config)
    assert needed["max_side"] == config.input_size[1] * 9 // 8
    assert needed["aspect"] == config.input_size[0] / config.input_size[1]
    assert window.black_share(config, needed["context"], needed["aspect"]) <= window.BLACK
    entry = PackedSet("coco", "x", 1, {}, **needed)
    assert window.check_window(entry, config, "x") is None


def test_black_is_what_the_painter_leaves_black():
    """White windows of the packed size, augmented and painted, against the share that is worked out."""
    config = replace(body(), erase=0.0, color=0.0, scale=(0.5, 1.5), half_body=0.0, truncation_prob=0.0, shift=0.16)
    store = CropCache.__new__(CropCache)
    people, (width, height), context = 300, (100, 200), 1.2
    tall = height * 1.25
    size = np.round(np.array([tall, tall * 0.75]) * context).astype(int)
    box = np.array([size[1] - width, size[0] - height, size[1] + width, size[0] + height], np.float32) / 2
    store.sizes, store.bboxes = np.tile(size, (people, 1)), np.tile(box, (people, 1))
    store.keypoints, store.visible = np.zeros((people, 17, 2), np.float32), np.zeros((people, 17), np.uint8)
    store.weights = np.zeros((people, 17), np.float32)
    from edgepose_training.data import augment
    from edgepose_training.data.loaders import strength_at
    from edgepose_training.data.render import render_cv2

    labels = labels_of(store, slice(None))
    plan = augment.plan(
        labels, COCO17, config.input_size, strength_at(config, 0.0), augment.draws(torch.arange(people))
    )
    images = render_cv2([np.full((*size, 3), 255, np.uint8)] * people, plan, config.input_size)
    assert (images < 128).mean() == pytest.approx(window.black_share(config, context, 0.75), abs=0.02)
