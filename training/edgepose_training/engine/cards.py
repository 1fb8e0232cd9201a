"""The model card that a checkpoint implies."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from torch import nn

from edgepose import ModelCard, Skeleton
from edgepose_training.config import Config
from edgepose_training.data.loaders import MEAN, STD
from edgepose_training.engine.checkpoints import load_net
from edgepose_training.engine.heatmaps import STRIDE, cell_offset
from edgepose_training.engine.label_scores import label_beta, score_knots


def load_for_export(path: str | Path) -> tuple[nn.Module, ModelCard]:
    """The net of a checkpoint with its best weights, in eval mode, and the card that its config implies."""
    net, config, skeleton, state = load_net(path)
    return net, card_of(path, config, skeleton, state)


def card_of(path: str | Path, config: Config, skeleton: Skeleton, state: dict[str, Any]) -> ModelCard:
    """The card that a checkpoint implies."""
    rtmpose = (config.backbone, config.head) == ("cspnext", "rtmcc")
    net_name = f"RTMPose-{config.size}" if rtmpose else f"{config.backbone}-{config.size} {config.head}"
    # Converted checkpoints tell their own story.
    recipe = state.get("recipe") or f"{net_name}, epoch {state.get('epoch', 0)} of {config.epochs}"
    return ModelCard(
        name=Path(path).stem,
        input_size=config.input_size,
        channel_order="rgb",
        mean=MEAN,
        std=STD,
        **_codec(config, state),
        skeleton=skeleton,
        unsupervised_keypoints=tuple(state.get("unsupervised_keypoints", ())),
        license=state.get("license", ""),  # of an exported file that was made a checkpoint again
        data=state.get("data", ""),
        recipe=recipe,
        date=datetime.date.today().isoformat(),
    )


def _codec(config: Config, state: dict[str, Any]) -> dict[str, Any]:
    """What the card says of the net's answers and of their scores."""
    if config.head == "heatmap":
        return {
            "codec": "heatmap", "split_ratio": 1 / STRIDE, "sigma": (config.heatmap_sigma,) * 2, "beta": None,
            "score": "max", "refine": "quarter", "cell_offset": cell_offset(state["heatmap_cells"]),
        }  # fmt: skip
    vectors = {"split_ratio": config.split_ratio, "sigma": config.sigma}
    if config.head == "heatmap1d":  # regressed heat vectors peak at 1 by themselves: their scores are read as they are
        return vectors | {"beta": None, "score": "min"}
    knots = state.get("score_knots") or score_knots(config)
    return vectors | {"beta": label_beta(config), "score": "entropy", "score_knots": knots}
