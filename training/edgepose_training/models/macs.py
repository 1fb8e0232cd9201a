"""Multiply-adds of a net, counted on the meta device: no weights, no arithmetic."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def _picture(net: nn.Module, input_size: tuple[int, int]) -> Tensor:
    width, height = input_size
    return torch.zeros(1, 3, height, width, device=next(net.parameters()).device)


def count_parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def count_macs(net: nn.Module, input_size: tuple[int, int]) -> int:
    """Multiply-adds of all convolutions and matrix products, attention included, for one image of (W, H)."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(_picture(net, input_size))
    flops: int = counter.get_total_flops()
    return flops // 2


def count_macs_hrnet(net: nn.Module, input_size: tuple[int, int]) -> int:
    """The same by the rule of HRNet's public code, in which SimCC's and TokenPose's tables are written.

    A convolution costs its weights × its output's pixels, which is four times too much for a transposed one of
    stride 2; a linear layer its output × the input's *second* axis, which for tokens is their number, not their
    width; attention's own products are not counted. Those tables divide by 2³⁰, not by 10⁹.
    """
    total = 0

    def convolution(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += module.get_parameter("weight").numel() * output[0, 0].numel()

    def linear(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += output.numel() * inputs[0].shape[1]

    rules = {nn.Conv1d: convolution, nn.Conv2d: convolution, nn.ConvTranspose1d: convolution,
             nn.ConvTranspose2d: convolution, nn.Linear: linear}  # fmt: skip
    hooks = [module.register_forward_hook(rules[type(module)]) for module in net.modules() if type(module) in rules]
    with torch.no_grad():
        net.eval()(_picture(net, input_size))
    for hook in hooks:
        hook.remove()
    return total
