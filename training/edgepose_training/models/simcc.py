"""The SimCC head (Li et al. 2022): two linear classifiers, shared by all keypoints, on each keypoint's own map.

Names follow mmpose's `SimCCHead`, so that its state dicts load strictly.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgepose_training.models.heatmap import HeatmapHead
from edgepose_training.models.vector_head import VectorHead


def channels_per_joint(input_size: tuple[int, int], stride: int) -> int:
    """Maps of a keypoint, as published: one where the map is fine; on stride 32 (no upsampling) 28, small inputs 32."""
    if stride <= 4:
        return 1
    return 28 if max(input_size) >= 256 else 32


class SimCCHead(VectorHead):
    """Features [N, C, h, w] → logits simcc_x [N, K, Wx] and simcc_y [N, K, Wy].

    With `deconvs` the map is first upsampled as SimpleBaseline does; without them each keypoint gets several
    channels of the coarse map instead, side by side in one vector.
    """

    def __init__(
        self,
        channels: int,
        num_keypoints: int,
        input_size: tuple[int, int],
        stride: int,
        split_ratio: float = 2.0,
        deconvs: int = 0,
    ) -> None:
        super().__init__()
        width, height = input_size
        self.map_size = (height // stride, width // stride)
        self.num_keypoints = num_keypoints
        stride >>= deconvs
        per_joint = channels_per_joint(input_size, stride)
        if deconvs:
            self.deconv_head = HeatmapHead(channels, num_keypoints * per_joint, deconvs)
        else:
            self.final_layer = nn.Conv2d(channels, num_keypoints * per_joint, 1)
        cells = (height // stride) * (width // stride) * per_joint
        self.mlp_head_x = nn.Linear(cells, int(width * split_ratio))
        self.mlp_head_y = nn.Linear(cells, int(height * split_ratio))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        features = self.resampled(features)
        maps = self.deconv_head(features) if hasattr(self, "deconv_head") else self.final_layer(features)
        vectors = maps.unflatten(1, (self.num_keypoints, -1)).flatten(2)  # [N, K, t·h·w]
        return self.classified(vectors)
