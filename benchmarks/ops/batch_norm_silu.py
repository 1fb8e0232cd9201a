"""batch_norm_silu, forward and backward, against torch's batch norm and SiLU on maps of RTMPose-t at batch 32."""

from __future__ import annotations

import torch
from common import Row, compare, options, report, sizes
from torch import Tensor
from torch.nn import functional as F

import edgepose.torch as et

MAPS = {"24 of 128x96": (24, 128, 96), "24 of 64x48": (24, 64, 48), "192 of 16x12": (192, 16, 12)}
BATCH = 32


def all_rows(args) -> list[Row]:
    torch.manual_seed(0)
    rows: list[Row] = []
    for name, (c, h, w) in sizes(args, MAPS).items():
        for dtype in (torch.bfloat16, torch.float32):
            maps = torch.randn(BATCH, c, h, w, device=args.device, dtype=dtype)
            maps = maps.contiguous(memory_format=torch.channels_last).requires_grad_()
            weight, bias = (torch.rand(c, device=args.device, requires_grad=True) for _ in "wb")
            upstream = torch.randn_like(maps)
            leaves = maps, weight, bias

            def eager(leaves: tuple[Tensor, ...] = leaves, upstream: Tensor = upstream) -> tuple[Tensor, ...]:
                maps, weight, bias = leaves
                y = F.silu(F.batch_norm(maps, None, None, weight, bias, training=True))
                return y, *torch.autograd.grad(y, leaves, upstream)

            def ours(leaves: tuple[Tensor, ...] = leaves, upstream: Tensor = upstream) -> tuple[Tensor, ...]:
                maps, weight, bias = leaves
                n, c, h, w = maps.shape
                flat, *_ = et.batch_norm_silu(maps.permute(0, 2, 3, 1).reshape(-1, c), weight, bias)
                y = flat.view(n, h, w, c).permute(0, 3, 1, 2)
                return y, *torch.autograd.grad(y, leaves, upstream)

            step = 2e-2 if dtype == torch.bfloat16 else 1e-4
            for a, b in zip(ours(), eager(), strict=True):
                torch.testing.assert_close(a, b, rtol=step, atol=step * float(b.detach().abs().max()))
            case = f"batch norm and SiLU {name} {str(dtype).removeprefix('torch.')}"
            rows += compare(case, {"torch": eager, "edgepose": ours}, args)
    return rows


def main() -> None:
    args = options(__doc__ or "")
    report("batch_norm_silu", all_rows(args), args)


if __name__ == "__main__":
    main()
