"""Fixtures of the training tests: synthetic people in shards, a small config, nothing from outside."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgepose_training.config import Config  # noqa: E402  (after the skip)
from edgepose_training.data.crop_cache import CropCache  # noqa: E402
from edgepose_training.data.shards import ShardWriter, find_shards  # noqa: E402
from edgepose_training.data.synthetic import synthetic_person  # noqa: E402


@pytest.fixture(autouse=True)
def _closed_run_logs() -> Iterator[None]:
    """TensorBoard's thread fails, in whichever test runs then, once its folder is deleted: close what you open."""
    yield
    left = [type(thread).__name__ for thread in threading.enumerate() if "tensorboard" in type(thread).__module__]
    assert not left, "a Trainer was not closed: fit() does so itself, fit_epoch() leaves it to the caller"


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> CropCache:
    """Twelve synthetic people."""
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(5)
    with ShardWriter(folder, image_format="jpg", quality=95) as writer:
        for _ in range(12):
            writer.write(synthetic_person(rng))
    return CropCache(find_shards(folder))


@pytest.fixture(scope="session")
def small() -> Config:
    """The smallest net on small inputs, few steps, no randomness but the seed."""
    return Config.from_dict(
        {
            "size": "n", "input_size": [64, 64], "sigma": [2.83, 2.83], "batch": 4, "workers": 0, "epochs": 2,
            "lr": 1e-3, "warmup": 2, "aux_heatmap": 0.1, "head_init_scale": 0.02, "ema": 0.1, "amp": "off",
            "teach_absence": True, "truncation_prob": 0.2, "log_every": 1, "channels_last": False, "save_minutes": 60,
        }
    )  # fmt: skip
