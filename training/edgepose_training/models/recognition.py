"""Which net a state dict belongs to, read off the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from edgepose_training.models import cspnext, hrnet, resnet

Tensors = Mapping[str, Any]  # torch's or numpy's: only their shapes are looked at


class NetName(NamedTuple):
    """The three words of a config that name a net; see `build_pose_net`."""

    backbone: str
    size: str
    head: str


def recognize(tensors: Tensors) -> NetName:
    """The net of these tensors, under this project's names, which are mmpose's.

    Raises ValueError that says which of its parts is unknown.
    """
    if any(name.startswith("hourglasses.") for name in tensors):
        stacks, width = _count(tensors, "hourglasses."), _rows(tensors, "stem.6.conv3.weight")
        return NetName("hourglass", f"{stacks}x{width}", "heatmap")
    return NetName(*_backbone(tensors), _head(tensors))


def num_keypoints(tensors: Tensors, head: str) -> int:
    """K of a net whose head is called so. Raises KeyError where the tensor that tells is missing."""
    match head:
        case "rtmcc":
            return _rows(tensors, "head.final_layer.weight")
        case "tokenpose":
            return _rows(tensors, "head.tokens")
        case "heatmap1d":
            return _rows(tensors, "head.x.predict.weight")
        case "simcc_deconv":
            return _rows(tensors, "head.deconv_head.final_layer.weight")
    name = "head.final_layer.weight" if "head.final_layer.weight" in tensors else "scores.0.weight"
    return _rows(tensors, name)


def _backbone(tensors: Tensors) -> tuple[str, str]:
    if "backbone.stage4.0.conv.weight" in tensors:
        channels = _rows(tensors, "backbone.stage4.0.conv.weight")
        sizes = {int(cspnext.STAGES[-1][1] * widen): size for size, (_, widen) in cspnext.SIZES.items()}
        return "cspnext", _size(sizes, channels, "a CSPNeXt of {} channels")
    if "backbone.stage2.0.branches.0.0.conv1.weight" in tensors:
        width = _rows(tensors, "backbone.stage2.0.branches.0.0.conv1.weight")
        return "hrnet", _size({value: size for size, value in hrnet.SIZES.items()}, width, "an HRNet of width {}")
    if "backbone.layer4.0.conv3.weight" in tensors:
        blocks = tuple(_count(tensors, f"backbone.layer{i}.") for i in (1, 2, 3, 4))
        return "resnet", _size({value: size for size, value in resnet.SIZES.items()}, blocks, "a ResNet of {} blocks")
    if "backbone.layer1.0.conv3.weight" in tensors and "backbone.conv2.weight" in tensors:
        return "stem", ""
    raise ValueError("its backbone is none of CSPNeXt, ResNet, HRNet and stacked hourglasses")


def _head(tensors: Tensors) -> str:
    for name, head in (
        ("head.gau.uv.weight", "rtmcc"),
        ("head.patch_embedding.weight", "tokenpose"),
        ("head.deconv_head.final_layer.weight", "simcc_deconv"),
        ("head.mlp_head_x.weight", "simcc"),
        ("head.x.predict.weight", "heatmap1d"),
        ("head.final_layer.weight", "heatmap"),
    ):
        if name in tensors:
            return head
    raise ValueError("its head is none of RTMPose's, SimCC's and those of heat maps")


def _rows(tensors: Tensors, name: str) -> int:
    return int(tensors[name].shape[0])


def _count(tensors: Tensors, prefix: str) -> int:
    """Members of the list of modules with this prefix."""
    return len({name.removeprefix(prefix).partition(".")[0] for name in _under(tensors, prefix)})


def _under(tensors: Iterable[str], prefix: str) -> list[str]:
    return [name for name in tensors if name.startswith(prefix)]


def _size(sizes: Mapping[Any, str], found: Any, what: str) -> str:
    if found not in sizes:
        raise ValueError(f"{what.format(found)} is none of the sizes {', '.join(sizes.values())}")
    return sizes[found]
