"""The net that a detector's config names, and the one that a checkpoint holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgepose_training.detector.config import DetectorConfig
from edgepose_training.detector.net import DetectorNet
from edgepose_training.engine import checkpoints


def build_net(config: DetectorConfig) -> DetectorNet:
    return DetectorNet(config.channels, config.blocks, config.neck)


def load_net(path: str | Path) -> tuple[DetectorNet, DetectorConfig, dict[str, Any]]:
    """The net of a checkpoint with its averaged weights, in eval mode. Raises EdgeposeError for a foreign file."""
    state = checkpoints.widen(checkpoints.load(path))
    config = DetectorConfig.from_dict(state["config"], origin=str(path))
    net = build_net(config)
    net.load_state_dict(state["ema"] or state["model"])
    return net.eval(), config, state
