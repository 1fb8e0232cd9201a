"""One training on several processes, started by `torchrun`.

Each process works on its share of every batch. Gradients are averaged by torch's DistributedDataParallel; batch
norms use the whole batch; only process 0 writes files. The losses are means over the batch (losses.py), so the
processes together compute the same as one process with the same batch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from edgepose import EdgeposeError


@dataclass(frozen=True)
class Processes:
    """This process among all of a training; alone by default."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0  # among those of this machine
    restarts: int = 0  # how often torchrun has started them again after a failure

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, batch: int) -> int:
        """People of a batch that this process takes."""
        if batch % self.world:
            raise EdgeposeError(f"batch expected a multiple of the {self.world} processes, got {batch}")
        return batch // self.world

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes; every one of them must ask."""
        return values if self.world == 1 else self._reduce(values, dist.ReduceOp.SUM) / self.world

    def most(self, value: int, device: torch.device) -> int:
        """The largest value among all processes."""
        if self.world == 1:
            return value
        return int(self._reduce(torch.tensor(value, device=device), dist.ReduceOp.MAX))

    def _reduce(self, values: Tensor, op: dist.ReduceOp.RedOpType) -> Tensor:
        values = values.clone()
        dist.all_reduce(values, op)
        return values

    def wait(self) -> None:
        if self.world > 1:
            dist.barrier()

    def wrap(self, module: nn.Module) -> nn.Module:
        """`module` with gradients averaged over the processes."""
        return module if self.world == 1 else nn.parallel.DistributedDataParallel(module)


SINGLE_PROCESS = Processes()


def join_processes(device: str) -> tuple[Processes, str]:
    """Join the processes that torchrun started, if it did; with the device of this one, a GPU each."""
    check_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return SINGLE_PROCESS, device
    rank, world, local, restarts = (
        int(os.environ.get(name, "0")) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT")
    )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    backend = "nccl" if device.startswith("cuda") else "gloo"
    timeout = timedelta(minutes=60)  # process 0 decodes shards and validates while the others wait
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", timeout=timeout))
    # torchrun lends one store to all of its attempts. Addresses that a killed attempt left in it would be dialled.
    store = PrefixStore(f"attempt-{restarts}-of-{world}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)
    return Processes(rank, world, local, restarts), device


def leave_processes() -> None:
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


class _Sum(torch.autograd.Function):
    """Sum over the processes, forward and backward."""

    @staticmethod
    def forward(_: object, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(_: object, grad: Tensor) -> Tensor:
        grad = grad.clone()
        dist.all_reduce(grad)
        return grad


class GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the batch of all processes, for the CPU, where torch's SyncBatchNorm does not work."""

    def _check_input_dim(self, _: Tensor) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:  # x [N, C, …]
        if not self.training:
            return super().forward(x)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        values = x.float()
        count = values.numel() // values.shape[1]
        stats = torch.stack((values.sum(axes), values.square().sum(axes), values.new_full(values.shape[1:2], count)))
        sums: Tensor = _Sum.apply(stats)  # type: ignore[no-untyped-call]  # torch's own
        total, squares, count_all = sums.unbind()
        mean = total / count_all
        variance = squares / count_all - mean.square()
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        with torch.no_grad():
            unbiased = variance * count_all / (count_all - 1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (values * scale.view(shape) + (self.bias - mean * scale).view(shape)).to(x.dtype)


def synchronize_norms(module: nn.Module, device: torch.device) -> nn.Module:
    """Let all batch norms of `module` see the batch of all processes; names and state stay the same."""
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return converted
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.__class__ = GlobalBatchNorm
    return module


def check_device(name: str) -> None:
    """Raises EdgeposeError for what is no device of the command line, and for a GPU that is not here."""
    kind, _, number = name.partition(":")
    if name not in ("auto", "cpu") and not (kind == "cuda" and (name == kind or number.isdecimal())):
        raise EdgeposeError(f"--device expected auto, cpu, cuda or cuda:N, got {name!r}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise EdgeposeError(f"--device {name}: torch sees no GPU here; use --device cpu")
    if number and int(number) >= torch.cuda.device_count():
        raise EdgeposeError(f"--device {name}: torch sees {torch.cuda.device_count()} GPUs here, counted from 0")


def pick_device(name: str) -> torch.device:
    """The device of the command line; "auto" is a GPU where there is one. Raises EdgeposeError as `check_device`."""
    check_device(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
