"""The base of all SimCC heads: the size of their input map, and a classifier for each axis."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class VectorHead(nn.Module):
    """Features [N, C, h, w] → logits simcc_x [N, K, Wx] and simcc_y [N, K, Wy].

    A map of another size (training on smaller inputs) is resampled to `map_size`, so that low-resolution training
    continues at full size with the same weights.
    """

    map_size: tuple[int, int]  # (h, w)
    names = ("mlp_head_x", "mlp_head_y")  # of the classifiers, as mmpose has them

    @property
    def classifiers(self) -> tuple[nn.Linear, nn.Linear]:
        x, y = (getattr(self, name) for name in self.names)
        return x, y

    def resampled(self, features: Tensor) -> Tensor:  # [N, C, h, w]
        if features.shape[-2:] == self.map_size:
            return features
        return F.interpolate(features, self.map_size, mode="bilinear", align_corners=False)

    def classified(self, tokens: Tensor) -> tuple[Tensor, Tensor]:  # [N, K, features]
        x, y = self.classifiers
        return x(tokens), y(tokens)
