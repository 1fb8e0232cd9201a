"""The plain value that flows out of the pose chain."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DTYPES = {
    "keypoints": np.float32,
    "scores": np.float32,
    "bboxes": np.float32,
    "track_ids": np.int64,
    "bbox_scores": np.float32,
    "display_scores": np.float32,
    "raw_keypoints": np.float32,
}


@dataclass(frozen=True, eq=False)
class Poses:
    """The people of one frame, N of them with K keypoints each; N = 0 is an ordinary value.

    Iterate by index: ``poses[0:2]``, ``poses[mask]`` and ``poses[[1, 0]]`` are again ``Poses``.
    """

    keypoints: NDArray[np.float32]  # [N, K, 2] pixels of the frame
    scores: NDArray[np.float32]  # [N, K] in [0, 1] for models with an edgepose card
    bboxes: NDArray[np.float32]  # [N, 4] xyxy, the boxes that the people were looked for in, unpadded
    track_ids: NDArray[np.int64]  # [N] stable over a sequence, -1: untracked
    bbox_scores: NDArray[np.float32]  # [N] how sure we are that there is a person
    display_scores: NDArray[np.float32] | None = None  # [N, K] what is drawn is decided by; None: by `scores`
    raw_keypoints: NDArray[np.float32] | None = None  # [N, K, 2] before smoothing of a whole file; None: unknown

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype))
        keypoints = self.keypoints
        if keypoints.ndim != 3 or keypoints.shape[2] != 2:
            raise ValueError(f"Poses: keypoints expected [N, K, 2], got {list(keypoints.shape)}")
        n, k = keypoints.shape[:2]
        shapes: dict[str, tuple[int, ...]] = {
            "scores": (n, k),
            "bboxes": (n, 4),
            "track_ids": (n,),
            "bbox_scores": (n,),
        }
        if self.display_scores is not None:
            shapes["display_scores"] = (n, k)
        if self.raw_keypoints is not None:
            shapes["raw_keypoints"] = (n, k, 2)
        for name, shape in shapes.items():
            got = getattr(self, name).shape
            if got != shape:
                raise ValueError(f"Poses: {name} expected {list(shape)}, got {list(got)}")

    @classmethod
    def empty(cls, num_keypoints: int) -> Poses:
        """Nobody, in a skeleton of ``num_keypoints`` points."""
        return cls(
            keypoints=np.zeros((0, num_keypoints, 2), np.float32),
            scores=np.zeros((0, num_keypoints), np.float32),
            bboxes=np.zeros((0, 4), np.float32),
            track_ids=np.zeros(0, np.int64),
            bbox_scores=np.zeros(0, np.float32),
        )

    def __len__(self) -> int:
        return len(self.keypoints)

    def __getitem__(self, index: Any) -> Poses:
        """Some of the people: an integer, a slice, a mask [N] or indices."""
        if isinstance(index, int | np.integer):
            index = [index]
        elif not isinstance(index, slice):
            index = np.asarray(index)
            index = index if index.dtype == bool else index.astype(np.int64)  # an empty list is float64
        columns: dict[str, Any] = {}
        for field in fields(self):
            column = getattr(self, field.name)
            columns[field.name] = None if column is None else column[index]
        return Poses(**columns)
