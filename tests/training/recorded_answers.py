"""What mmpose itself answered: names and shapes of its nets, and outputs for weights of `seeded_weights.py`."""

import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from seeded_weights import seeded

FIXTURES = Path(__file__).parent / "fixtures"
RECORDED = np.load(FIXTURES / "mmpose_parity.npz")
CASES = json.loads(str(RECORDED["cases"]))


def mmpose_weights(case: str) -> OrderedDict[str, torch.Tensor]:
    """A state dict under the names that mmpose itself recorded."""
    shapes = CASES[case]["shapes"]
    return OrderedDict((name, torch.from_numpy(seeded(name, tuple(shape)))) for name, shape in shapes.items())
