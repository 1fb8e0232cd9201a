"""HRNet (Sun et al. 2019): parallel branches of stride 4 to 32, fused after every module.

Module names follow mmpose's and the authors', so that their state dicts load strictly.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgepose_training.models.backbone import Backbone
from edgepose_training.models.resnet import BasicBlock, conv1x1, conv3x3, layer

# Channels of the stride-4 branch; every further branch has twice those of the one before.
SIZES = {"w32": 32, "w48": 48}
MODULES = (1, 4, 3)  # of stages 2, 3 and 4, which have 2, 3 and 4 branches
BLOCKS = 4  # on each branch of a module


class Stem(Backbone):
    """Images [N, 3, H, W] → one stride-4 map of 256 channels: two strided convolutions and four bottlenecks.

    HRNet's beginning, and the convolutional part of TokenPose-S.
    """

    stride = 4

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv3x3(3, 64, stride=2), nn.BatchNorm2d(64)
        self.conv2, self.bn2 = conv3x3(64, 64, stride=2), nn.BatchNorm2d(64)
        self.layer1 = layer(64, 256, blocks=4, stride=1)
        self.channels = [256]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return (self.layer1(x),)


def conv_bn(c_in: int, c_out: int, stride: int, relu: bool) -> nn.Sequential:
    return nn.Sequential(conv3x3(c_in, c_out, stride), nn.BatchNorm2d(c_out), *([nn.ReLU()] if relu else []))


def path(widths: list[int], source: int, target: int) -> nn.Module:
    """From one branch's shape to another's: 1×1 and nearest upsampling, or one strided 3×3 for every halving."""
    c_in, c_out = widths[source], widths[target]
    if source == target:
        return nn.Identity()
    if source > target:
        upsample = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
        return nn.Sequential(conv1x1(c_in, c_out), nn.BatchNorm2d(c_out), upsample)
    halvings = [conv_bn(c_in, c_in, 2, relu=True) for _ in range(target - source - 1)]
    return nn.Sequential(*halvings, conv_bn(c_in, c_out, 2, relu=False))


class HRModule(nn.Module):
    """Basic blocks on every branch, then each of the first `outputs` branches sums what all of them send."""

    def __init__(self, widths: list[int], outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(w, w) for _ in range(BLOCKS))) for w in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(path(widths, source, target) for source in range(len(widths))) for target in range(outputs)
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return [F.relu(self._sum(moves, maps)) for moves in self.fuse_layers]

    @staticmethod
    def _sum(moves: nn.Module, maps: list[Tensor]) -> Tensor:
        sent: list[Tensor] = [move(x) for move, x in zip(moves.children(), maps, strict=True)]
        return reduce(torch.add, sent)


class HRNet(Stem):
    """Images [N, 3, H, W] → the stride-4 map alone, which is all that pose heads use."""

    stage2: nn.Sequential
    stage3: nn.Sequential
    stage4: nn.Sequential

    def __init__(self, size: str = "w32") -> None:
        super().__init__()
        width = SIZES[size]
        widths = [width * 2**i for i in range(4)]
        new_branch = conv_bn(256, widths[1], 2, relu=True)
        self.transition1 = nn.ModuleList([conv_bn(256, width, 1, relu=True), nn.Sequential(new_branch)])
        self.transition2 = self._grow(widths[:3])
        self.transition3 = self._grow(widths)
        for stage, modules in enumerate(MODULES, start=2):
            branches = widths[:stage]
            outputs = [stage] * modules
            if stage == 4:
                outputs[-1] = 1
            setattr(self, f"stage{stage}", nn.Sequential(*(HRModule(branches, n) for n in outputs)))
        self.channels = [width]

    @staticmethod
    def _grow(widths: list[int]) -> nn.ModuleList:
        """One more branch, from the coarsest so far; the others stay as they are."""
        new_branch = nn.Sequential(conv_bn(widths[-2], widths[-1], 2, relu=True))
        return nn.ModuleList([*(nn.Identity() for _ in widths[:-1]), new_branch])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        (stem,) = super().forward(x)
        maps = self.stage2([move(stem) for move in self.transition1])
        for transition, stage in ((self.transition2, self.stage3), (self.transition3, self.stage4)):
            maps = stage([move(y) for move, y in zip(transition, [*maps, maps[-1]], strict=True)])
        return tuple(maps)
