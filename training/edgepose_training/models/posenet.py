"""A pose net: backbone and head by name, with an auxiliary heat-map head that lives in training only."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn import functional as F

from edgepose_training.models import cspnext, hrnet, resnet
from edgepose_training.models.backbone import Backbone
from edgepose_training.models.cspnext import CSPNeXt
from edgepose_training.models.heatmap import Heatmap1dHead, HeatmapHead
from edgepose_training.models.hourglass import HourglassNet
from edgepose_training.models.hrnet import HRNet, Stem
from edgepose_training.models.resnet import ResNet
from edgepose_training.models.rtmcc import RTMCCHead
from edgepose_training.models.simcc import SimCCHead
from edgepose_training.models.tokenpose import TokenPoseHead

BACKBONES = ("cspnext", "resnet", "hrnet", "stem")
HEADS = ("rtmcc", "simcc", "simcc_deconv", "tokenpose", "heatmap", "heatmap1d")


class PoseNet(nn.Module):
    """Normalized crops [N, 3, H, W] → what the head makes of the last map: (simcc_x, simcc_y), or heat maps."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        answer: tuple[Tensor, Tensor] | Tensor = self.head(self.backbone(x)[-1])
        return answer


class HeatmapAux(nn.Module):
    """Dense supervision early: one logit a keypoint and stride-8 cell, from the three merged maps.

    A small SimCC net sits at the mean pose for long; a heat map tells the backbone where things are from the
    first steps on. Costs little, and is dropped at export.
    """

    def __init__(self, channels: list[int], num_keypoints: int, width: int = 96) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.merge = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.SiLU())
        self.predict = nn.Conv2d(width, num_keypoints, 1)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:  # → [N, K, H/8, W/8]
        size = maps[0].shape[-2:]
        merged = self.lateral[0](maps[0])
        for lateral, coarse in zip(list(self.lateral)[1:], maps[1:], strict=True):
            merged = merged + F.interpolate(lateral(coarse), size, mode="bilinear", align_corners=False)
        logits: Tensor = self.predict(self.merge(merged))
        return logits


def build_backbone(name: str, size: str) -> Backbone:
    """A backbone by name."""
    match name:
        case "cspnext":
            return CSPNeXt(_known(size, cspnext.SIZES, name))
        case "resnet":
            return ResNet(_known(size, resnet.SIZES, name))
        case "hrnet":
            return HRNet(_known(size, hrnet.SIZES, name))
        case "stem":
            return Stem()
    raise ValueError(f"build_pose_net: backbone expected {', '.join((*BACKBONES, 'hourglass'))}, got {name!r}")


def build_head(
    name: str, channels: int, stride: int, num_keypoints: int, input_size: tuple[int, int], split_ratio: float
) -> nn.Module:
    """A head by name, for the last map of a backbone."""
    shape = (channels, num_keypoints, input_size, stride, split_ratio)
    deconvs = int(math.log2(stride // 4))  # up to stride 4, as SimpleBaseline does
    match name:
        case "rtmcc":
            return RTMCCHead(channels, num_keypoints, input_size, split_ratio, stride=stride)
        case "simcc":
            return SimCCHead(*shape)
        case "simcc_deconv":
            return SimCCHead(*shape, deconvs=deconvs)
        case "tokenpose":
            return TokenPoseHead(*shape)
        case "heatmap":
            return HeatmapHead(channels, num_keypoints, deconvs)
        case "heatmap1d":
            return Heatmap1dHead(*shape)
    raise ValueError(f"build_pose_net: head expected {', '.join(HEADS)}, got {name!r}")


def build_pose_net(
    size: str = "t",
    num_keypoints: int = 133,
    input_size: tuple[int, int] = (192, 256),
    split_ratio: float = 2.0,
    *,
    backbone: str = "cspnext",
    head: str = "rtmcc",
) -> nn.Module:
    """RTMPose of a published size ("t", "s", "m", "l", "x"), or any other backbone under any other head.

    SimCC nets, and the one-dimensional heat maps, answer (simcc_x [N, K, Wx], simcc_y [N, K, Wy]); heat-map nets
    answer [N, K, H/4, W/4].

    Args:
        num_keypoints: K.
        input_size: (W, H) in pixels, both multiples of 32.
        split_ratio: SimCC bins per pixel.
        backbone: one of BACKBONES, or "hourglass" with its own heat-map head (`head="heatmap"`).
        head: one of HEADS.
    """
    width, height = input_size
    if width % 32 or height % 32:
        raise ValueError(f"build_pose_net: input_size must be multiples of 32, got {width}×{height}")
    if backbone == "hourglass":
        if head != "heatmap":
            raise ValueError(f"build_pose_net: head of an hourglass expected 'heatmap', got {head!r}")
        return HourglassNet(size, num_keypoints)
    net = build_backbone(backbone, size)
    return PoseNet(net, build_head(head, net.channels[-1], net.stride, num_keypoints, input_size, split_ratio))


def _known(size: str, sizes: Iterable[str], name: str) -> str:
    if size not in sizes:
        raise ValueError(f"build_pose_net: size of {name} expected {', '.join(sizes)}, got {size!r}")
    return size
