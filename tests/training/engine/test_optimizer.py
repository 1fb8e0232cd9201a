"""Learning rates over the steps, and averaged weights."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgepose_training.engine.optimizer import Ema, lr_factor  # noqa: E402


def test_flat_cosine(small):
    config = replace(small, warmup=10, flat=0.5, lr_floor=0.05)
    factors = [lr_factor(step, 100, config) for step in range(100)]
    assert factors[0] == pytest.approx(0.1, abs=1e-4)
    assert factors[20:50] == [1.0] * 30
    assert factors[50:] == sorted(factors[50:], reverse=True)
    assert factors[-1] == pytest.approx(0.05, abs=2e-3)


def test_steps_of_a_tenth(small):
    config = replace(small, warmup=4, epochs=10, lr_milestones=(6, 9))
    factors = [lr_factor(step, 40, config) for step in range(40)]
    np.testing.assert_allclose(factors[4:24], 1)
    np.testing.assert_allclose(factors[24:36], 0.1)
    np.testing.assert_allclose(factors[36:], 0.01)
    assert lr_factor(30, 40, config, warm=0) < 0.1 * 0.3  # a fresh optimizer in the middle is warmed up


def test_ema_is_the_average_it_claims():
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    ema = Ema(module, momentum=0.1)
    expected = 0.0
    for step in range(1, 100):
        torch.nn.init.constant_(module.weight, float(step))
        ema.update()
        momentum = max(0.1, 1 / (step / 4 + 1))
        expected += momentum * (step - expected)
    assert float(ema.state["weight"]) == pytest.approx(expected, rel=1e-5)
