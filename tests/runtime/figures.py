"""Figures of five dots, which the dot net finds."""

from __future__ import annotations

import numpy as np

# A made-up skeleton of five dots, in the colors that the dot net looks for (RGB).
DOTS = {"head": (255, 0, 0), "left_hand": (0, 255, 0), "right_hand": (0, 0, 255), "left_foot": (255, 255, 0),
        "right_foot": (0, 255, 255)}  # fmt: skip
FIGURE = np.array([[0.5, 0.06], [0.9, 0.4], [0.1, 0.4], [0.8, 0.94], [0.2, 0.94]], np.float32)  # in the unit box
