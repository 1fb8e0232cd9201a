"""A pose net: backbone and SimCC head, with an auxiliary heat-map head that lives in training only."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from edgepose_training.models.cspnext import CSPNeXt
from edgepose_training.models.rtmcc import RTMCCHead


class PoseNet(nn.Module):
    """Normalised crops [N, 3, H, W] → (simcc_x [N, K, Wx], simcc_y [N, K, Wy])."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.backbone(x)[-1])


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
        return self.predict(self.merge(merged))


def build_pose_net(
    size: str = "t", num_keypoints: int = 133, input_size: tuple[int, int] = (192, 256), split_ratio: float = 2.0
) -> PoseNet:
    """RTMPose of a published size ("t", "s", "m", "l", "x").

    Args:
        num_keypoints: K.
        input_size: (W, H) in pixels, both multiples of 32.
        split_ratio: SimCC bins per pixel.
    """
    width, height = input_size
    if width % 32 or height % 32:
        raise ValueError(f"build_pose_net: input_size must be multiples of 32, got {width}×{height}")
    backbone = CSPNeXt(size)
    return PoseNet(backbone, RTMCCHead(backbone.channels[-1], num_keypoints, input_size, split_ratio))
