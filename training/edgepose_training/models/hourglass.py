"""Stacked hourglass (Newell et al. 2016) in the widths and depths of Fast Human Pose Estimation (Zhang et al. 2019)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

DEPTH = 4  # halvings inside one hourglass: 64 → 4 cells


class Residual(nn.Module):
    """Pre-activation bottleneck; all convolutions with bias, the shortcut's projection without norm."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        half = c_out // 2
        self.bn1, self.conv1 = nn.BatchNorm2d(c_in), nn.Conv2d(c_in, half, 1)
        self.bn2, self.conv2 = nn.BatchNorm2d(half), nn.Conv2d(half, half, 3, padding=1)
        self.bn3, self.conv3 = nn.BatchNorm2d(half), nn.Conv2d(half, c_out, 1)
        self.shortcut = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:  # x [N, C, H, W]
        y = self.conv1(F.relu(self.bn1(x)))
        y = self.conv2(F.relu(self.bn2(y)))
        total: Tensor = self.conv3(F.relu(self.bn3(y))) + self.shortcut(x)
        return total


class Hourglass(nn.Module):
    """Down to half the size, `depth` − 1 smaller hourglasses inside, up again, beside a way at full size."""

    def __init__(self, width: int, depth: int = DEPTH) -> None:
        super().__init__()
        self.beside = Residual(width, width)
        self.down = Residual(width, width)
        self.inner = Hourglass(width, depth - 1) if depth > 1 else Residual(width, width)
        self.up = Residual(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.up(self.inner(self.down(F.max_pool2d(x, 2))))
        beside: Tensor = self.beside(x)
        return beside + F.interpolate(y, scale_factor=2.0, mode="nearest")


def _count_and_width(size: str) -> tuple[int, int]:
    numbers = size.split("x")
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers) or int(numbers[0]) < 1:
        raise ValueError(f"build_pose_net: size of hourglass expected stacks and channels as in 4x128, got {size!r}")
    return int(numbers[0]), int(numbers[1])


class HourglassNet(nn.Module):
    """Normalized crops [N, 3, H, W] → heat maps [N, K, H/4, W/4]; `stacks` gives every stack's, for training.

    Size "4x128": four hourglasses of 128 channels, FPD's student; its teacher is "8x256".
    """

    stride = 4

    def __init__(self, size: str, num_keypoints: int) -> None:
        super().__init__()
        count, width = _count_and_width(size)
        self.stem = nn.Sequential(
            nn.Conv2d(3, width // 4, 7, 2, 3),
            nn.BatchNorm2d(width // 4),
            nn.ReLU(),
            Residual(width // 4, width // 2),
            nn.MaxPool2d(2),
            Residual(width // 2, width),
            Residual(width, width),
        )
        self.hourglasses = nn.ModuleList(nn.Sequential(Hourglass(width), self._features(width)) for _ in range(count))
        self.scores = nn.ModuleList(nn.Conv2d(width, num_keypoints, 1) for _ in range(count))
        # What a stack hands on: its input, its features and its heat maps, added up.
        self.from_features = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(count - 1))
        self.from_scores = nn.ModuleList(nn.Conv2d(num_keypoints, width, 1) for _ in range(count - 1))
        self.channels = [width]

    @staticmethod
    def _features(width: int) -> nn.Sequential:
        return nn.Sequential(Residual(width, width), nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU())

    def stacks(self, x: Tensor) -> list[Tensor]:
        """Heat maps of every stack, first to last. Each is supervised (FPD §3.2)."""
        x = self.stem(x)
        maps: list[Tensor] = []
        for i, (hourglass, score) in enumerate(zip(self.hourglasses, self.scores, strict=True)):
            features = hourglass(x)
            maps.append(score(features))
            if i < len(self.from_scores):
                x = x + self.from_features[i](features) + self.from_scores[i](maps[-1])
        return maps

    def forward(self, x: Tensor) -> Tensor:
        return self.stacks(x)[-1]
