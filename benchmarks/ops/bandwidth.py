"""The speed limit of kernels that only read and write: a copy that moves as many bytes as must move."""

from __future__ import annotations

import argparse

import torch
from common import Work
from torch import Tensor

COPY = "copy of as many bytes"


def size_of(*tensors: Tensor) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def copy_of(moved: int, args: argparse.Namespace) -> dict[str, Work]:
    """A copy reads and writes: of half as many bytes it moves as many."""
    source = torch.zeros(moved // 2, dtype=torch.uint8, device=args.device)
    target = torch.empty_like(source)
    return {COPY: lambda: target.copy_(source)}
