"""What all backbones have beside their maps."""

from __future__ import annotations

from torch import nn


class Backbone(nn.Module):
    """Images [N, 3, H, W] → a tuple of maps, fine ones first."""

    channels: list[int]  # of each map
    stride: int  # of the last map: pixels between its cells
