"""A larger net with the same output as a trained one (Net2Net, Chen, Goodfellow and Shlens, ICLR 2016).

Channels are repeated, and the layers that read them divide the old weight among the copies; new blocks start as the
identity. RTMPose only (cspnext under rtmcc).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgepose import EdgeposeError
from edgepose_training.config import Config
from edgepose_training.engine import checkpoints
from edgepose_training.models import PoseNet
from edgepose_training.models.cspnext import (
    ChannelAttention,
    ConvModule,
    CSPLayer,
    CSPNeXt,
    CSPNeXtBlock,
    SPPBottleneck,
)
from edgepose_training.models.rtmcc import RTMCCHead


@dataclass(frozen=True)
class Channels:
    """Whose copies the channels of a grown map are: `copied` [C'] of C, and the `share` [C'] of each in the whole."""

    copied: Tensor
    share: Tensor
    count: int  # C

    @classmethod
    def same(cls, count: int) -> Channels:
        return cls(torch.arange(count), torch.ones(count), count)

    @classmethod
    def grown(cls, count: int, larger: int, draw: torch.Generator) -> Channels:
        """The first ones again, as many times as it takes. Unequal shares: equal copies would stay equal for ever."""
        copied = torch.arange(larger) % count
        parts = torch.empty(larger).uniform_(0.5, 1.5, generator=draw)
        return cls(copied, parts / torch.zeros(count).index_add(0, copied, parts)[copied], count)

    def beside(self, *others: Channels) -> Channels:
        """Of maps that are concatenated."""
        every, offset = (self, *others), 0
        copied = []
        for one in every:
            copied.append(one.copied + offset)
            offset += one.count
        return Channels(torch.cat(copied), torch.cat([one.share for one in every]), offset)

    def read(self, weight: Tensor) -> Tensor:  # [O, C, …] -> [O, C', …]
        """Weights over the old channels as weights over the grown ones: sums stay what they were."""
        return weight[:, self.copied] * self.share.view(1, -1, *[1] * (weight.ndim - 2)).to(weight.dtype)


class Grower:
    """Fills a larger net, layer by layer as the signal goes; what a layer leaves are its channels."""

    def __init__(self, seed: int = 0) -> None:
        self._draw = torch.Generator().manual_seed(seed)

    def backbone(self, small: CSPNeXt, large: CSPNeXt) -> Channels:
        channels = Channels.same(3)
        for old, new in zip(small.first_stages(4), large.first_stages(4), strict=True):
            for a, b in zip(old, new, strict=True):
                channels = self._layer(a, b, channels)
        return channels

    def head(self, small: RTMCCHead, large: RTMCCHead, channels: Channels) -> None:
        weights = small.state_dict()
        weights["final_layer.weight"] = channels.read(weights["final_layer.weight"])
        large.load_state_dict(weights)

    def _layer(self, small: nn.Module, large: nn.Module, channels: Channels) -> Channels:
        match small, large:
            case ConvModule(), ConvModule():
                return self._convolution(small, large, channels)
            case SPPBottleneck(), SPPBottleneck():
                inner = self._convolution(small.conv1, large.conv1, channels)
                return self._convolution(small.conv2, large.conv2, inner.beside(*[inner] * len(small.poolings)))
            case CSPLayer(), CSPLayer():
                return self._csp(small, large, channels)
        raise TypeError(f"grow: expected a layer of CSPNeXt, got {type(small).__name__}")

    def _convolution(
        self, small: ConvModule, large: ConvModule, channels: Channels, after: Channels | None = None
    ) -> Channels:
        if small.conv.groups > 1:  # depth-wise
            after = channels
            weight = small.conv.weight[channels.copied]
        else:
            after = after or Channels.grown(small.conv.out_channels, large.conv.out_channels, self._draw)
            weight = channels.read(small.conv.weight[after.copied])
        large.conv.weight.copy_(weight)
        for name, value in small.bn.state_dict().items():
            getattr(large.bn, name).copy_(value[after.copied] if value.ndim else value)
        return after

    def _csp(self, small: CSPLayer, large: CSPLayer, channels: Channels) -> Channels:
        main = self._convolution(small.main_conv, large.main_conv, channels)
        short = self._convolution(small.short_conv, large.short_conv, channels)
        old = _blocks(small)
        for i, block in enumerate(_blocks(large)):
            if i < len(old):
                main = self._block(old[i], block, main)
            else:  # x + SiLU(0): nothing is added yet
                last = block.conv2.pointwise_conv.bn
                last.weight.zero_()
                last.bias.zero_()
        both = main.beside(short)
        self._attention(small.attention, large.attention, both)
        return self._convolution(small.final_conv, large.final_conv, both)

    def _block(self, small: CSPNeXtBlock, large: CSPNeXtBlock, channels: Channels) -> Channels:
        inner = self._convolution(small.conv1, large.conv1, channels)
        inner = self._convolution(small.conv2.depthwise_conv, large.conv2.depthwise_conv, inner)
        after = channels if small.add_identity else None  # what is added to the input has its channels
        return self._convolution(small.conv2.pointwise_conv, large.conv2.pointwise_conv, inner, after)

    def _attention(self, small: ChannelAttention, large: ChannelAttention, channels: Channels) -> None:
        large.fc.weight.copy_(channels.read(small.fc.weight[channels.copied]))
        assert small.fc.bias is not None
        assert large.fc.bias is not None
        large.fc.bias.copy_(small.fc.bias[channels.copied])


def _blocks(layer: CSPLayer) -> list[CSPNeXtBlock]:
    return [block for block in layer.blocks if isinstance(block, CSPNeXtBlock)]


def check_growth(small: CSPNeXt, large: CSPNeXt, sizes: tuple[str, str]) -> None:
    """Raises EdgeposeError where the larger net cannot answer as the smaller one."""
    if any(old > new for old, new in zip(small.channels, large.channels, strict=True)):
        raise EdgeposeError(f"--size expected a larger net than {sizes[0]}, got {sizes[1]}")
    for i in range(1, 5):
        old, new = getattr(small, f"stage{i}")[-1], getattr(large, f"stage{i}")[-1]
        more = len(new.blocks) - len(old.blocks)
        if more < 0 or (more > 0 and not new.blocks[-1].add_identity):
            raise EdgeposeError(
                f"{sizes[0]} cannot grow into {sizes[1]}: stage {i} would need {len(new.blocks)} blocks instead of "
                f"{len(old.blocks)}, and without an identity around them new ones change what the net says"
            )


def _parts(net: nn.Module, config: Config, path: Path) -> tuple[CSPNeXt, RTMCCHead]:
    """Backbone and head of an RTMPose net. Raises EdgeposeError for any other."""
    if isinstance(net, PoseNet) and isinstance(net.backbone, CSPNeXt) and isinstance(net.head, RTMCCHead):
        return net.backbone, net.head
    raise EdgeposeError(f"{path}: expected an RTMPose net, got {config.backbone} under {config.head}")


def grow(path: Path, size: str) -> dict[str, Any]:
    """A checkpoint of the larger net. Raises EdgeposeError."""
    net, config, skeleton, state = checkpoints.load_net(path)
    backbone, head = _parts(net, config, path)
    larger = replace(config, size=size)
    grown = checkpoints.build_net(larger, skeleton)
    grown_backbone, grown_head = _parts(grown, larger, path)
    check_growth(backbone, grown_backbone, (config.size, size))
    with torch.no_grad():
        grower = Grower()
        grower.head(head, grown_head, grower.backbone(backbone, grown_backbone))
    return {
        "model": grown.state_dict(),
        "ema": None,
        "config": larger.to_dict(),
        "skeleton": skeleton.to_dict(),
        "unsupervised_keypoints": state.get("unsupervised_keypoints", []),
        "epoch": 0,
        "recipe": f"RTMPose-{size} grown from {path.name}",
    }
