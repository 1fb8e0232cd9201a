"""heatmap_encode, heatmap_decode and heatmap_mse against the same in vectorized torch; K = 17, 48 × 64 cells."""

from __future__ import annotations

import torch
from common import Row, compare, options, report

import edgepose.torch as et

K, WIDTH, HEIGHT = 17, 48, 64
INPUT = (192, 256)


def all_rows(args) -> list[Row]:
    torch.manual_seed(0)
    rows: list[Row] = []
    xs, ys = (torch.arange(cells, device=args.device) for cells in (WIDTH, HEIGHT))
    for n in (1, 64):
        points = torch.rand(n, K, 2, device=args.device) * torch.tensor(INPUT, device=args.device)
        shown = torch.ones(n, K, device=args.device)
        maps, _ = et.heatmap_encode(points, shown, input_size=INPUT, heatmap_size=(WIDTH, HEIGHT), center="exact")
        student = torch.rand_like(maps, requires_grad=True)
        teacher = torch.rand_like(maps)

        def encode(points: torch.Tensor = points) -> torch.Tensor:
            mu = points / 4
            across = torch.exp(-0.125 * (xs - mu[..., 0, None]) ** 2)
            down = torch.exp(-0.125 * (ys - mu[..., 1, None]) ** 2)
            return down[..., :, None] * across[..., None, :]

        def decode(maps: torch.Tensor = maps) -> tuple[torch.Tensor, torch.Tensor]:
            scores, cells = maps.flatten(2).max(-1)
            return torch.stack([cells % WIDTH, cells // WIDTH], -1) * 4.0, scores

        def mse(student=student, maps=maps, teacher=teacher) -> tuple[torch.Tensor, ...]:
            label, knowledge = ((student - other).square().sum((2, 3)) for other in (maps, teacher))
            return torch.autograd.grad((0.5 * label + 0.5 * knowledge).sum(), student)

        size = {"input_size": INPUT, "heatmap_size": (WIDTH, HEIGHT), "center": "exact"}
        ours = {
            "encode": lambda points=points, shown=shown, size=size: et.heatmap_encode(points, shown, **size),
            "decode": lambda maps=maps: et.heatmap_decode(maps, input_size=INPUT),
            "mse forward and backward": lambda s=student, m=maps, t=teacher: torch.autograd.grad(
                et.heatmap_mse(s, m, t).sum(), s
            ),
        }
        torch.testing.assert_close(ours["encode"]()[0], encode(), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(ours["decode"]()[0], decode()[0])
        for (name, work), baseline in zip(ours.items(), (encode, decode, mse), strict=True):
            rows += compare(f"{name} N={n}", {"torch": baseline, "edgepose": work}, args)
    return rows


def main() -> None:
    args = options(__doc__ or "")
    report("heatmap", all_rows(args), args)


if __name__ == "__main__":
    main()
