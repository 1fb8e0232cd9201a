"""The RTMPose head: coordinate classification on K keypoint tokens with one gated attention unit.

Source: RTMPose paper §3.3; names follow mmpose's `RTMCCHead`, so that its state dicts load strictly.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgepose_training.models.vector_head import VectorHead


class ScaleNorm(nn.Module):
    """x ÷ its root mean square over the last axis, times one learned scalar."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.scale = dim**-0.5
        self.eps = eps
        self.g = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        rms: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True) * self.scale
        return x / rms.clamp(min=self.eps) * self.g


class Scale(nn.Module):
    """A learned factor per channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class GatedAttentionUnit(nn.Module):
    """Self-attention over the keypoint tokens: squared ReLU instead of softmax, gated by u (paper eq. 2).

    The paper writes a factor 1/K in front of the attention; published weights were trained without it.
    """

    def __init__(self, dim: int = 256, expansion: int = 2, attention_dim: int = 128) -> None:
        super().__init__()
        self.e, self.s = dim * expansion, attention_dim
        self.ln = ScaleNorm(dim)
        self.uv = nn.Linear(dim, 2 * self.e + self.s, bias=False)
        self.gamma = nn.Parameter(torch.rand(2, self.s))
        self.beta = nn.Parameter(torch.rand(2, self.s))
        self.o = nn.Linear(self.e, dim, bias=False)
        self.res_scale = Scale(dim)

    def forward(self, x: Tensor) -> Tensor:  # x [N, K, dim]
        u, v, base = F.silu(self.uv(self.ln(x))).split((self.e, self.e, self.s), dim=-1)
        q, k = (base.unsqueeze(2) * self.gamma + self.beta).unbind(dim=2)
        attention = F.relu(q @ k.transpose(1, 2) / math.sqrt(self.s)).square()
        y: Tensor = self.res_scale(x) + self.o(u * (attention @ v))
        return y


class RTMCCHead(VectorHead):
    """Features [N, C, h, w] → logits simcc_x [N, K, Wx] and simcc_y [N, K, Wy]."""

    names = ("cls_x", "cls_y")

    def __init__(
        self,
        channels: int,
        num_keypoints: int,
        input_size: tuple[int, int],
        split_ratio: float = 2.0,
        hidden: int = 256,
        stride: int = 32,
    ) -> None:
        super().__init__()
        width, height = input_size
        self.map_size = (height // stride, width // stride)
        self.final_layer = nn.Conv2d(channels, num_keypoints, 7, padding=3)
        cells = self.map_size[0] * self.map_size[1]
        self.mlp = nn.Sequential(ScaleNorm(cells), nn.Linear(cells, hidden, bias=False))
        self.gau = GatedAttentionUnit(hidden)
        self.cls_x = nn.Linear(hidden, int(width * split_ratio), bias=False)
        self.cls_y = nn.Linear(hidden, int(height * split_ratio), bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Published initialization: conv N(0, 0.001), linear N(0, 0.01)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.001)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.classified(self.gau(self.mlp(self.final_layer(self.resampled(features)).flatten(2))))
