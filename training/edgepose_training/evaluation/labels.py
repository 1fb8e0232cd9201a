"""The labels of many people as arrays, so that every measure is a few vectorized lines."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from edgepose_training.data.coco import TRUTH, Person


@dataclass(frozen=True)
class Labels:
    """N people, row by row. Pixels of each person's image."""

    keypoints: np.ndarray  # [N, K, 2] float32
    visible: np.ndarray  # [N, K] uint8: 0 unlabeled, 1 teacher, 2 ground truth
    weights: np.ndarray  # [N, K] float32
    bbox: np.ndarray  # [N, 4] xyxy
    area: np.ndarray  # [N] px²
    image_id: np.ndarray  # [N]
    annotation_id: np.ndarray  # [N] −1 where the file gives none
    source: np.ndarray  # [N] str
    part_boxes: dict[str, np.ndarray]  # "face", … → [N, 4] xyxy, NaN where the part has no labeled box

    @classmethod
    def of(cls, people: Sequence[Person]) -> Labels:
        boxes = {
            part: np.array([person.part_boxes.get(part, np.full(4, np.nan)) for person in people]).reshape(-1, 4)
            for part in ("face", "lefthand", "righthand", "head")
        }
        return cls(
            keypoints=np.stack([person.keypoints for person in people]),
            visible=np.stack([person.visible for person in people]),
            weights=np.stack([person.weights for person in people]),
            bbox=np.stack([person.bbox for person in people]),
            area=np.array([person.area for person in people]),
            image_id=np.array([person.image_id for person in people]),
            annotation_id=np.array([person.annotation_id for person in people]),
            source=np.array([person.source for person in people]),
            part_boxes=boxes,
        )

    def __len__(self) -> int:
        return len(self.area)

    def truth_only(self) -> np.ndarray:
        """`visible` [N, K] with the labels of teachers struck out."""
        return np.where(self.visible == TRUTH, self.visible, 0)

    def from_sources(self, sources: Collection[str]) -> np.ndarray:
        """Mask [N] of the people of these sources."""
        return np.isin(self.source, list(sources))


@dataclass(frozen=True)
class Predictions:
    """What one predictor says of the same N people, row by row."""

    name: str
    keypoints: np.ndarray  # [N, K, 2] px
    scores: np.ndarray  # [N, K]
    parts: tuple[str, ...] | None = None  # the parts it predicts at all; None: every part
    thresholds: np.ndarray | None = None  # [K] scores from which its points are shown; None: it has none
