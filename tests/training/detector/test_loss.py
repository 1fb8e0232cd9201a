"""Assignment and losses of the detector, by literals and by their promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgepose.detectors import decode_cells
from edgepose_training.detector.batches import DetectorBatch
from edgepose_training.detector.config import DetectorConfig
from edgepose_training.detector.loss import assign, cell_boxes, cell_grid, detector_loss, giou, pairwise_iou
from edgepose_training.detector.net import DetectorNet
from edgepose_training.models.macs import count_macs, count_parameters

SIZE = (64, 96)  # H, W: 96 + 24 + 6 cells
CONFIG = DetectorConfig()
CENTERS, STRIDES = cell_grid(SIZE, torch.device("cpu"))


def batch_of(people: list[list[float]], ignored: list[list[float]] | None = None) -> DetectorBatch:
    table = torch.tensor(people, dtype=torch.float32).reshape(1, -1, 4)
    holes = torch.tensor(ignored or [[0.0] * 4]).reshape(1, -1, 4)
    is_person = torch.ones(1, table.shape[1], dtype=torch.bool)
    return DetectorBatch(torch.zeros(1, *SIZE, 3, dtype=torch.uint8), table, is_person, holes)


def cells_that_say(boxes: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:  # [A, 4], [A] -> [1, 5, A]
    distances = torch.cat((CENTERS - boxes[:, :2], boxes[:, 2:] - CENTERS), dim=1) / STRIDES[:, None]
    return torch.cat((logits[None], distances.clamp(min=1e-3).log().T))[None]


def test_training_and_runtime_decode_alike() -> None:
    cells = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (2, 5, len(CENTERS))).astype(np.float32))
    boxes, scores = decode_cells(cells.numpy(), SIZE)
    np.testing.assert_allclose(cell_boxes(cells, CENTERS, STRIDES).numpy(), boxes, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(cells[:, 0].sigmoid().numpy(), scores, rtol=1e-5)


def test_net_keeps_its_limits() -> None:
    with torch.device("meta"):
        net = DetectorNet()
    assert count_parameters(net) <= 1_500_000
    assert count_macs(net, (320, 320)) < 0.4e9
    assert net(torch.zeros(2, 3, *SIZE, device="meta")).shape == (2, 5, len(CENTERS))


def test_cells_of_a_person() -> None:
    """All cells see the person perfectly: the ten surest inside the box are asked for 1, the others for 0."""
    person = torch.tensor([16.0, 8, 80, 60])
    boxes = person.expand(1, len(CENTERS), 4)
    scores = torch.linspace(0.1, 0.9, len(CENTERS))[None]
    target, owner = assign(scores, boxes, CENTERS, person[None, None], torch.ones(1, 1, dtype=torch.bool), CONFIG)
    inside = ((person[:2] < CENTERS) & (person[2:] > CENTERS)).all(1)
    surest = torch.topk(torch.where(inside, scores[0], -1), CONFIG.top).indices
    assert set(torch.nonzero(target[0]).flatten().tolist()) == set(surest.tolist())
    assert target.max() == pytest.approx(1)
    # Scores differ, overlaps do not: the alignment falls with the square root of the score.
    np.testing.assert_allclose(target[0, surest] ** 2, scores[0, surest] / scores[0, surest].max(), rtol=1e-5)
    assert owner.max() == 0


def test_a_cell_serves_the_person_it_overlaps_most() -> None:
    people = torch.tensor([[[0.0, 0, 48, 64], [8.0, 0, 56, 64]]])
    boxes = people[0, 1].expand(1, len(CENTERS), 4)
    scores = torch.full((1, len(CENTERS)), 0.5)
    everybody = torch.ones(1, 2, dtype=torch.bool)
    target, owner = assign(scores, boxes, CENTERS, people, everybody, DetectorConfig(top=1000))  # both want every cell
    both = (target[0] > 0) & (CENTERS[:, 0] > 8) & (CENTERS[:, 0] < 48)
    assert both.any()
    assert (owner[0, both] == 1).all()


def test_padding_is_background() -> None:
    people = torch.tensor([[[0.0, 0, 96, 64], [0.0, 0, 96, 64]]])
    scores = torch.full((1, len(CENTERS)), 0.5)
    boxes = people[:, :1].expand(1, len(CENTERS), 4)
    target, _ = assign(scores, boxes, CENTERS, people, torch.tensor([[False, False]]), CONFIG)
    assert target.sum() == 0


def test_a_perfect_answer_costs_nothing_and_a_false_positive_does() -> None:
    person = torch.tensor([16.0, 8, 80, 60])
    scores = torch.full((len(CENTERS),), -12.0)
    inside = ((person[:2] < CENTERS) & (person[2:] > CENTERS)).all(1)
    boxes = torch.where(inside[:, None], person, torch.cat((CENTERS - 4, CENTERS + 4), 1))
    scores[torch.nonzero(inside).flatten()[: CONFIG.top]] = 12.0
    batch = batch_of([person.tolist()])
    terms = detector_loss(cells_that_say(boxes, scores), batch, CONFIG)
    assert float(sum(terms.values())) < 1e-3
    outside = int(torch.nonzero(~inside)[0])
    scores[outside] = 3.0
    assert float(detector_loss(cells_that_say(boxes, scores), batch, CONFIG)["person"]) > 0.1


def test_ignored_regions_teach_nothing() -> None:
    cells = torch.zeros(1, 5, len(CENTERS), requires_grad=True)
    hole = [32.0, 16, 96, 64]
    sum(detector_loss(cells, batch_of([[0.0] * 4], [hole]), CONFIG).values()).backward()
    in_hole = ((torch.tensor(hole[:2]) < CENTERS) & (torch.tensor(hole[2:]) > CENTERS)).all(1)
    gradient = cells.grad[0, 0].abs()
    assert gradient[in_hole].max() == 0
    assert gradient[~in_hole].min() > 0


def test_overlaps_by_literals() -> None:
    a = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 1, 1]])
    b = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [3, 0, 4, 1]])
    np.testing.assert_allclose(giou(a, b), [1, 1 / 3, -0.5], rtol=1e-5)
    np.testing.assert_allclose(pairwise_iou(a[None, :1], b[None])[0], [[1, 1 / 3, 0.01]], rtol=1e-4)
