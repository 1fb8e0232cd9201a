"""Heat-map heads: SimpleBaseline's two-dimensional one (Xiao et al. 2018), and a one-dimensional one for each axis."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 256  # channels of every transposed convolution


class HeatmapHead(nn.Module):
    """Features [N, C, h, w] → heat maps [N, K, h, w], with `deconvs` transposed convolutions [N, K, 2ⁿh, 2ⁿw].

    Names follow mmpose's `HeatmapHead`.
    """

    def __init__(self, channels: int, num_keypoints: int, deconvs: int = 0) -> None:
        super().__init__()
        self.deconv_layers, channels = deconvolutions(channels, deconvs)
        self.final_layer = nn.Conv2d(channels, num_keypoints, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=0.001)
        assert self.final_layer.bias is not None
        nn.init.zeros_(self.final_layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        maps: Tensor = self.final_layer(self.deconv_layers(features))
        return maps


def deconvolutions(channels: int, count: int) -> tuple[nn.Sequential, int]:
    """4×4 transposed convolutions of stride 2 with norm and ReLU, and the channels that leave them."""
    layers: list[nn.Module] = []
    for _ in range(count):
        layers += [nn.ConvTranspose2d(channels, WIDTH, 4, 2, 1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()]
        channels = WIDTH
    return nn.Sequential(*layers), channels


class AxisBranch(nn.Module):
    """The heat vector of one axis: a profile [N, C, cells] is upsampled by learned doublings to [N, K, bins]."""

    def __init__(self, channels: int, num_keypoints: int, cells: int, bins: int) -> None:
        super().__init__()
        self.bins = bins
        layers: list[nn.Module] = [nn.Conv1d(channels, WIDTH, 3, padding=1, bias=False)]
        for _ in range(int(math.log2(bins / cells))):
            layers += [nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.ConvTranspose1d(WIDTH, WIDTH, 4, 2, 1, bias=False)]
        self.upsample = nn.Sequential(*layers, nn.BatchNorm1d(WIDTH), nn.ReLU())
        self.predict = nn.Conv1d(WIDTH, num_keypoints, 1)

    def forward(self, profile: Tensor) -> Tensor:
        heat = self.predict(self.upsample(profile))
        # Split ratios that are no power of two: the rest of the way is linear.
        return heat if heat.shape[-1] == self.bins else F.interpolate(heat, self.bins, mode="linear")


class Heatmap1dHead(nn.Module):
    """Features [N, C, h, w] → one-dimensional heat maps [N, K, Wx] and [N, K, Wy] of SimCC's lengths.

    The third arm beside SimCC and heat maps: to be regressed onto Gaussians of peak 1 (mean squares, no softmax),
    and decoded like SimCC. The SimCC paper reports such a net (Table 3) but not its layers; these are ours: the
    stride-4 map of SimpleBaseline, its mean over the other axis, then transposed convolutions along the axis.
    """

    def __init__(
        self,
        channels: int,
        num_keypoints: int,
        input_size: tuple[int, int],
        stride: int,
        split_ratio: float = 2.0,
    ) -> None:
        super().__init__()
        self.deconv_layers, channels = deconvolutions(channels, int(math.log2(stride // 4)))
        self.x, self.y = (
            AxisBranch(channels, num_keypoints, side // 4, int(side * split_ratio)) for side in input_size
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        features = self.deconv_layers(features)
        return self.x(features.mean(2)), self.y(features.mean(3))
