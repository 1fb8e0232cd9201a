"""CSPNeXt, the backbone of RTMPose (spec: RTMPose paper §3, layer table of the mmdet model).

Module names follow mmpose's, so that its state dicts load strictly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgepose_training.models import fused
from edgepose_training.models.backbone import Backbone

# deepen (blocks per stage) and widen (channels) factors of the published sizes; n is ours, for tests and tiny boards.
SIZES = {
    "n": (0.167, 0.25),
    "t": (0.167, 0.375),
    "s": (0.33, 0.5),
    "m": (0.67, 0.75),
    "l": (1.0, 1.0),
    "x": (1.33, 1.25),
}

# (in, out, blocks, identity add, SPP) before the factors are applied.
STAGES = (
    (64, 128, 3, True, False),
    (128, 256, 6, True, False),
    (256, 512, 6, True, False),
    (512, 1024, 3, False, True),
)


class ConvModule(fused.Fusible):
    """Convolution without bias, batch norm, SiLU; with `fused` set trained by `edgepose.torch` where that can."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(c_out)
        self.activate: nn.Module = nn.SiLU()  # in place it would copy its input first: the backward pass needs it

    def forward(self, x: Tensor) -> Tensor:  # x [N, C, H, W]
        fusing = self.fused and self.training
        x = fused.convolution(x, self.conv) if fusing else self.conv(x)
        if fusing and fused.fits(x, self.bn, self.activate):
            return fused.batch_norm_silu(x, self.bn)
        y: Tensor = self.activate(self.bn(x))
        return y


class DepthwiseSeparableConvModule(nn.Module):
    """Depth-wise k×k, then point-wise 1×1, each with norm and SiLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int) -> None:
        super().__init__()
        self.depthwise_conv = ConvModule(c_in, c_in, kernel, groups=c_in)
        self.pointwise_conv = ConvModule(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pointwise_conv(self.depthwise_conv(x))
        return y


class CSPNeXtBlock(nn.Module):
    """3×3 convolution, then a depth-wise separable 5×5; identity added where the stage has it."""

    def __init__(self, channels: int, add_identity: bool) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, channels, 3)
        self.conv2 = DepthwiseSeparableConvModule(channels, channels, 5)
        self.add_identity = add_identity

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.conv1(x))
        return x + y if self.add_identity else y


class ChannelAttention(fused.Fusible):
    """Scale each channel by the hard sigmoid of a 1×1 convolution of its global mean."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)
        self.act = nn.Hardsigmoid(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        mean = fused.mean(x) if self.fused and self.training else x.mean((2, 3), keepdim=True)
        scale: Tensor = self.act(self.fc(mean))
        return x * scale


class CSPLayer(nn.Module):
    """Cross-stage-partial layer: half the channels go through the blocks, half go past them."""

    def __init__(self, c_in: int, c_out: int, blocks: int, add_identity: bool) -> None:
        super().__init__()
        half = c_out // 2
        self.main_conv = ConvModule(c_in, half, 1)
        self.short_conv = ConvModule(c_in, half, 1)
        self.final_conv = ConvModule(2 * half, c_out, 1)
        self.blocks = nn.Sequential(*(CSPNeXtBlock(half, add_identity) for _ in range(blocks)))
        self.attention = ChannelAttention(2 * half)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat((self.blocks(self.main_conv(x)), self.short_conv(x)), dim=1)
        y: Tensor = self.final_conv(self.attention(both))
        return y


class SPPBottleneck(nn.Module):
    """Spatial pyramid pooling: the map beside its 5, 9 and 13 max-poolings."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = ConvModule(channels, half, 1)
        self.poolings = nn.ModuleList(nn.MaxPool2d(k, 1, k // 2) for k in (5, 9, 13))
        self.conv2 = ConvModule(4 * half, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        y: Tensor = self.conv2(torch.cat((x, *(pool(x) for pool in self.poolings)), dim=1))
        return y


class CSPNeXt(Backbone):
    """Images [N, 3, H, W] → maps of stride 8, 16 and 32; `channels` holds their channel counts.

    RTMPose uses the stride-32 map only; the others feed detectors and auxiliary heads.
    """

    stride = 32
    stage1: nn.Sequential
    stage2: nn.Sequential
    stage3: nn.Sequential
    stage4: nn.Sequential

    def __init__(self, size: str = "t") -> None:
        super().__init__()
        deepen, widen = SIZES[size]
        stem = int(STAGES[0][0] * widen)
        self.stem = nn.Sequential(
            ConvModule(3, stem // 2, 3, stride=2),
            ConvModule(stem // 2, stem // 2, 3),
            ConvModule(stem // 2, stem, 3),
        )
        channels: list[int] = []
        for i, (c_in, c_out, blocks, add_identity, spp) in enumerate(STAGES, start=1):
            c_in, c_out = int(c_in * widen), int(c_out * widen)
            blocks = max(round(blocks * deepen), 1)
            pyramid = [SPPBottleneck(c_out)] if spp else []
            csp = CSPLayer(c_out, c_out, blocks, add_identity)
            setattr(self, f"stage{i}", nn.Sequential(ConvModule(c_in, c_out, 3, stride=2), *pyramid, csp))
            channels.append(c_out)
        self.channels = channels[1:]

    def first_stages(self, count: int) -> list[nn.Sequential]:
        """The stem and the stages 1 to `count`; from -1, which is none, to 4."""
        return [self.stem, self.stage1, self.stage2, self.stage3, self.stage4][: count + 1]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stride8 = self.stage2(self.stage1(self.stem(x)))
        stride16 = self.stage3(stride8)
        return stride8, stride16, self.stage4(stride16)
