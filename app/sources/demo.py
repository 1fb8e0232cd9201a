"""The demo: a photograph of a person in known motion, so that without a camera there is something to see.

The photograph (Grace Hopper, official portrait of the US Navy, public domain) is part of matplotlib's sample
data. Because the motion is known exactly, the demo also measures how steady the points are: see jitter.py.
"""

from __future__ import annotations

from importlib.util import find_spec
from math import cos, pi, radians, sin
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose import EdgeposeError
from edgepose.images import read_image

from .base import Frame, Source

SIZE = (960, 720)  # px, of a frame
PERSON_BOX = (26.0, 22.0, 512.0, 600.0)  # xyxy px, the person in the photograph
_PAD = 240  # px of out-of-focus surroundings on every side; further out, the last pixel repeats
_SCALE = 1.05  # frame px per photograph px at rest


def motion_at(time: float) -> NDArray[np.float64]:
    """[2, 3] photograph → frame at `time` seconds: slow pan, zoom and roll, as of a hand-held camera.

    The periods have no small common multiple, so no two moments of the first minutes look alike.
    """

    def swing(amplitude: float, period: float, phase: float = 0.0) -> float:
        return amplitude * sin(2 * pi * (time / period + phase))

    scale = _SCALE * (1 + swing(0.16, 7.3))
    angle = radians(swing(9.0, 5.9) + swing(3.0, 2.3, 0.2))
    pan = (swing(130, 8.7, 0.1) + swing(12, 1.9), swing(45, 6.1, 0.4))
    center = np.array(SIZE) / 2 + pan
    turn = scale * np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
    middle = np.array([256.0, 300.0])  # of the photograph, which turns around it
    return np.column_stack([turn, center - turn @ middle])


class Demo(Source):
    """Endless; frame i is the same image on every run."""

    name = "demo"
    fps = 30.0

    def __init__(self) -> None:
        super().__init__()
        self._canvas = _surround(read_image(find_photograph()))
        self._index = 0

    @property
    def description(self) -> str:
        return f"demo · {SIZE[0]}×{SIZE[1]}"

    def read(self) -> Frame | None:
        if self.stopped.is_set():
            return None
        time = self._index / self.fps
        motion = motion_at(time)
        canvas_to_frame = motion.copy()
        canvas_to_frame[:, 2] -= motion[:, :2] @ (_PAD, _PAD)
        image = cv2.warpAffine(self._canvas, canvas_to_frame, SIZE, borderMode=cv2.BORDER_REPLICATE)
        frame = Frame(image.astype(np.uint8, copy=False), self._index, time, motion=motion)
        self._index += 1
        return frame


def find_photograph() -> Path:
    """The file in matplotlib's sample data, without importing matplotlib (half a second)."""
    spec = find_spec("matplotlib")
    if spec is not None and spec.origin:
        path = Path(spec.origin).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"
        if path.exists():
            return path
    raise EdgeposeError("the demo's photograph comes with matplotlib: pip install 'edgepose[app]'")


def _surround(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The photograph with surroundings out of focus, so that the camera sees no hard edge.

    The edge pixels are drawn out and blurred: mirrored surroundings would hold ghosts of a second face.
    """
    canvas = cv2.copyMakeBorder(photo, _PAD, _PAD, _PAD, _PAD, cv2.BORDER_REPLICATE)
    small = cv2.resize(canvas, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
    soft = cv2.resize(cv2.GaussianBlur(small, (0, 0), 5), canvas.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    mask = np.zeros(canvas.shape[:2], np.float32)
    mask[_PAD:-_PAD, _PAD:-_PAD] = 1
    mask = cv2.GaussianBlur(cv2.erode(mask, np.ones((41, 41))), (0, 0), 9)[..., None]
    return np.rint(mask * canvas + (1 - mask) * soft).astype(np.uint8)
