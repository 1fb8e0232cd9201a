"""The net of the export tests: its points, its input, and crops for it."""

import numpy as np

from edgepose import Skeleton

BODY = Skeleton.load("coco17")
INPUT_SIZE = (64, 96)


def crops(count: int) -> np.ndarray:
    width, height = INPUT_SIZE
    return np.random.default_rng(1).standard_normal((count, 3, height, width), np.float32)
