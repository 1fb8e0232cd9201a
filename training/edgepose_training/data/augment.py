"""Augmentation: from uniform random numbers to a plan for each person, and from the plan to the labels.

A plan defines how the crop is placed, mirrored and truncated, and how its colors change; `render.py` renders it, with
OpenCV in worker processes or with torch on the device. Everything here works on batches, in torch, on any device.
A person's plan depends only on its own random numbers, so a seed determines a run however it is split.
(Recipe: RTMPose's whole-body augmentation; truncation is our addition.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from edgepose.skeletons import Skeleton

PADDING = 1.25
ENDS = ("_shoulder", "_hip")  # names of the torso's two ends, in every skeleton that has them
DRAWS = 25  # uniform numbers a person takes


@dataclass(frozen=True)
class Strength:
    """How hard to augment; the fields are those of `config.Config`. The default is what inference sees."""

    truncation_prob: float = 0.0
    flip: float = 0.0
    half_body: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    rotation: float = 0.0
    shift: float = 0.0
    erase: float = 0.0
    color: float = 0.0
    clipped_normal: bool = False


PLAIN = Strength()


@dataclass(frozen=True)
class CropLabels:
    """N people in their windows; pixels of the window."""

    bbox: Tensor  # [N, 4] xyxy
    keypoints: Tensor  # [N, K, 2]
    visible: Tensor  # [N, K] 0: unlabeled
    weights: Tensor  # [N, K]
    size: Tensor  # [N, 2] width and height of the window

    def __getitem__(self, rows: Tensor | slice) -> CropLabels:
        return CropLabels(*(t[rows] for t in vars(self).values()))

    def to(self, device: torch.device) -> CropLabels:
        return CropLabels(*(t.to(device) for t in vars(self).values()))


@dataclass(frozen=True)
class Plan:
    """What to show of each window."""

    affine: Tensor  # [N, 2, 3] window → input
    bottom: Tensor  # [N] row at which the image ends; nothing is shown from there on
    flip: Tensor  # [N] bool, the affine mirrors
    color: Tensor  # [N, 3, 4] on (b, g, r, 1), 0..255
    blur: Tensor  # [N] bool: 3×3 box
    erase: Tensor  # [N, 4] int x1, y1, x2, y2 of the input; empty: x1 = x2
    paint: Tensor  # [N, 3] uint8 of the erased rectangle

    def to(self, device: torch.device) -> Plan:
        return Plan(*(t.to(device, non_blocking=True) for t in vars(self).values()))


def draws(seeds: Tensor) -> Tensor:
    """Uniform numbers [N, DRAWS] in [0, 1) of each seed [N] int64, the same on every device.

    SplitMix64 (Steele, Lea, Flood 2014) of seed and column: no state, so a person gets its numbers in whatever
    batch, process or order it comes.
    """
    step = torch.arange(1, DRAWS + 1, device=seeds.device) * _signed(0x9E3779B97F4A7C15)
    z = seeds[:, None] + step
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    return _shifted(z, 40).float() / 2**24


def _signed(word: int) -> int:
    """The 64 bits as torch's signed integers hold them; their products wrap, as the generator wants."""
    return word - (1 << 64)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Logical shift to the right; torch's own carries the sign along."""
    return z >> bits & (1 << 64 - bits) - 1


def plan(labels: CropLabels, skeleton: Skeleton, input_size: tuple[int, int], strength: Strength, u: Tensor) -> Plan:
    """Draw a plan for each person from `u` [N, DRAWS], uniform in [0, 1). `input_size` is (W, H)."""
    width, height = input_size
    bottom, bbox = _cut(labels, skeleton, strength.truncation_prob, u[:, 0], u[:, 1])
    center, size = (bbox[:, :2] + bbox[:, 2:]) / 2, bbox[:, 2:] - bbox[:, :2]
    center, size = _half_body(labels, skeleton, center, size * PADDING, strength.half_body, u[:, 2], u[:, 3])
    aspect = width / height
    size = torch.stack(
        (torch.maximum(size[:, 0], size[:, 1] * aspect), torch.maximum(size[:, 1], size[:, 0] / aspect)), 1
    )
    shift = _truncated_normal(u[:, 5:7]) * strength.shift * size
    center = center + shift * (u[:, 4:5] < 0.3)
    low, high = strength.scale
    clipped = strength.clipped_normal
    zoom, turn = (
        (_clipped_normal(u[:, 7], 1), _clipped_normal(u[:, 9], 2)) if clipped else _truncated_normal(u[:, [7, 9]]).T
    )
    size = size * (zoom * (high - low) / 2 + (high + low) / 2)[:, None]
    angle = turn * strength.rotation * (u[:, 8] < 0.6)
    flip = u[:, 10] < strength.flip
    erase, paint = _erase(input_size, strength.erase, u[:, 16:22], u[:, 22:25])
    return Plan(
        affine=similarity(center, size, angle, input_size, flip),
        bottom=bottom,
        flip=flip,
        color=_color(strength.color, u[:, 11:15]),
        blur=u[:, 15] < (0.1 if strength.color > 0 else 0.0),
        erase=erase,
        paint=paint,
    )


def targets(
    labels: CropLabels, plan: Plan, skeleton: Skeleton, input_size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Keypoints [N, K, 2] in input pixels, weights [N, K], and inside [N, K]: labeled and in the image.

    A labeled point that is not inside is absent: the image ends before it, by a cut or an edge, or the input does.
    """
    points = labels.keypoints @ plan.affine[:, :, :2].mT + plan.affine[:, None, :, 2]
    window = torch.stack((labels.size[:, 0], plan.bottom), 1)[:, None]
    inside = ((labels.keypoints > -0.5) & (labels.keypoints < window - 0.5)).all(-1)
    inside &= ((points > -0.5) & (points < points.new_tensor(input_size) - 0.5)).all(-1) & (labels.visible > 0)
    swap = torch.from_numpy(skeleton.swap.copy()).to(points.device)
    flip = plan.flip[:, None]
    return (
        torch.where(flip[..., None], points[:, swap], points),
        torch.where(flip, labels.weights[:, swap], labels.weights),
        torch.where(flip, inside[:, swap], inside),
    )


def similarity(center: Tensor, size: Tensor, degrees: Tensor, input_size: tuple[int, int], flip: Tensor) -> Tensor:
    """Affine [N, 2, 3], window → input: turn by −angle about `center`, scale W/w, mirrored where `flip`."""
    width, height = input_size
    scale, radians = width / size[:, 0], degrees * (math.pi / 180)
    cos, sin = radians.cos() * scale, radians.sin() * scale
    matrix = torch.stack((cos, sin, -sin, cos), 1).view(-1, 2, 2)
    offset = center.new_tensor([width / 2, height / 2]) - (matrix @ center[..., None])[..., 0]
    affine = torch.cat((matrix, offset[..., None]), 2)
    sign = torch.where(flip, -1.0, 1.0)
    affine[:, 0] *= sign[:, None]
    affine[:, 0, 2] += flip * (width - 1)
    return affine


def _cut(labels: CropLabels, skeleton: Skeleton, share: float, gate: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """End some images between chest and hips, as a webcam does; the box ends there too.

    Needs an upright person with a shoulder and a hip; others are left alone.
    """
    shoulders, hips = ([i for i, name in enumerate(skeleton.keypoints) if name.endswith(part)] for part in ENDS)
    if share <= 0 or not shoulders or not hips:
        return labels.size[:, 1], labels.bbox
    top, has_top = _mean(labels, shoulders)
    low, has_low = _mean(labels, hips)
    torso = low - top
    line = (top[:, 1] + torso[:, 1] * (0.3 + 0.8 * where)).floor()
    upright = has_top & has_low & (torso[:, 1] >= 8) & (torso[:, 0].abs() <= torso[:, 1])
    chosen = (gate < share) & upright & (line > labels.bbox[:, 1] + 8) & (line < labels.size[:, 1])
    bbox = labels.bbox.clone()
    bbox[:, 3] = torch.where(chosen, torch.minimum(bbox[:, 3], line), bbox[:, 3])
    return torch.where(chosen, line, labels.size[:, 1]), bbox


def _mean(labels: CropLabels, ids: list[int]) -> tuple[Tensor, Tensor]:
    """Mean [N, 2] of the labeled points among `ids`, and where there is one [N]."""
    mask = (labels.visible[:, ids] > 0)[..., None].float()
    return (labels.keypoints[:, ids] * mask).sum(1) / mask.sum(1).clamp(min=1), mask.any(1)[:, 0]


def _half_body(
    labels: CropLabels, skeleton: Skeleton, center: Tensor, size: Tensor, share: float, gate: Tensor, which: Tensor
) -> tuple[Tensor, Tensor]:
    """Center and size on the upper or lower half's points × 1.5, for some people with ≥ 9 labeled points."""
    if not skeleton.upper or not skeleton.lower or share <= 0:
        return center, size
    labeled = labels.visible > 0
    member = torch.zeros(2, labeled.shape[1], dtype=torch.bool, device=labeled.device)
    member[0, list(skeleton.upper)] = True
    member[1, list(skeleton.lower)] = True
    counts = [(labeled & row).sum(1) for row in member]
    upper = torch.where(counts[1] < 3, True, torch.where(counts[0] < 2, False, which < 0.7))
    mask = labeled & torch.where(upper[:, None], member[0], member[1])
    far = torch.where(mask[..., None], 0.0, torch.inf)
    low, high = (labels.keypoints + far).amin(1), (labels.keypoints - far).amax(1)
    extent = high - low
    mean = (labels.keypoints * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
    longest = extent.amax(1)
    chosen = (gate < share) & (labeled.sum(1) >= 9) & ((counts[0] >= 2) | (counts[1] >= 3)) & (longest >= 8)
    extent = torch.maximum(extent, longest[:, None] / 4) * 1.5
    chosen = chosen[:, None]
    return torch.where(chosen, mean, center), torch.where(chosen, extent, size)


def _color(amount: float, u: Tensor) -> Tensor:
    """Hue ±5, saturation ±30 and value ±30 (of 180, 255, 255) as one linear map; sometimes the gain of a dark room.

    Linear in BGR, so that one matrix does it all: saturation mixes with luma, hue turns the two color axes.
    """
    n, device = len(u), u.device
    if amount == 0:  # exactly nothing, which painters may skip
        return torch.eye(3, 4, device=device).expand(n, 3, 4)
    hue = (2 * u[:, 0] - 1) * amount * (5 / 90 * math.pi)
    saturation = 1 + (2 * u[:, 1] - 1) * amount * (30 / 128)
    value = (2 * u[:, 2] - 1) * amount * 30
    gain = torch.where(u[:, 3] < 0.3 * amount, 0.6 + 0.7 * u[:, 3] / (0.3 * amount), 1.0)
    # BGR ↔ luma and two differences (YIQ).
    to_yiq = torch.tensor([[0.114, 0.587, 0.299], [-0.322, -0.274, 0.596], [0.312, -0.523, 0.211]], device=device)
    cos, sin, zero = hue.cos() * saturation, hue.sin() * saturation, torch.zeros(n, device=device)
    turn = torch.stack((zero + 1, zero, zero, zero, cos, -sin, zero, sin, cos), 1).view(n, 3, 3)
    matrix = torch.linalg.inv(to_yiq) @ turn @ to_yiq * gain[:, None, None]
    return torch.cat((matrix, (value * gain)[:, None, None].expand(n, 3, 1)), 2)


def _erase(input_size: tuple[int, int], share: float, u: Tensor, paint: Tensor) -> tuple[Tensor, Tensor]:
    """One rectangle of 20–40 % of each side, black or of one color."""
    side = u.new_tensor(input_size)
    extent = (side * (0.2 + 0.2 * u[:, 1:3])).floor()
    corner = ((side - extent) * u[:, 3:5]).floor()
    chosen = (u[:, 0] < share)[:, None]
    box = torch.cat((corner, corner + extent), 1) * chosen
    return box.int(), (paint * 256 * (u[:, 5:6] < 0.5)).clamp(max=255).to(torch.uint8)


def _clipped_normal(u: Tensor, bound: float) -> Tensor:
    """A normal variable, with whatever lies beyond ± `bound` moved there."""
    return (math.sqrt(2) * torch.erfinv(2 * u - 1)).clamp(-bound, bound)


def _truncated_normal(u: Tensor) -> Tensor:
    """A normal variable bounded to [−1, 1], by its inverse distribution function."""
    bound = math.erf(1 / math.sqrt(2))
    return math.sqrt(2) * torch.erfinv((2 * u - 1) * bound)
