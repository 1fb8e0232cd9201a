"""PyAV, which decodes videos: imported where it is used, since a machine that only has cameras does without it."""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose import EdgeposeError

log = logging.getLogger(__name__)


class PyAvMissing(EdgeposeError):
    """Videos were asked for where PyAV is not installed."""


def need_av() -> ModuleType:
    """The module `av`; PyAvMissing where it is missing. What FFmpeg says by itself is seen with --verbose only."""
    try:
        import av
        import av.logging
    except ImportError as error:
        raise PyAvMissing("videos need PyAV: pip install 'edgepose[app]', or pip install av") from error
    level = av.logging.WARNING if logging.getLogger().isEnabledFor(logging.DEBUG) else av.logging.PANIC
    av.logging.set_libav_level(level)
    return av


def to_bgr(frame: Any) -> NDArray[np.uint8]:  # av.VideoFrame -> [H, W, 3]
    """The picture as it is to be shown: in the colors and the range that the file states, and upright."""
    image: NDArray[np.uint8] = frame.to_ndarray(format="bgr24")
    try:
        matrices = [data for data in frame.side_data.keys() if data.type.name == "DISPLAYMATRIX"]  # noqa: SIM118
    except ValueError:  # beside it is a kind of data that PyAV does not know; reflections are lost then
        return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))
    if not matrices:
        return image
    a, b, _, c, d = np.frombuffer(matrices[0], np.int32)[:5].tolist()
    return turned(image, a, b, c, d)


def turned(image: NDArray[np.uint8], a: int, b: int, c: int, d: int) -> NDArray[np.uint8]:
    """The image after a display matrix, x' = a·x + c·y and y' = b·x + d·y, in quarter turns and reflections.

    Phones film sideways, and some front cameras in a mirror. Other angles are left alone.
    """
    if a == d == 0 and b and c:
        image, flip_x, flip_y = image.transpose(1, 0, 2), c < 0, b < 0
    elif b == c == 0 and a and d:
        flip_x, flip_y = a < 0, d < 0
    else:
        return image
    return np.ascontiguousarray(image[:: -1 if flip_y else 1, :: -1 if flip_x else 1])
