"""Files written before keys were renamed still load: cards, configs, checkpoints, shards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from edgepose import ModelCard, Skeleton, modelcard  # noqa: E402
from edgepose.modelcard import METADATA_KEY  # noqa: E402
from edgepose_training import config  # noqa: E402
from edgepose_training.config import Config  # noqa: E402
from edgepose_training.data.crop_cache import CropCache  # noqa: E402
from edgepose_training.deploy.onnx_file import with_entries  # noqa: E402
from edgepose_training.engine import checkpoints  # noqa: E402

MODELS = sorted((Path(__file__).parents[2] / "edgepose" / "models").glob("*.onnx"))
CHECKPOINTS = Path(__file__).parents[3] / "shared" / "checkpoints"
OLD_CONFIG = {
    "classifier_gain": 0.5, "colour": 0.25, "cut": 0.125, "drops": [3, 5], "mild_start": 0.1, "mild_end": 0.2,
    "wide_end": True,
}  # fmt: skip


def old_text(card: ModelCard) -> str:
    """The card as it was written before."""
    before = {new: old for old, new in modelcard.RENAMED.items()}
    return json.dumps({before.get(name, name): value for name, value in json.loads(card.to_json()).items()})


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_shipped_card_of_either_spelling_reads_the_same(path: Path) -> None:
    properties = {p.key: p.value for p in onnx.load(path).metadata_props}
    card = ModelCard.from_json(properties[METADATA_KEY])
    assert card.license
    assert ModelCard.from_json(old_text(card)) == card
    assert '"licence"' in old_text(card)


def test_a_card_file_with_old_entries() -> None:
    card = with_entries(ModelCard("net", skeleton=Skeleton.load("coco17")), {"licence": "MIT", "untrained": (3,)})
    assert (card.license, card.unsupervised_keypoints) == ("MIT", (3,))


def test_a_config_with_old_keys(tmp_path: Path) -> None:
    recipe = Config.from_dict(dict(OLD_CONFIG))
    assert {recipe.to_dict()[config.RENAMED[key]] for key in ("classifier_gain", "cut", "colour")} == {0.5, 0.125, 0.25}
    assert recipe.lr_milestones == (3, 5)
    assert recipe.weak_end_keeps_geometry
    file = tmp_path / "mine.toml"
    file.write_text("cut = 0.75\n")
    assert Config.load(file, ["colour=0.5"]).truncation_prob == 0.75
    assert Config.load(file, ["colour=0.5"]).color == 0.5


def test_every_old_key_has_a_field_or_a_checkpoint_key() -> None:
    fields = set(Config().to_dict())
    assert {new for old, new in config.RENAMED.items() if old != "untrained"} <= fields


def test_a_checkpoint_written_before(small: Config, tmp_path: Path) -> None:
    skeleton = Skeleton.load(small.skeleton)
    before = {new: old for old, new in config.RENAMED.items()}
    values = {before.get(key, key): value for key, value in small.to_dict().items()}
    net = checkpoints.build_net(small, skeleton)
    state = {"model": net.state_dict(), "ema": None, "config": values, "skeleton": skeleton.to_dict(), "untrained": [3]}
    torch.save(state, tmp_path / "old.pt")
    loaded, recipe, _, rest = checkpoints.load_net(tmp_path / "old.pt")
    assert recipe == small
    assert rest["unsupervised_keypoints"] == [3]
    torch.testing.assert_close(loaded.state_dict(), net.state_dict())


@pytest.mark.skipif(not CHECKPOINTS.is_dir(), reason="the checkpoints outside of the repository are not here")
def test_the_checkpoints_that_trainings_start_from() -> None:
    _, recipe, skeleton, state = checkpoints.load_net(CHECKPOINTS / "edgepose_t.pt")
    assert (recipe.size, skeleton.num_keypoints) == ("t", 133)
    assert "untrained" not in state


def test_a_cache_of_crops_decoded_before(store: CropCache, tmp_path: Path) -> None:
    with np.load(store.path.parent / "index.npz") as table:
        columns = {"licences" if name == "licenses" else name: table[name] for name in table.files}
    np.savez(tmp_path / "index.npz", **columns)
    (tmp_path / "pixels.bin").write_bytes(store.path.read_bytes())
    old = CropCache.open(tmp_path)
    assert [crop.license for crop in old] == [crop.license for crop in store]
    np.testing.assert_array_equal(old[1].image, store[1].image)
