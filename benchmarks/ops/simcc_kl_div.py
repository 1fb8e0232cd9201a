"""simcc_kl_div and simcc_gaussian_kl_div, forward and backward, against torch: joint by joint, eager, compiled."""

from __future__ import annotations

import importlib.util

import torch
from bandwidth import copy_of, size_of
from common import K, Row, compare, options, report, sizes
from torch import Tensor
from torch.nn import functional as F

import edgepose.torch as et
from edgepose import ops

BETA = 10.0


def eager(student: Tensor, target: Tensor) -> Tensor:
    log_q, log_p = (F.log_softmax(BETA * v, -1) for v in (student, target))
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def joint_by_joint(student: Tensor, target: Tensor) -> Tensor:
    """As mmpose's KLDiscretLoss walks over the keypoints."""
    return torch.stack([eager(student[:, k], target[:, k]) for k in range(student.shape[1])], 1)


def all_rows(args) -> list[Row]:
    torch.manual_seed(0)
    n = 8 if args.quick else 64 if args.device == "cpu" else 512
    rows = [row for size, bins in sizes(args).items() for row in one(f"{size} N={n}", n, bins, args)]
    return rows + [row for size, bins in sizes(args).items() for row in kernels(f"{size} N={n}", n, bins, args)]


def main() -> None:
    args = options(__doc__ or "")
    report("simcc_kl_div", all_rows(args), args)


def compiles(args) -> bool:
    """Whether torch.compile is a baseline: it needs triton on a GPU, and a minute."""
    return not args.quick and (args.device == "cpu" or importlib.util.find_spec("triton") is not None)


def one(case: str, n: int, bins: tuple[int, int], args) -> list[Row]:
    students = [torch.randn(n, K, b, device=args.device, requires_grad=True) for b in bins]
    points = torch.rand(n, K, 2, device=args.device) * torch.tensor(bins, device=args.device) / 2
    shown = torch.ones(n, K, device=args.device)
    sigma = ((bins[0] / 16) ** 0.5, (bins[1] / 16) ** 0.5)
    size = (bins[0] / 2, bins[1] / 2)
    targets = et.simcc_encode(points, shown, input_size=size, sigma=sigma)[:2]

    def both(loss):
        def work() -> tuple[Tensor, ...]:
            total = sum(loss(s, t).sum() for s, t in zip(students, targets, strict=True))
            return torch.autograd.grad(total, students)

        return work

    def ours(s: Tensor, t: Tensor) -> Tensor:
        return et.simcc_kl_div(s, t, beta=BETA, target_beta=BETA)

    def without_labels() -> tuple[Tensor, ...]:
        loss = et.simcc_gaussian_kl_div(*students, points, shown, sigma=sigma, beta=BETA, target_beta=BETA)
        return torch.autograd.grad(loss.sum(), students)

    for got, expected in zip(both(ours)(), both(eager)(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    variants = {
        "torch joint by joint": both(joint_by_joint),
        "torch eager": both(eager),
        **({"torch.compile": both(torch.compile(eager))} if compiles(args) else {}),
        "edgepose": both(ours),
    }
    rows = compare(f"KL {case}", variants, args)
    return rows + compare(f"Gaussian KL {case}", {"simcc_kl_div": both(ours), "edgepose": without_labels}, args)


def kernels(case: str, n: int, bins: tuple[int, int], args) -> list[Row]:
    """Loss and gradient of both axes as the kernels leave them, without autograd, against a copy of as many bytes.

    That are those of the logits, of their gradients and of the losses, and for `simcc_kl_div` those of the labels.
    """
    students = tuple(torch.randn(n, K, b, device=args.device) for b in bins)
    grads, losses = tuple(map(torch.empty_like, students)), [torch.empty(n, K, device=args.device) for _ in bins]
    points = torch.rand(n, K, 2, device=args.device) * torch.tensor(bins, device=args.device) / 2
    shown = torch.ones(n, K, device=args.device)
    sigma = ((bins[0] / 16) ** 0.5, (bins[1] / 16) ** 0.5)
    labels = et.simcc_encode(points, shown, input_size=(bins[0] / 2, bins[1] / 2), sigma=sigma)[:2]
    betas = {"beta": BETA, "target_beta": BETA}

    def two_axes() -> None:
        for student, label, loss, grad in zip(students, labels, losses, grads, strict=True):
            ops.simcc_kl_div(student, label, **betas, loss=loss, grad=grad)

    def gaussian() -> None:
        ops.simcc_gaussian_kl_div(*students, points, shown, sigma=sigma, **betas, loss=losses[0], grad=grads)

    moved = size_of(*students, *labels, *grads, *losses)
    rows = compare(f"KL kernel {case}", {**copy_of(moved, args), "edgepose.ops": two_axes}, args, moved=moved)
    moved = size_of(*students, points, shown, *grads, losses[0])
    variants = {**copy_of(moved, args), "simcc_kl_div": two_axes, "edgepose.ops": gaussian}
    return rows + compare(f"Gaussian KL kernel {case}", variants, args, moved=moved)


if __name__ == "__main__":
    main()
