"""Paint plans: windows of pictures → inputs of the network, with OpenCV one by one or with torch all at once.

Both sample bilinearly, show black outside of the picture, and agree within rounding (tested).
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edgepose_training.augment import Plan


def render_cv2(windows: list[np.ndarray], plan: Plan, input_size: tuple[int, int]) -> np.ndarray:
    """Windows [h, w, 3] uint8 BGR → [N, H, W, 3] uint8 BGR."""
    out = np.empty((len(windows), input_size[1], input_size[0], 3), np.uint8)
    affines, bottoms = plan.affine.double().numpy(), plan.bottom.int().tolist()
    colours, erase, paint = plan.colour.numpy(), plan.erase.tolist(), plan.paint.numpy()
    identity = np.eye(3, 4, dtype=np.float32)
    for i, window in enumerate(windows):
        image = window[: bottoms[i]]
        # Plain bilinear sampling aliases when a large person becomes a small input.
        shrink = float(np.sqrt(abs(np.linalg.det(affines[i, :, :2]))))
        if shrink < 0.6:
            kernel = 2 * int(0.5 / shrink) + 1
            image = cv2.blur(image, (kernel, kernel))
        image = cv2.warpAffine(image, affines[i], input_size, flags=cv2.INTER_LINEAR)
        if not np.array_equal(colours[i], identity):
            image = cv2.transform(image, colours[i])
        if plan.blur[i]:
            image = cv2.blur(image, (3, 3))
        x1, y1, x2, y2 = erase[i]
        image[y1:y2, x1:x2] = paint[i]
        out[i] = image
    return out


def render_torch(
    pixels: Tensor, offsets: Tensor, sizes: Tensor, plan: Plan, input_size: tuple[int, int], oversample: int = 1
) -> Tensor:
    """Windows out of one flat buffer → [N, H, W, 3] uint8 BGR, on the buffer's device.

    Args:
        pixels: uint8, all windows of a store one after another.
        offsets: [N] where each window starts.
        sizes: [N, 2] its width and height.
        oversample: samples per pixel and axis, averaged; 2 where inputs are much smaller than the windows.
    """
    width, height = input_size[0] * oversample, input_size[1] * oversample
    inverse = _inverse(plan.affine)
    steps = torch.arange(max(width, height), device=pixels.device, dtype=torch.float32)
    steps = (steps + 0.5) / oversample - 0.5
    x = inverse[:, 0, 0, None, None] * steps[:width] + inverse[:, 0, 1, None, None] * steps[:height, None]
    y = inverse[:, 1, 0, None, None] * steps[:width] + inverse[:, 1, 1, None, None] * steps[:height, None]
    image = _bilinear(
        pixels, offsets, sizes[:, 0], plan.bottom, x + inverse[:, 0, 2, None, None], y + inverse[:, 1, 2, None, None]
    )
    image = image.permute(0, 3, 1, 2)
    if oversample > 1:
        image = F.avg_pool2d(image, oversample)
    image = torch.einsum("nij,njhw->nihw", plan.colour[:, :, :3], image) + plan.colour[:, :, 3, None, None]
    image = image.clamp(0, 255)
    smooth = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="reflect"), 3, 1)
    image = torch.where(plan.blur[:, None, None, None], smooth, image)
    return _erased(image, plan, input_size).round().to(torch.uint8).permute(0, 2, 3, 1)


def _bilinear(pixels: Tensor, offsets: Tensor, width: Tensor, bottom: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Sample [N, H, W, 3] at x, y [N, H, W]; zero outside of 0..width−1 and 0..bottom−1."""
    offsets, width, bottom = (t[:, None, None].long() for t in (offsets, width, bottom))
    x0, y0 = x.floor(), y.floor()
    channel = torch.arange(3, device=pixels.device)
    total = torch.zeros(*x.shape, 3, device=pixels.device)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        xi, yi = (x0 + dx).long(), (y0 + dy).long()
        valid = (xi >= 0) & (xi < width) & (yi >= 0) & (yi < bottom)
        weight = (1 - (x - xi).abs()) * (1 - (y - yi).abs()) * valid
        index = torch.where(valid, offsets + (yi * width + xi) * 3, 0)
        total += pixels[index[..., None] + channel] * weight[..., None]
    return total


def _erased(image: Tensor, plan: Plan, input_size: tuple[int, int]) -> Tensor:
    x = torch.arange(input_size[0], device=image.device)
    y = torch.arange(input_size[1], device=image.device)[:, None]
    x1, y1, x2, y2 = plan.erase[:, :, None, None].unbind(1)
    hole = (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
    return torch.where(hole[:, None], plan.paint[:, :, None, None].float(), image)


def _inverse(affine: Tensor) -> Tensor:
    """Inverse of affine maps [N, 2, 3]."""
    matrix = torch.linalg.inv(affine[:, :, :2])
    return torch.cat((matrix, -(matrix @ affine[:, :, 2:])), 2)
