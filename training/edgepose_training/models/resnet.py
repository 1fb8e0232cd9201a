"""ResNet without its classifier (He et al. 2015), the backbone of SimpleBaseline and of SimCC's first tables.

Module names follow torchvision and mmpose, so that their state dicts load strictly.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from edgepose_training.models.backbone import Backbone

# Bottlenecks in each of the four layers.
SIZES = {"50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)}


def conv3x3(c_in: int, c_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)


def conv1x1(c_in: int, c_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 1, stride, bias=False)


def shortcut(c_in: int, c_out: int, stride: int) -> nn.Sequential | None:
    """A projection where the block changes the shape, else nothing."""
    if stride == 1 and c_in == c_out:
        return None
    return nn.Sequential(conv1x1(c_in, c_out, stride), nn.BatchNorm2d(c_out))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv3x3(c_in, c_out, stride), nn.BatchNorm2d(c_out)
        self.conv2, self.bn2 = conv3x3(c_out, c_out), nn.BatchNorm2d(c_out)
        self.downsample = shortcut(c_in, c_out, stride)

    def forward(self, x: Tensor) -> Tensor:  # x [N, C, H, W]
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1×1 down to a quarter of the output's channels, 3×3, 1×1 up, around a shortcut. The 3×3 carries the stride."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        width = c_out // 4
        self.conv1, self.bn1 = conv1x1(c_in, width), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv3x3(width, width, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv1x1(width, c_out), nn.BatchNorm2d(c_out)
        self.downsample = shortcut(c_in, c_out, stride)

    def forward(self, x: Tensor) -> Tensor:  # x [N, C, H, W]
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def layer(c_in: int, c_out: int, blocks: int, stride: int) -> nn.Sequential:
    """Bottlenecks, the first of which changes the shape."""
    return nn.Sequential(Bottleneck(c_in, c_out, stride), *(Bottleneck(c_out, c_out) for _ in range(blocks - 1)))


class ResNet(Backbone):
    """Images [N, 3, H, W] → maps of stride 8, 16 and 32; `channels` holds their channel counts."""

    stride = 32

    def __init__(self, size: str = "50") -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        blocks = SIZES[size]
        self.layer1 = layer(64, 256, blocks[0], stride=1)
        self.layer2 = layer(256, 512, blocks[1], stride=2)
        self.layer3 = layer(512, 1024, blocks[2], stride=2)
        self.layer4 = layer(1024, 2048, blocks[3], stride=2)
        self.channels = [512, 1024, 2048]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        stride8 = self.layer2(self.layer1(x))
        stride16 = self.layer3(stride8)
        return stride8, stride16, self.layer4(stride16)
