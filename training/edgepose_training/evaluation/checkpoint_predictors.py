"""Training checkpoints as predictors, between the crop and the decode of the runtime."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from edgepose_training.distributed import pick_device
from edgepose_training.engine.cards import card_of
from edgepose_training.engine.checkpoints import load_net


class CheckpointSession:
    """A checkpoint with the face of a `Session`: the runtime's own crop and decode run around it."""

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
            # The head's bins stay, smaller images have more bins a pixel; a map has fewer cells.
            grown = 1.0 if self.card.codec == "heatmap" else self.card.input_size[0] / input_size[0]
            split_ratio = self.card.split_ratio * grown
            self.card = dataclasses.replace(self.card, input_size=input_size, split_ratio=split_ratio)
        self._net = net.to(self.device)
        width, height = self.card.input_size
        self.input_shape = ("N", 3, height, width)
        answers = self.card.answers(skeleton.num_keypoints)
        self.outputs: dict[str, tuple[str | int, ...]] = {name: ("N", *shape) for name, shape in answers.items()}

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs for one person."""
        return {name: (1, *map(int, shape[1:])) for name, shape in self.outputs.items()}

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:  # [N, 3, H, W]
        with torch.inference_mode():
            answer = self._net(torch.from_numpy(batch).to(self.device))
        outputs = (answer,) if isinstance(answer, torch.Tensor) else answer
        return {
            name: output.float().contiguous().cpu().numpy() for name, output in zip(self.outputs, outputs, strict=True)
        }
