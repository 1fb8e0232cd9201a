"""An exported ONNX file as a training checkpoint again: the net answers as the file does, trained further or not.

Export folds each batch norm into the convolution before it. The convolution keeps the folded weights, and a norm is
made again from statistics of images: with running mean μ and variance v of its input, weight √(v + ε) and bias b + μ it
adds b, the folded bias, and nothing else, in eval mode exactly and in train mode as far as a batch is like the images.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from edgepose import EdgeposeError, ModelCard
from edgepose import models as shipped
from edgepose.modelcard import METADATA_KEY
from edgepose_training.config import Config
from edgepose_training.deploy import onnx_file, onnx_weights
from edgepose_training.engine import checkpoints
from edgepose_training.engine.heatmaps import CELLS, FORMER_CELLS
from edgepose_training.models.recognition import recognize

TOLERANCE = 1e-4  # of the largest value: two float32 implementations


def is_exported(model: str | Path) -> bool:
    """Whether this is the name of a shipped model, or an ONNX file."""
    return str(model) in shipped.available() or Path(model).suffix == ".onnx"


def read(model: str | Path, task: str) -> tuple[onnx.ModelProto, ModelCard]:
    """The file behind a name or a path, as a float graph, and its card. Raises EdgeposeError."""
    path = shipped.resolve(model)
    try:
        graph = onnx.load(path)
    except Exception as error:  # protobuf's and onnx's own, in many types
        raise EdgeposeError(f"{path}: not an ONNX file, or a damaged one") from error
    cards = [entry.value for entry in graph.metadata_props if entry.key == METADATA_KEY]
    if not cards:
        raise EdgeposeError(f"{path}: it has no model card, so this project did not export it: give a checkpoint")
    try:
        card = ModelCard.from_json(cards[0])
    except (ValueError, TypeError) as error:
        raise EdgeposeError(f"{path}: its card is not usable ({error})") from error
    if card.task != task:
        raise EdgeposeError(f"{path}: expected a {task} model, got a {card.task} model")
    return onnx_weights.float_graph(graph), card


def restore(model: str | Path, images: Callable[[tuple[int, int]], Sequence[Tensor]]) -> dict[str, Any]:
    """The checkpoint of an exported pose net.

    `images` gives, for an input size (W, H), batches [N, 3, H, W] of normalized images like those to train on.

    Raises EdgeposeError for a file that this project did not export, or whose answers are not met.
    """
    graph, card = read(model, "pose")
    assert card.skeleton is not None
    try:
        name = recognize(onnx_weights.ExportedWeights(graph.graph).layers)
    except ValueError as error:
        raise EdgeposeError(f"{model}: no net of this project ({error})") from error
    config = Config.from_dict(
        name._asdict() | {"input_size": card.input_size, "skeleton": card.skeleton.name} | _labels(card)
    )
    net = checkpoints.build_net(config, card.skeleton)
    width, height = card.input_size
    load(net, graph, images(card.input_size), (height, width), str(model))
    return {
        "model": net.state_dict(),
        "ema": None,
        "config": config.to_dict(),
        "skeleton": card.skeleton.to_dict(),
        "unsupervised_keypoints": list(card.unsupervised_keypoints),
        "heatmap_cells": FORMER_CELLS if card.cell_offset else CELLS,
        "epoch": 0,
        "recipe": f"{card.name}, made a checkpoint again",
        "license": card.license,
        "data": card.data,
    } | ({"score_knots": card.score_knots} if card.score_knots else {})


def _labels(card: ModelCard) -> dict[str, Any]:
    """What a card knows of the labels, as values of a config. It does not tell their kind."""
    if card.codec == "heatmap":
        return {"heatmap_sigma": card.sigma[0]} if card.sigma else {}
    known = {"split_ratio": card.split_ratio, "sigma": card.sigma, "beta": card.beta}
    return {name: value for name, value in known.items() if value is not None}


def load(net: nn.Module, graph: onnx.ModelProto, images: Sequence[Tensor], side: tuple[int, int], origin: str) -> None:
    """Fill a net with the weights of its exported graph, a `float_graph`, and compare their answers.

    Raises EdgeposeError where they differ.
    """
    folded = _fill(net.eval(), graph.graph, side, origin)
    rebuild_norms(net, folded, images)
    difference = onnx_file.check_parity(net, graph, [(2, *side)], np.inf)
    if difference > TOLERANCE:
        raise EdgeposeError(f"{origin}: its weights are not understood, its answers are missed by {difference:.1%}")


def _fill(net: nn.Module, graph: onnx.GraphProto, side: tuple[int, int], origin: str) -> dict[str, Tensor]:
    """Load everything but the folded norms. Returns the folded biases, by the norms' names."""
    weights = onnx_weights.ExportedWeights(graph)
    norms = folded_norms(net, side, weights.modules)
    layers = set(norms.values())
    for name, value in net.state_dict().items():
        module, _, parameter = name.rpartition(".")
        if module in norms or parameter == "num_batches_tracked":
            continue
        shape = tuple(value.shape)
        in_norm = module in layers and parameter == "bias"
        read = np.zeros(shape, np.float32) if in_norm else weights.get(name, shape)
        if read is None and bool((value == 1).all()):
            continue  # a factor of one leaves no trace in a graph, and a new net's are of one
        if read is None or read.shape != shape:
            got = "none" if read is None else str(list(read.shape))
            raise EdgeposeError(f"{origin}: no net of this project ({name} expected {list(shape)}, got {got})")
        value.copy_(torch.from_numpy(read))
    return {norm: torch.from_numpy(weights.layers[f"{layer}.bias"]) for norm, layer in norms.items()}


def folded_norms(net: nn.Module, side: tuple[int, int], kept: set[str]) -> dict[str, str]:
    """Norm → convolution before it, for the norms that are not among the modules `kept` in a graph."""
    order: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: order.append(name))
        for name, module in net.named_modules() if isinstance(module, _ConvNd | _BatchNorm)
    ]  # fmt: skip
    with torch.inference_mode():
        net(torch.zeros(1, 3, *side))
    for hook in hooks:
        hook.remove()
    modules = dict(net.named_modules())
    folded = {name for name in order if isinstance(modules[name], _BatchNorm)} - kept
    return {after: before for before, after in itertools.pairwise(order) if after in folded}


def rebuild_norms(net: nn.Module, biases: dict[str, Tensor], images: Sequence[Tensor]) -> None:
    """Make the norms named in `biases` add those, with the statistics of `images` (batches [N, 3, H, W])."""
    norms = {name: norm for name, norm in net.named_modules() if name in biases and isinstance(norm, _BatchNorm)}
    with torch.no_grad():
        for name, norm in norms.items():  # at first they add the bias without any statistics
            _set(norm, torch.zeros_like(biases[name]), torch.full_like(biases[name], 1 - norm.eps), biases[name])
        for name, (mean, variance) in _statistics(net, norms, images).items():
            _set(norms[name], mean, variance, biases[name])


def _set(norm: _BatchNorm, mean: Tensor, variance: Tensor, bias: Tensor) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(bias + mean)


def _statistics(
    net: nn.Module, norms: dict[str, _BatchNorm], images: Sequence[Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance [C] of each norm's input, over all images and cells."""
    sums: dict[str, Tensor] = {}  # [3, C] of each: count, sum of means, sum of mean squares, weighted by people

    def look(name: str, x: Tensor) -> None:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        variance, mean = torch.var_mean(x, axes, correction=0)
        mean, variance = mean.double(), variance.double()
        row = len(x) * torch.stack((torch.ones_like(mean), mean, variance + mean.square()))
        sums[name] = sums.get(name, torch.zeros_like(row)) + row

    hooks = [
        norm.register_forward_pre_hook(lambda _, args, name=name: look(name, args[0])) for name, norm in norms.items()
    ]
    for batch in images:
        net(batch)
    for hook in hooks:
        hook.remove()
    means = {name: (row[1] / row[0], row[2] / row[0]) for name, row in sums.items()}
    return {
        name: (mean.float(), (square - mean.square()).clamp(min=0).float()) for name, (mean, square) in means.items()
    }
