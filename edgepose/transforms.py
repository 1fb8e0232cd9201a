"""From a person's box to the network input, and the way back.

The geometry is the one that the public RTMPose and DWPose weights were trained with: the center of the box
falls on (W/2, H/2) of integer pixel indices, no half-pixel shifts. Training and runtime both import it here.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float32]


def bbox_to_center_scale(
    bboxes: ArrayLike,  # [N, 4] xyxy
    *,
    aspect: float,  # W / H of the network input
    padding: float = 1.25,
) -> tuple[Float, Float]:
    """Center and size [N, 2] of the crops: boxes padded, then brought to the aspect by enlarging one side."""
    boxes = _batch("bbox_to_center_scale", "bboxes", bboxes, (4,))
    center: Float = (boxes[:, :2] + boxes[:, 2:]) * np.float32(0.5)
    w, h = ((boxes[:, 2:] - boxes[:, :2]) * np.float32(padding)).T
    scale = np.stack([np.maximum(w, h * aspect), np.maximum(h, w / aspect)], axis=1)
    return center, scale.astype(np.float32)


def crop_affine(
    center: ArrayLike,  # [N, 2] pixels of the frame
    scale: ArrayLike,  # [N, 2] size of the crop in pixels of the frame, of the input's aspect
    input_size: tuple[int, int],  # (W, H)
    *,
    rotation_deg: ArrayLike = 0.0,  # scalar or [N]
) -> Float:  # [N, 2, 3]
    """Frame → crop: ``p' = (W / w) · R(−θ) (p − c) + (W/2, H/2)`` (spec: TopdownAffine)."""
    c = _batch("crop_affine", "center", center, (2,)).astype(np.float64)
    size = _batch("crop_affine", "scale", scale, (2,)).astype(np.float64)
    theta = np.deg2rad(np.broadcast_to(np.asarray(rotation_deg, np.float64), len(c)))
    zoom = input_size[0] / np.maximum(size[:, 0], 1e-6)  # a box without area still gives finite numbers
    cos, sin = zoom * np.cos(theta), zoom * np.sin(theta)
    linear = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=1)  # [N, 2, 2]
    shift = np.array(input_size) / 2 - np.einsum("nij,nj->ni", linear, c)
    return np.concatenate([linear, shift[:, :, None]], axis=2).astype(np.float32)


def invert_affine(affine: ArrayLike) -> Float:  # [N, 2, 3] -> [N, 2, 3]
    """Crop → frame from frame → crop, and the reverse. Computed in float64."""
    a = _batch("invert_affine", "affine", affine, (2, 3)).astype(np.float64)
    linear = np.linalg.inv(a[:, :, :2])
    shift = -np.einsum("nij,nj->ni", linear, a[:, :, 2])
    return np.concatenate([linear, shift[:, :, None]], axis=2).astype(np.float32)


def apply_affine(
    affine: ArrayLike,  # [N, 2, 3]
    points: ArrayLike,  # [N, K, 2]
) -> Float:  # [N, K, 2]
    """Move the points of every person by that person's affine."""
    a = _batch("apply_affine", "affine", affine, (2, 3))
    p = np.asarray(points, np.float32)
    if p.ndim != 3 or p.shape[2] != 2 or len(p) != len(a):
        raise ValueError(f"apply_affine: points expected [N={len(a)}, K, 2], got {list(p.shape)}")
    moved: Float = np.einsum("nij,nkj->nki", a[:, :, :2], p) + a[:, None, :, 2]
    return moved


def normalize(
    image: NDArray[np.uint8],  # [H, W, 3] BGR
    *,
    mean: ArrayLike,  # [3] on 0..255, in channel order
    std: ArrayLike,  # [3]
    channel_order: str,
    out: Float,  # [3, H, W], contiguous
) -> Float:  # [3, H, W]
    """``(pixel − mean) / std`` in the net's color order, channels first."""
    # It is a function of 256 gray levels: one table a channel, no passes of arithmetic.
    levels = np.arange(256, dtype=np.float32)
    tables = (levels - np.asarray(mean, np.float32)[:, None]) / np.asarray(std, np.float32)[:, None]
    planes = cv2.split(image)
    for c, plane in enumerate(planes[::-1] if channel_order == "rgb" else planes):
        cv2.LUT(plane, tables[c], dst=out[c])
    return out


def to_bgr8(image: NDArray[Any]) -> NDArray[np.uint8]:  # [H, W, 3]
    """Any image that a camera or a file may hold as uint8 BGR.

    Gray [H, W] or [H, W, 1], BGR, or BGRA (the alpha is dropped); uint8, bool, uint16 (full range) or
    floats in [0, 1]. Raises ValueError for everything else.
    """
    if image is None:  # what cv2.imread answers for a file that it cannot read
        raise ValueError("to_bgr8: image expected an array, got None: is the image's path right?")
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise ValueError(f"to_bgr8: image expected [H, W] or [H, W, 1 | 3 | 4], got {list(array.shape)}")
    pixels = _to_uint8(array)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, :3])


def _to_uint8(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if array.dtype.kind == "f":
        if not (array.min() >= 0 and array.max() <= 1):  # NaN fails too
            got = f"{array.min()} to {array.max()}"
            raise ValueError(f"to_bgr8: image of floats expected in [0, 1], got {got}")
        levels: NDArray[np.uint8] = np.rint(array * 255).astype(np.uint8)
        return levels
    raise ValueError(f"to_bgr8: image expected uint8, uint16, bool or float, got {array.dtype}")


def _batch(op: str, name: str, value: ArrayLike, tail: tuple[int, ...]) -> Float:
    array = np.asarray(value, np.float32)
    if array.size == 0 and array.ndim == 1:
        array = array.reshape(0, *tail)  # nobody: an empty list is a legal batch
    if array.shape[1:] != tail or array.ndim != 1 + len(tail):
        wanted = ", ".join(["N", *map(str, tail)])
        raise ValueError(f"{op}: {name} expected [{wanted}], got {list(array.shape)}")
    return array
