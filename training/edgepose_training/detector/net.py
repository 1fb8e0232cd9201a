"""`edgepose-det`, a one-class anchor-free detector for CPUs: CSPNeXt blocks, a light path aggregation, bare heads.

What an edge CPU is slow at is left out. Activations are ReLUs, which runtimes fold into the convolution before them
(SiLU costs a sixth more of the whole net in onnxruntime); widths are multiples of 16, the block of its vectorized
layout; merging adds instead of concatenating; nothing but convolutions happens at high resolution.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgepose_training.models.cspnext import ConvModule, CSPLayer, DepthwiseSeparableConvModule, SPPBottleneck

STRIDES = (8, 16, 32)  # pixels between cells
CELL_VALUES = 5  # person logit, and the logarithms of the distances to left, top, right, bottom edge in strides

_PRIOR = 0.01  # a cell's first probability of being a person's: without it the many empty cells drown the few others
_FIRST_DISTANCE = 1.0  # logarithm of the first guess of an edge's distance, in strides


class DetectorBackbone(nn.Module):
    """Images [N, 3, H, W] → maps of stride 8, 16 and 32. CSPNeXt with a lighter stem and fewer blocks."""

    def __init__(self, channels: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = ConvModule(3, channels[0], 3, stride=2)
        stages = []
        for i, (c_in, c_out, count) in enumerate(zip(channels[:-1], channels[1:], blocks, strict=True)):
            last = i == len(blocks) - 1
            pyramid = [SPPBottleneck(c_out)] if last else []
            csp = CSPLayer(c_out, c_out, count, add_identity=not last)
            stages.append(nn.Sequential(ConvModule(c_in, c_out, 3, stride=2), *pyramid, csp))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[1:]


class DetectorNeck(nn.Module):
    """Path aggregation (PANet): context flows down to the fine maps, then detail back up to the coarse ones."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(ConvModule(c, width, 1) for c in channels)
        self.top_down = nn.ModuleList(DepthwiseSeparableConvModule(width, width, 5) for _ in channels[1:])
        self.down = nn.ModuleList(_Downsample(width) for _ in channels[1:])
        self.bottom_up = nn.ModuleList(DepthwiseSeparableConvModule(width, width, 5) for _ in channels[1:])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        fine, middle, coarse = (layer(x) for layer, x in zip(self.lateral, maps, strict=True))
        middle = self.top_down[1](middle + F.interpolate(coarse, scale_factor=2.0))
        fine = self.top_down[0](fine + F.interpolate(middle, scale_factor=2.0))
        middle = self.bottom_up[0](middle + self.down[0](fine))
        coarse = self.bottom_up[1](coarse + self.down[1](middle))
        return [fine, middle, coarse]


class _Downsample(nn.Sequential):
    """Half the resolution by a depth-wise 3×3 and a point-wise convolution."""

    def __init__(self, width: int) -> None:
        super().__init__(ConvModule(width, width, 3, stride=2, groups=width), ConvModule(width, width, 1))


class DetectorHead(nn.Module):
    """One map → [N, 5, h, w]: classification and box have a depth-wise separable 5×5 of their own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.person_conv = DepthwiseSeparableConvModule(width, width, 5)
        self.box_conv = DepthwiseSeparableConvModule(width, width, 5)
        self.person = nn.Conv2d(width, 1, 1)
        self.box = nn.Conv2d(width, 4, 1)
        nn.init.normal_(self.person.weight, std=0.01)
        nn.init.normal_(self.box.weight, std=0.01)
        for layer, value in ((self.person, -math.log((1 - _PRIOR) / _PRIOR)), (self.box, _FIRST_DISTANCE)):
            assert layer.bias is not None
            nn.init.constant_(layer.bias, value)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.person(self.person_conv(x)), self.box(self.box_conv(x))), dim=1)


class DetectorNet(nn.Module):
    """Images [N, 3, H, W], H and W multiples of 32 → `cells` [N, 5, A], the three maps' cells row by row, fine first.

    A is H·W·(1/8² + 1/16² + 1/32²). Values of a cell: see CELL_VALUES. `edgepose.detectors` turns them into boxes.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (16, 32, 64, 128, 256),  # of the stem and the four stages
        blocks: tuple[int, ...] = (1, 2, 2, 1),
        neck: int = 64,
    ) -> None:
        super().__init__()
        self.backbone = DetectorBackbone(channels, blocks)
        self.neck = DetectorNeck(channels[-3:], neck)
        self.heads = nn.ModuleList(DetectorHead(neck) for _ in STRIDES)
        for module in self.modules():
            if isinstance(module, ConvModule):
                module.activate = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.neck(self.backbone(x))
        return torch.cat([head(m).flatten(2) for head, m in zip(self.heads, maps, strict=True)], dim=2)
