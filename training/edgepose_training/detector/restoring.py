"""An exported detector as a training checkpoint again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from edgepose import EdgeposeError
from edgepose_training.deploy import onnx_weights, restoring
from edgepose_training.detector.batches import DetectorBatches, normalized
from edgepose_training.detector.checkpoints import build_net
from edgepose_training.detector.config import DetectorConfig
from edgepose_training.detector.samples import SampleBuilder
from edgepose_training.engine import checkpoints

BATCHES = 8  # whose images the statistics are of


def restore(model: str | Path, images: Sequence[Tensor]) -> dict[str, Any]:
    """The checkpoint of a shipped detector by its name, or of an exported one; see `deploy.restoring.restore`."""
    graph, card = restoring.read(model, "detector")
    try:
        shape = _shape(onnx_weights.ExportedWeights(graph.graph).layers)
    except (KeyError, IndexError) as error:
        raise EdgeposeError(f"{model}: no detector of this project") from error
    config = DetectorConfig.from_dict(shape | {"input_size": card.input_size[0]}, str(model))
    net = build_net(config)
    restoring.load(net, graph, images, (card.input_size[1], card.input_size[0]), str(model))
    return {
        "model": net.state_dict(),
        "ema": None,
        "config": config.to_dict(),
        "epoch": 0,
        "step": 0,
        "recipe": f"{card.name}, made a checkpoint again",
    }


def starting_weights(given: str, builder: SampleBuilder, config: DetectorConfig) -> checkpoints.Source:
    """What `--init` names; an exported detector gets its statistics from samples of the training."""
    if not restoring.is_exported(given):
        return Path(given)
    samples = DetectorBatches(builder, config)
    return checkpoints.Loaded(given, restore(given, [normalized(samples[step].images) for step in range(BATCHES)]))


def _shape(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The config's values that give the net its shape."""
    stages = [f"backbone.stages.{i}" for i in range(4)]
    firsts = ["backbone.stem.conv.weight", *(f"{stage}.0.conv.weight" for stage in stages)]
    blocks = [
        len({found[1] for name in weights if (found := re.match(rf"{re.escape(stage)}\.\d+\.blocks\.(\d+)\.", name))})
        for stage in stages
    ]
    return {
        "channels": [len(weights[name]) for name in firsts],
        "blocks": blocks,
        "neck": len(weights["neck.lateral.0.conv.weight"]),
    }
