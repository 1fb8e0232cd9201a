"""Assignment and losses of the detector.

Assignment: task alignment (TOOD, Feng et al. 2021, §3.2). Of the cells whose center lies in a person's box, the `top`
best by alignment t = s^α · u^β (s: the cell's score, u: its box' overlap with the person) belong to the person; a cell
that several people want goes to the one it overlaps most. Its target score is t, scaled so that each person's best
cell is asked for its overlap u.

Losses: quality focal loss on the score (GFL, Li et al. 2020, eq. 4) over all cells that are not ignored, GIoU
(Rezatofighi et al. 2019) on the boxes, weighted by the target scores. Both are divided by the sum of the targets.

Distillation: the same two losses with a teacher's answer as the target, cell by cell, boxes weighted by its scores (as
GFL weights them; Zheng et al. 2022, "Localization Distillation", do so for distributions). A teacher sees half-hidden,
cut and unlisted people, too: where it sees one, a list that has none does not count.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from edgepose_training.detector.batches import DetectorBatch
from edgepose_training.detector.config import DetectorConfig
from edgepose_training.detector.net import STRIDES
from edgepose_training.detector.teacher import TeacherAnswer

LARGEST_LOG = 4.0  # exp(4) = 55 strides: beyond any canvas
DOUBTFUL = 0.35  # teacher's score from which a cell without a listed person is not background


def cell_grid(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:  # -> [A, 2], [A]
    """Centers of the cells of a canvas (H, W) and their strides, in pixels, in the order of the net's output."""
    centers, strides = [], []
    for stride in STRIDES:
        rows, columns = (torch.arange(side // stride, device=device) for side in size)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        centers.append((torch.stack((x, y), dim=-1).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((len(centers[-1]),), float(stride), device=device))
    return torch.cat(centers), torch.cat(strides)


def cell_boxes(cells: Tensor, centers: Tensor, strides: Tensor) -> Tensor:  # [N, 5, A], [A, 2], [A] -> [N, A, 4]
    """Boxes xyxy in pixels. `edgepose.detectors.decode_cells` is the same in numpy."""
    distances = cells[:, 1:].clamp(max=LARGEST_LOG).exp().transpose(1, 2) * strides[:, None]
    return torch.cat((centers - distances[..., :2], centers + distances[..., 2:]), dim=-1)


def detector_loss(
    cells: Tensor,  # [N, 5, A]
    batch: DetectorBatch,
    config: DetectorConfig,
    mean: Callable[[Tensor], Tensor] = lambda total: total,
    teacher: TeacherAnswer | None = None,
) -> dict[str, Tensor]:
    """Terms of the loss, weighted, for the net's raw output. `mean`: over the processes that share a batch."""
    cells = cells.float()
    height, width = batch.images.shape[1:3]
    centers, strides = cell_grid((height, width), cells.device)
    boxes, logits = cell_boxes(cells, centers, strides), cells[:, 0]
    with torch.no_grad():
        target, owner = assign(logits.sigmoid(), boxes, centers, batch.people, batch.is_person, config)
        counted = ~inside(centers, batch.ignored).any(dim=1)
        if teacher is not None:
            counted &= teacher.scores < DOUBTFUL
        counted |= target > 0
        total = mean(target.sum()).clamp(min=1.0)
    wanted = batch.people.gather(1, owner[..., None].expand(-1, -1, 4))
    person = (quality_focal_loss(logits, target, config.focus) * counted).sum() / total
    box = config.box_weight * box_loss(boxes, wanted, target, target > 0) / total
    terms = {"person": config.label_weight * person, "box": config.label_weight * box}
    if teacher is not None:
        terms |= distillation_loss(logits, boxes, teacher, config, mean)
    return terms


def distillation_loss(
    logits: Tensor,  # [N, A]
    boxes: Tensor,  # [N, A, 4]
    teacher: TeacherAnswer,
    config: DetectorConfig,
    mean: Callable[[Tensor], Tensor],
) -> dict[str, Tensor]:
    """The two terms with the teacher's scores and boxes as targets."""
    seen = teacher.scores > config.teacher_seen
    total = mean((teacher.scores * seen).sum()).clamp(min=1.0)
    person = quality_focal_loss(logits, teacher.scores, config.focus).sum() / total
    box = config.box_weight * box_loss(boxes, teacher.boxes, teacher.scores, seen) / total
    return {"teacher_person": config.teacher_weight * person, "teacher_box": config.teacher_weight * box}


def box_loss(boxes: Tensor, wanted: Tensor, weight: Tensor, chosen: Tensor) -> Tensor:
    """Sum of 1 − GIoU of the chosen cells' boxes, times their weights. [N, A, 4], [N, A, 4], [N, A], [N, A] bool."""
    return ((1 - giou(boxes[chosen], wanted[chosen])) * weight[chosen]).sum()


def inside(points: Tensor, boxes: Tensor) -> Tensor:  # [A, 2], [N, M, 4] -> [N, M, A]
    """Which points lie in which boxes; a box of zeros holds none."""
    low = (points > boxes[..., None, :2]).all(dim=-1)
    return low & (points < boxes[..., None, 2:]).all(dim=-1)


@torch.no_grad()
def assign(
    scores: Tensor,  # [N, A] in [0, 1]
    boxes: Tensor,  # [N, A, 4]
    centers: Tensor,  # [A, 2]
    people: Tensor,  # [N, M, 4]
    is_person: Tensor,  # [N, M] bool
    config: DetectorConfig,
) -> tuple[Tensor, Tensor]:
    """Target score of every cell [N, A], 0 for background, and the index of its person [N, A]."""
    overlap = pairwise_iou(people, boxes)  # [N, M, A]
    candidate = inside(centers, people) & is_person[..., None]
    alignment = scores[:, None] ** config.alpha * overlap**config.beta * candidate
    best = torch.topk(alignment, min(config.top, alignment.shape[-1]), dim=-1)
    taken = torch.zeros_like(candidate).scatter_(-1, best.indices, best.values > 0) & candidate
    owner = torch.where(taken, overlap, -1.0).argmax(dim=1)  # [N, A]
    taken &= F.one_hot(owner, people.shape[1]).transpose(1, 2).bool()
    alignment = alignment * taken
    peak = alignment.amax(dim=-1, keepdim=True)
    highest = (overlap * taken).amax(dim=-1, keepdim=True)
    target = (alignment / peak.clamp(min=1e-30) * highest).amax(dim=1)
    return target, owner


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:  # [N, M, 4], [N, A, 4] -> [N, M, A]
    low = torch.maximum(a[:, :, None, :2], b[:, None, :, :2])
    high = torch.minimum(a[:, :, None, 2:], b[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(dim=-1) for boxes in (a, b)]
    return shared / (areas[0][:, :, None] + areas[1][:, None] - shared).clamp(min=1e-6)


def giou(a: Tensor, b: Tensor) -> Tensor:  # [P, 4], [P, 4] -> [P]
    """Generalized overlap of pairs of boxes, in [−1, 1]."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(dim=1)
    union = (a[:, 2:] - a[:, :2]).prod(dim=1) + (b[:, 2:] - b[:, :2]).prod(dim=1) - shared
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(dim=1)
    return shared / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


def quality_focal_loss(logits: Tensor, target: Tensor, focus: float) -> Tensor:  # [N, A], [N, A] -> [N, A]
    """|σ − y|^β · cross-entropy with soft labels y."""
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (logits.sigmoid() - target).abs() ** focus * entropy
