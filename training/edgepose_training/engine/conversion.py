"""Checkpoints of mmpose as checkpoints of this project: size, points and input are read off the shapes."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.config import Config
from edgepose_training.engine import checkpoints
from edgepose_training.engine.heatmaps import CELLS
from edgepose_training.engine.mmpose_checkpoints import MMPoseCheckpoint, Weights, checkpoint_of, read
from edgepose_training.models.recognition import NetName, num_keypoints, recognize

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


def infer_config(weights: Weights, origin: str, facts: dict[str, Any] | None = None) -> tuple[Config, int]:
    """The config and K of a net, from the shapes of its weights. Raises EdgeposeError.

    `facts`: what these do not tell, `input_size` (W, H) of a net of heat maps and `sigma` of its labels.
    """
    facts = facts or {}
    try:
        name = recognize(weights)
        count = num_keypoints(weights, name.head)
        if name.head == "heatmap":
            shape = _of_heatmaps(facts, origin)
        else:
            shape = _of_vectors(weights, name, origin, facts.get("sigma", 6.0))
    except ValueError as error:
        raise EdgeposeError(f"{origin}: no net that can be converted ({error})") from error
    except KeyError as error:
        raise EdgeposeError(f"{origin}: no net that can be converted, it has no {error.args[0]}") from error
    return Config.from_dict(name._asdict() | shape), count


def _of_heatmaps(facts: dict[str, Any], origin: str) -> dict[str, Any]:
    if "input_size" not in facts:
        raise EdgeposeError(f"{origin}: nets of heat maps take any input size; give the one it was trained for")
    return {"input_size": facts["input_size"], "heatmap_sigma": float(facts.get("sigma", 2.0))}


def _of_vectors(weights: Weights, name: NetName, origin: str, sigma: float) -> dict[str, Any]:
    """Input size, bins and labels of a SimCC net. RTMPose's labels follow from its bins; SimCC's are mmpose's usual."""
    rtmcc = name.head == "rtmcc"
    x, y = (f"head.cls_{axis}" if rtmcc else f"head.mlp_head_{axis}" for axis in "xy")
    bins_x, bins_y = (weights[f"{axis}.weight"].shape[0] for axis in (x, y))
    cells = weights["head.mlp.1.weight" if rtmcc else f"{x}.weight"].shape[1]
    stride = 4 if name.backbone in ("hrnet", "stem") or name.head == "simcc_deconv" else 32
    # bins = (W·k, H·k) and cells = W/stride · H/stride, so k² = bins_x · bins_y / (cells · stride²)
    split_ratio = round(math.sqrt(bins_x * bins_y / cells) / stride, 3)
    width, height = round(bins_x / split_ratio), round(bins_y / split_ratio)
    bins = int(width * split_ratio), int(height * split_ratio)
    if width % 32 or height % 32 or width * height != cells * stride**2 or bins != (bins_x, bins_y):
        raise EdgeposeError(f"{origin}: {bins_x} × {bins_y} bins on {cells} cells fit no input size")
    shape: dict[str, Any] = {"input_size": (width, height), "split_ratio": split_ratio}
    if rtmcc:
        return shape | {"sigma": (math.sqrt(bins_x / 16), math.sqrt(bins_y / 16))}  # RTMPose's rule
    return shape | {"sigma": (sigma, sigma), "beta": 1.0, "label_loss": "simcc_norm"}


def facts_of(meta: dict[str, Any]) -> dict[str, Any]:
    """Input size (W, H) and sigma as mmengine's copy of the config, a text in the file, states them."""
    text = meta.get("cfg")
    text = text if isinstance(text, str) else ""
    size = re.search(r"input_size=\(\s*(\d+),\s*(\d+)\s*\)", text)
    sigma = re.search(r"\bsigma=([\d.]+)", text)
    found: dict[str, Any] = {"input_size": (int(size[1]), int(size[2]))} if size else {}
    return found | ({"sigma": float(sigma[1])} if sigma else {})


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


def convert(
    path: Path, skeleton: str | None = None, stage: int | None = None, input_size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """The project's checkpoint of mmpose's file; its net loads strictly. Raises EdgeposeError.

    `input_size` (W, H): of a net of heat maps whose file does not state it.
    """
    content = read(path)
    if checkpoints.is_ours(content):
        raise EdgeposeError(f"{path}: a checkpoint of this project already; there is nothing to convert")
    checkpoint = checkpoint_of(content, str(path), stage)
    facts = facts_of(checkpoint.meta) | ({"input_size": input_size} if input_size else {})
    config, count = infer_config(checkpoint.weights, str(path), facts)
    found = Skeleton.load(skeleton) if skeleton else infer_skeleton(checkpoint.dataset, count)
    if found.num_keypoints != count:
        raise EdgeposeError(f"skeleton {found.name} has {found.num_keypoints} points, the net {count}")
    net = checkpoints.build_net(config, found)
    for weights in filter(None, (checkpoint.plain, checkpoint.weights)):
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[1].strip()
            raise EdgeposeError(f"{path}: no net that can be converted ({reason})") from error
    return {
        "model": checkpoint.plain or checkpoint.weights,
        "ema": checkpoint.weights if checkpoint.plain else None,
        "config": Config.from_dict(config.to_dict() | {"skeleton": skeleton or found.name}).to_dict(),
        "skeleton": found.to_dict(),
        "unsupervised_keypoints": [],
        "heatmap_cells": CELLS,
        "epoch": _epoch(checkpoint),
        "recipe": _recipe(checkpoint, config, path),
    }


def net_name(config: Config) -> str:
    """What people call a net."""
    if (config.backbone, config.head) == ("cspnext", "rtmcc"):
        return f"RTMPose-{config.size}"
    return f"{config.backbone}-{config.size} {config.head}"


def _epoch(checkpoint: MMPoseCheckpoint) -> int:
    epoch = checkpoint.meta.get("epoch", 0)
    return epoch if isinstance(epoch, int) else 0


def _recipe(checkpoint: MMPoseCheckpoint, config: Config, path: Path) -> str:
    facts = [f"{net_name(config)} of mmpose, converted from {path.name}"]
    if checkpoint.dataset.get("dataset_name"):
        facts.append(f"points of {checkpoint.dataset['dataset_name']}")
    if _epoch(checkpoint):
        facts.append(f"epoch {_epoch(checkpoint)}")
    return ", ".join(facts)
