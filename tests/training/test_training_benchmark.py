"""benchmarks/training.py: its peer computes what ours does, and it runs."""

import importlib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgepose_training.data.loaders import Batch, normalize  # noqa: E402
from edgepose_training.engine.kernels import PlainTorch  # noqa: E402
from edgepose_training.engine.losses import rtmpose_loss  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        name = "training"
        yield importlib.import_module(name)


def test_mmposes_step_has_our_loss(bench, small):
    generator = torch.Generator().manual_seed(2)
    points = torch.rand(3, 133, 2, generator=generator) * 64
    batch = Batch(torch.randint(0, 255, (3, 64, 64, 3), dtype=torch.uint8, generator=generator), points,
                  torch.rand(3, 133, generator=generator), torch.rand(3, 133, generator=generator) > 0.2)  # fmt: skip
    step = bench.MmposeStep(small, batch, torch.device("cpu"))
    answers = step.net.eval()(normalize(batch.images))
    *target, kept = PlainTorch.simcc_encode(points, (batch.weights > 0).float(), input_size=small.input_size,
                                            split_ratio=2.0, sigma=small.sigma)  # fmt: skip
    ours = rtmpose_loss(PlainTorch(), answers, tuple(target), batch.weights * kept, small.beta)
    torch.testing.assert_close(step.loss(answers), ours)
    before = step.average["head.cls_x.weight"].clone()
    step.net.train()
    step()
    assert not torch.equal(step.average["head.cls_x.weight"], before)


def test_a_missed_goal_is_said(bench):
    times = {"step": {bench.PLAIN: np.array([15.0]), bench.OURS: np.array([10.0]), bench.THEIRS: np.array([9.0])},
             "losses": {"plain torch": np.array([4.0]), "kernels": np.array([2.0])}}  # fmt: skip
    found = {target: (value, holds) for target, value, holds in bench.targets(times, 0.2, bf16=True)}
    assert list(found.values()) == [("1.50 ×", False), ("0.90 ×", False), ("20.0 %", False), ("2.00 ×", True)]


@pytest.mark.slow
def test_it_runs(bench, capsys):
    assert bench.main(["--quick", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "| step, mmpose |" in printed
    assert "| waiting for data < 5 % of a step |" in printed
