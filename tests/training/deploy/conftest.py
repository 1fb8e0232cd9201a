"""Fixtures of the export tests: a checkpoint, the file made from it, people to calibrate on."""

from pathlib import Path

import evaluation_fixtures as fixtures
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from deploy_fixtures import BODY, INPUT_SIZE  # noqa: E402

from edgepose import ModelCard  # noqa: E402
from edgepose_training.config import Config  # noqa: E402
from edgepose_training.data.coco import Person, read_coco_wholebody  # noqa: E402
from edgepose_training.deploy import exporter  # noqa: E402
from edgepose_training.engine import checkpoints  # noqa: E402
from edgepose_training.models import build_pose_net  # noqa: E402


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A checkpoint of a tiny net whose averaged weights differ from its plain ones, with logits of a trained size."""
    torch.manual_seed(3)
    net = build_pose_net("t", 17, INPUT_SIZE)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    averaged = {name: value.clone() for name, value in net.state_dict().items()}
    for name in ("head.cls_x.weight", "head.cls_y.weight"):
        averaged[name] = averaged[name] * 300
    path = tmp_path_factory.mktemp("checkpoint") / "best.pt"
    config = Config(size="t", skeleton="coco17", input_size=INPUT_SIZE, sigma=(2.83, 3.46), epochs=9)
    state = {"model": net.state_dict(), "ema": averaged, "config": config.to_dict(), "skeleton": BODY.to_dict()}
    checkpoints.save(path, state | {"unsupervised_keypoints": [3], "epoch": 4})
    return path


@pytest.fixture(scope="module")
def exported(trained) -> tuple[onnx.ModelProto, ModelCard, float]:
    return exporter.export(trained)


@pytest.fixture
def people(tmp_path) -> list[Person]:
    data = fixtures.dataset(tmp_path / "data", split="train")
    return read_coco_wholebody(data / "annotations/train.json", data / "images", BODY)
