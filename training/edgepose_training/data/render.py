"""Paint plans: windows of images → inputs of the network, with OpenCV one by one, on a device with torch all at once
or with `crop_normalize` one by one.

All sample bilinearly, show black outside of the image, and agree within rounding (tested).
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import edgepose.torch
from edgepose_training.data.augment import Plan


def render_cv2(windows: list[np.ndarray], plan: Plan, input_size: tuple[int, int]) -> np.ndarray:
    """Windows [h, w, 3] uint8 BGR → [N, H, W, 3] uint8 BGR."""
    out = np.empty((len(windows), input_size[1], input_size[0], 3), np.uint8)
    affines, bottoms = plan.affine.double().numpy(), plan.bottom.int().tolist()
    colors, erase, paint = plan.color.numpy(), plan.erase.tolist(), plan.paint.numpy()
    identity = np.eye(3, 4, dtype=np.float32)
    for i, window in enumerate(windows):
        image = window[: bottoms[i]]
        # Plain bilinear sampling aliases when a large person becomes a small input.
        shrink = float(np.sqrt(abs(np.linalg.det(affines[i, :, :2]))))
        if shrink < 0.6:
            kernel = 2 * int(0.5 / shrink) + 1
            image = cv2.blur(image, (kernel, kernel))
        image = cv2.warpAffine(image, affines[i], input_size, flags=cv2.INTER_LINEAR)
        if not np.array_equal(colors[i], identity):
            image = cv2.transform(image, colors[i])
        if plan.blur[i]:
            image = cv2.blur(image, (3, 3))
        x1, y1, x2, y2 = erase[i]
        image[y1:y2, x1:x2] = paint[i]
        out[i] = image
    return out


def pack_pixels(flat: Tensor) -> Tensor:
    """Bytes of BGR pixels [3·P] uint8 → one int32 each, [P]: a bilinear tap is then one read instead of three."""
    packed = torch.empty(len(flat) // 3, dtype=torch.int32, device=flat.device)
    for start in range(0, len(packed), 1 << 26):  # bounds what the intermediate steps take
        b, g, r = flat[3 * start : 3 * (start + (1 << 26))].view(-1, 3).to(torch.int32).unbind(1)
        packed[start : start + (1 << 26)] = b | g << 8 | r << 16
    return packed


def render_torch(
    pixels: Tensor, offsets: Tensor, sizes: Tensor, plan: Plan, input_size: tuple[int, int], oversample: int = 1
) -> Tensor:
    """Windows out of one flat buffer → [N, H, W, 3] uint8 BGR, on the buffer's device.

    Plain arithmetic on whole batches throughout, so that torch.compile can make one pass of it.

    Args:
        pixels: [P] int32, all windows of a cache one after another (`pack_pixels`).
        offsets: [N] at which pixel each window starts.
        sizes: [N, 2] its width and height.
        oversample: samples per pixel and axis, averaged; 2 where inputs are much smaller than the windows.
    """
    width, height = input_size[0] * oversample, input_size[1] * oversample
    inverse = _inverse(plan.affine)[..., None, None]
    steps = torch.arange(max(width, height), device=pixels.device, dtype=torch.float32)
    steps = (steps + 0.5) / oversample - 0.5
    column, row = steps[:width], steps[:height, None]
    x = inverse[:, 0, 0] * column + inverse[:, 0, 1] * row + inverse[:, 0, 2]
    y = inverse[:, 1, 0] * column + inverse[:, 1, 1] * row + inverse[:, 1, 2]
    return _finished(_bilinear(pixels, offsets, sizes[:, 0], plan.bottom, x, y), plan, input_size, oversample)


def render_kernel(
    pixels: Tensor, offsets: Tensor, sizes: Tensor, plan: Plan, input_size: tuple[int, int], oversample: int = 1
) -> Tensor:
    """As `render_torch`, sampled by `edgepose.torch.crop_normalize`, a call a person.

    Args:
        pixels: [3·P] uint8, all windows of a cache one after another, BGR, on any device.
        offsets, sizes, plan: as there, but on the host, which says where each window lies: nothing waits for a device.
    """
    # Pixel p of the input is the mean of the samples around oversample · p + (oversample − 1) / 2.
    affine = plan.affine * oversample
    affine[:, :, 2] += (oversample - 1) / 2
    affine = affine.to(pixels.device)
    size = (input_size[0] * oversample, input_size[1] * oversample)
    crops = []
    for i, (offset, (width, _), bottom) in enumerate(
        zip(offsets.tolist(), sizes.int().tolist(), plan.bottom.int().tolist(), strict=True)
    ):
        window = pixels[3 * offset : 3 * (offset + width * bottom)].view(bottom, width, 3)
        crops.append(
            edgepose.torch.crop_normalize(
                window, affine[i : i + 1], input_size=size, mean=(0, 0, 0), std=(1, 1, 1), channel_order="bgr"
            )
        )
    return _finished(torch.cat(crops), plan.to(pixels.device), input_size, oversample)


def _finished(image: Tensor, plan: Plan, input_size: tuple[int, int], oversample: int) -> Tensor:
    """Samples [N, 3, H·o, W·o] of 0 … 255 → [N, H, W, 3] uint8: averaged, colored, blurred, erased."""
    if oversample > 1:
        image = F.avg_pool2d(image, oversample)
    b, g, r = image.unbind(1)
    color = plan.color[..., None, None]
    image = torch.stack([m[:, 0] * b + m[:, 1] * g + m[:, 2] * r + m[:, 3] for m in color.unbind(1)], 1)
    image = image.clamp(0, 255)
    smooth = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="reflect"), 3, 1)
    image = torch.where(plan.blur[:, None, None, None], smooth, image)
    return _erased(image, plan, input_size).round().to(torch.uint8).permute(0, 2, 3, 1)


def _bilinear(pixels: Tensor, offsets: Tensor, width: Tensor, bottom: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Sample [N, 3, H, W] at x, y [N, H, W]; zero outside of 0..width−1 and 0..bottom−1."""
    offsets, width, bottom = (t[:, None, None].long() for t in (offsets, width, bottom))
    columns = list(_taps(x, width))
    total: list[Tensor] = []
    for yi, wy in _taps(y, bottom):
        line = offsets + yi * width
        for xi, wx in columns:
            texel, weight = pixels[line + xi], wx * wy
            terms = [(texel >> 8 * channel & 255) * weight for channel in range(3)]
            total = [a + b for a, b in zip(total, terms, strict=True)] if total else terms
    return torch.stack(total, 1)


def _taps(position: Tensor, end: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The two pixels around a coordinate along one axis, kept inside, and their weights: 0 for one beyond 0..end−1."""
    low = position.floor()
    for tap in (low, low + 1):
        inside = (tap >= 0) & (tap < end)
        yield torch.where(inside, tap, 0).long(), (1 - (position - tap).abs()) * inside


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
