"""Training checkpoints as predictors, measured with the crop of the runtime: SimCC nets, and nets of heat maps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from edgepose import ops
from edgepose.transforms import apply_affine, bbox_to_center_scale, crop_affine, invert_affine
from edgepose_training.config import Config
from edgepose_training.data.augment import PADDING
from edgepose_training.data.loaders import MEAN, STD
from edgepose_training.distributed import pick_device
from edgepose_training.engine.cards import card_of
from edgepose_training.engine.checkpoints import load, load_net
from edgepose_training.engine.heatmaps import decode_maps, mirrored_mean, points_offset


class CheckpointSession:
    """A SimCC checkpoint with the face of a `Session`: the runtime's own crop and decode run around it."""

    def __init__(
        self,
        path: str | Path,
        device: str = "cpu",
        threads: int | None = None,
        input_size: tuple[int, int] | None = None,  # W, H; None: the net's own
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.path, self.device = Path(path), str(pick_device(device))
        net, config, skeleton, state = load_net(self.path)
        self.card = card_of(self.path, config, skeleton, state)
        if input_size is not None:
            # The head's bins stay: smaller images have more bins a pixel.
            split_ratio = self.card.split_ratio * self.card.input_size[0] / input_size[0]
            self.card = dataclasses.replace(self.card, input_size=input_size, split_ratio=split_ratio)
        self._net = net.to(self.device)
        count, (bins_x, bins_y) = skeleton.num_keypoints, self.card.bins
        width, height = self.card.input_size
        self.input_shape = ("N", 3, height, width)
        self.outputs = {"simcc_x": ("N", count, bins_x), "simcc_y": ("N", count, bins_y)}

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs for one person."""
        return {name: (1, count, bins) for name, (_, count, bins) in self.outputs.items()}

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:  # [N, 3, H, W]
        with torch.inference_mode():
            outputs = self._net(torch.from_numpy(batch).to(self.device))
        return {name: output.float().cpu().numpy() for name, output in zip(self.outputs, outputs, strict=True)}


class HeatmapPredictor:
    """A checkpoint of heat maps, which the app has no decoder for; its scores are the maps' peaks."""

    def __init__(
        self,
        path: str | Path,
        device: str = "cpu",
        threads: int | None = None,
        input_size: tuple[int, int] | None = None,  # W, H; None: the net's own
        *,
        flip: bool = False,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.name, self.device, self._flip = Path(path).stem, str(pick_device(device)), flip
        net, config, self.skeleton, state = load_net(path)
        self._net = net.to(self.device)
        self._input_size = input_size or config.input_size
        self.thresholds = np.full(self.skeleton.num_keypoints, 0.3, np.float32)
        self._unsupervised = list(state.get("unsupervised_keypoints", ()))
        self._cells = state["heatmap_cells"]

    def __call__(self, frame: np.ndarray, bboxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        width, height = self._input_size
        center, scale = bbox_to_center_scale(np.asarray(bboxes, np.float32), aspect=width / height, padding=PADDING)
        affine = crop_affine(center, scale, self._input_size)
        crops = ops.crop_normalize(
            frame, affine, input_size=self._input_size, mean=MEAN, std=STD, channel_order="rgb"
        )  # fmt: skip
        with torch.inference_mode():
            batch = torch.from_numpy(crops).to(self.device)
            maps = self._net(batch).float()
            if self._flip:
                mirrored = self._net(batch.flip(-1)).float()
                maps = mirrored_mean(maps, mirrored, self.skeleton.swap.tolist(), self._cells)
        points, peaks = decode_maps(maps, self._input_size)
        points += points_offset(maps, self._input_size, self._cells, flip=self._flip)
        scores = peaks.clip(0, 1)
        scores[:, self._unsupervised] = 0
        return apply_affine(invert_affine(affine), points), scores


def answers_with_maps(path: str | Path) -> bool:
    """Whether a checkpoint is a net of heat maps."""
    return Config.from_dict(load(path)["config"], origin=str(path)).head == "heatmap"
