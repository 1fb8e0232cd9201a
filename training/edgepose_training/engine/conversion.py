"""Checkpoints of mmpose as checkpoints of this project: size, points and input are read off the shapes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.config import Config
from edgepose_training.engine import checkpoints
from edgepose_training.engine.mmpose_checkpoints import MMPoseCheckpoint, Weights, read_mmpose
from edgepose_training.models.cspnext import SIZES, STAGES

# mmpose's names of data sets whose points ship as skeletons.
SKELETONS = {
    "coco": "coco17",
    "coco_wholebody": "coco_wholebody",
    "coco_wholebody_hand": "hand21",
    "onehand10k": "hand21",
    "crowdpose": "crowdpose14",
    "mpii": "mpii16",
    "halpe": "halpe136",
    "halpe26": "halpe26",
    "ap10k": "ap10k",
}


def infer_config(weights: Weights, origin: str) -> tuple[Config, int]:
    """The config and K of an RTMPose net, from the shapes of its weights. Raises EdgeposeError."""
    try:
        channels = weights["backbone.stage4.0.conv.weight"].shape[0]
        num_keypoints = weights["head.final_layer.weight"].shape[0]
        bins_x, bins_y = (weights[f"head.cls_{axis}.weight"].shape[0] for axis in "xy")
        cells = weights["head.mlp.1.weight"].shape[1]
    except KeyError as error:
        raise EdgeposeError(f"{origin}: not an RTMPose or DWPose net, it has no {error.args[0]}") from error
    sizes = {int(STAGES[-1][1] * widen): size for size, (_, widen) in SIZES.items()}
    if channels not in sizes:
        raise EdgeposeError(f"{origin}: a CSPNeXt of {channels} channels is none of RTMPose's sizes")
    # bins = (W·k, H·k) and cells = W/32 · H/32, so k² = bins_x · bins_y / (cells · 32²)
    split_ratio = round(math.sqrt(bins_x * bins_y / cells) / 32, 3)
    width, height = round(bins_x / split_ratio), round(bins_y / split_ratio)
    bins = int(width * split_ratio), int(height * split_ratio)
    if width % 32 or height % 32 or width * height != cells * 32**2 or bins != (bins_x, bins_y):
        raise EdgeposeError(f"{origin}: {bins_x} × {bins_y} bins on {cells} cells fit no input size")
    config = Config(
        size=sizes[channels],
        input_size=(width, height),
        split_ratio=split_ratio,
        sigma=(math.sqrt(bins_x / 16), math.sqrt(bins_y / 16)),  # RTMPose's rule
    )
    return config, num_keypoints


def infer_skeleton(dataset: dict[str, Any], num_keypoints: int) -> Skeleton:
    """The shipped skeleton of mmpose's data set, else one from its description, else the usual one of K points."""
    name, names = dataset.get("dataset_name"), dataset.get("keypoint_id2name")
    if name in SKELETONS and (shipped := Skeleton.load(SKELETONS[name])).num_keypoints == num_keypoints:
        return shipped
    if not isinstance(names, dict) or len(names) != num_keypoints:
        return Skeleton.for_size(num_keypoints)
    partners = enumerate(dataset.get("flip_indices", ()))
    return Skeleton.from_dict(
        {
            "name": str(name),
            "keypoints": [names[i] for i in range(num_keypoints)],
            "swap": [[i, partner] for i, partner in partners if i < partner],
            "links": [list(link) for link in dataset.get("skeleton_links", ())],
        }
    )


def convert(path: Path, skeleton: str | None = None, stage: int | None = None) -> dict[str, Any]:
    """The project's checkpoint of mmpose's file; its net loads strictly. Raises EdgeposeError."""
    checkpoint = read_mmpose(path, stage)
    config, num_keypoints = infer_config(checkpoint.weights, str(path))
    found = Skeleton.load(skeleton) if skeleton else infer_skeleton(checkpoint.dataset, num_keypoints)
    if found.num_keypoints != num_keypoints:
        raise EdgeposeError(f"skeleton {found.name} has {found.num_keypoints} points, the net {num_keypoints}")
    net = checkpoints.build_net(config, found)
    for weights in filter(None, (checkpoint.plain, checkpoint.weights)):
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[1].strip()
            raise EdgeposeError(f"{path}: not an RTMPose or DWPose net ({reason})") from error
    return {
        "model": checkpoint.plain or checkpoint.weights,
        "ema": checkpoint.weights if checkpoint.plain else None,
        "config": Config.from_dict(config.to_dict() | {"skeleton": skeleton or found.name}).to_dict(),
        "skeleton": found.to_dict(),
        "unsupervised_keypoints": [],
        "epoch": _epoch(checkpoint),
        "recipe": _recipe(checkpoint, config, path),
    }


def _epoch(checkpoint: MMPoseCheckpoint) -> int:
    epoch = checkpoint.meta.get("epoch", 0)
    return epoch if isinstance(epoch, int) else 0


def _recipe(checkpoint: MMPoseCheckpoint, config: Config, path: Path) -> str:
    facts = [f"RTMPose-{config.size} of mmpose, converted from {path.name}"]
    if checkpoint.dataset.get("dataset_name"):
        facts.append(f"points of {checkpoint.dataset['dataset_name']}")
    if _epoch(checkpoint):
        facts.append(f"epoch {_epoch(checkpoint)}")
    return ", ".join(facts)
