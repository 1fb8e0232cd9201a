"""TokenPose (Li et al. 2021) with SimCC classifiers: keypoint tokens attend to image patches.

The S size of the paper: 12 layers of width 192 on the stride-4 map of HRNet's stem, cut into 16 × 16 patches.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgepose_training.models.vector_head import VectorHead

GRID = 16  # patches along each side


def sine_position(rows: int, columns: int, dim: int) -> Tensor:
    """Fixed two-dimensional embedding [rows·columns, dim]: half the channels tell the row, half the column."""
    waves = 10000 ** (torch.arange(dim // 4) / (dim // 4))
    halves = []
    for cells in (rows, columns):
        phase = 2 * math.pi * (torch.arange(cells) + 1)[:, None] / cells / waves  # [cells, dim/4]
        halves.append(torch.cat((phase.sin(), phase.cos()), dim=1))
    row = halves[0][:, None].expand(-1, columns, -1)
    column = halves[1][None].expand(rows, -1, -1)
    return torch.cat((row, column), dim=2).flatten(0, 1)


class Attention(nn.Module):
    """Multi-head self-attention over all tokens [N, T, dim]."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.to_qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [N, heads, T, dim/heads]
        y: Tensor = self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return y


class Block(nn.Module):
    """Attention and a two-layer perceptron, each behind a norm and around a shortcut."""

    def __init__(self, dim: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(dim), Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, ratio * dim), nn.GELU(), nn.Linear(ratio * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        mixed: Tensor = self.mlp(self.norm2(x))
        return x + mixed


class TokenPoseHead(VectorHead):
    """Features [N, C, h, w] → logits simcc_x [N, K, Wx] and simcc_y [N, K, Wy]."""

    position: Tensor

    def __init__(
        self,
        channels: int,
        num_keypoints: int,
        input_size: tuple[int, int],
        stride: int,
        split_ratio: float = 2.0,
        dim: int = 192,
        depth: int = 12,
        heads: int = 8,
        mlp_ratio: int = 3,
    ) -> None:
        super().__init__()
        width, height = input_size
        self.map_size = (height // stride, width // stride)
        rows, columns = self.map_size
        self.patch = max(rows // GRID, 1), max(columns // GRID, 1)
        if any(cells % side for cells, side in zip(self.map_size, self.patch, strict=True)):
            raise ValueError(f"TokenPoseHead: input_size expected {GRID} patches to a side, got {width}×{height}")
        rows, columns = (cells // side for cells, side in zip(self.map_size, self.patch, strict=True))
        self.patch_embedding = nn.Linear(channels * self.patch[0] * self.patch[1], dim)
        self.register_buffer("position", sine_position(rows, columns, dim), persistent=False)
        self.tokens = nn.Parameter(torch.empty(num_keypoints, dim))
        nn.init.trunc_normal_(self.tokens, std=0.02)
        self.blocks = nn.ModuleList(Block(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.mlp_head_x = nn.Linear(dim, int(width * split_ratio))
        self.mlp_head_y = nn.Linear(dim, int(height * split_ratio))

    def patches(self, features: Tensor) -> Tensor:  # → [N, rows·columns, patch cells·C]
        (ph, pw), (h, w) = self.patch, self.map_size
        cut: Tensor = features.unflatten(3, (w // pw, pw)).unflatten(2, (h // ph, ph))  # [N, C, rows, ph, columns, pw]
        return cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        keypoints = self.tokens.expand(features.shape[0], -1, -1)
        patches = self.patch_embedding(self.patches(self.resampled(features)))
        for block in self.blocks:
            # The position is added anew before every layer, to patches only ("sine-full").
            mixed = block(torch.cat((keypoints, patches + self.position), dim=1))
            keypoints, patches = mixed.split((keypoints.shape[1], patches.shape[1]), dim=1)
        return self.classified(self.norm(keypoints))
