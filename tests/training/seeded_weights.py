"""Weights and images by a rule instead of a file: numpy's PCG64, seeded by the tensor's own name.

The recorded answers of mmpose belong to exactly these; nothing but numpy is needed to make them again.
"""

import zlib

import numpy as np

GAIN = 1.5  # of convolutions under SiLU: keeps a signal alive from the first layer to the last


def seeded(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor of a state dict that bears this name."""
    draw = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_var"):
        return draw.uniform(0.5, 1.5, shape).astype(np.float32)
    if name.endswith((".gamma", ".beta")):  # of the gated attention unit
        return draw.standard_normal(shape, np.float32) * np.float32(0.5)
    if len(shape) >= 2:
        gain = GAIN if len(shape) == 4 else 1.0
        return draw.standard_normal(shape, np.float32) * np.float32(gain / np.prod(shape[1:]) ** 0.5)
    if name.endswith(("bias", "running_mean")):
        return draw.standard_normal(shape, np.float32) * np.float32(0.1)
    return draw.uniform(0.5, 1.5, shape).astype(np.float32)


def seeded_picture(input_size: tuple[int, int]) -> np.ndarray:  # [1, 3, H, W]
    width, height = input_size
    return np.random.default_rng(7).standard_normal((1, 3, height, width), np.float32)
