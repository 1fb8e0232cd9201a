"""A person detector's dense answers as a teacher: the score and the box of every cell, before any suppression."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from onnx.utils import Extractor
from torch import Tensor, nn

from edgepose import EdgeposeError
from edgepose_training.detector.net import STRIDES
from edgepose_training.detector.onnx_module import OnnxModule

# RTMDet's normalization, BGR as its files take it.
MEAN, STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)


@dataclass
class TeacherAnswer:
    """What a teacher says of a batch, in the order of the student's cells."""

    scores: Tensor  # [N, A] in [0, 1]
    boxes: Tensor  # [N, A, 4] xyxy in pixels of the canvas


class RtmdetTeacher(nn.Module):
    """A one-class RTMDet (Lyu et al. 2022) read from its ONNX file, with or without suppression in it.

    The net ends where the last convolutions are: a score and four distances for each stride. Its cells have the
    strides of the student's, but measure from their upper left corner. Raises EdgeposeError for other files.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.name = path.name
        self.net = OnnxModule(dense_part(path))
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))

    @torch.no_grad()
    def forward(self, images: Tensor) -> TeacherAnswer:
        """The answer to canvases [N, H, W, 3] uint8 BGR; H and W multiples of 32."""
        maps = self.net((images.permute(0, 3, 1, 2).float() - self.mean) / self.std)
        maps = sorted(maps, key=lambda m: (-m.shape[2], m.shape[1]))  # fine first; scores before distances
        scores, boxes = [], []
        for stride, score, distances in zip(STRIDES, maps[0::2], maps[1::2], strict=True):
            scores.append(score.float().sigmoid().flatten(1))
            boxes.append(_boxes(distances.float() * stride, stride))
        return TeacherAnswer(torch.cat(scores, dim=1), torch.cat(boxes, dim=1))


def _boxes(distances: Tensor, stride: int) -> Tensor:  # [N, 4, h, w] px to left, top, right, bottom -> [N, h·w, 4]
    rows, columns = (torch.arange(side, device=distances.device) * float(stride) for side in distances.shape[2:])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    left, top, right, bottom = distances.unbind(dim=1)
    return torch.stack((x - left, y - top, x + right, y + bottom), dim=-1).flatten(1, 2)


def dense_part(path: Path) -> onnx.ModelProto:
    """A detector's file up to its last convolutions, whose outputs become its own.

    Raises EdgeposeError unless these are a score and four distances for each of three strides.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # a protobuf error, whose class onnx does not export
        raise EdgeposeError(f"{path}: expected an ONNX file of an RTMDet, got a file that onnx cannot read") from error
    channels = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if tensor.dims}
    last = [node for node in model.graph.node if node.op_type == "Conv" and not _leads_to_conv(model.graph, node)]
    found = [channels.get(node.input[1], 0) for node in last]
    if sorted(found) != [1] * len(STRIDES) + [4] * len(STRIDES):
        raise EdgeposeError(
            f"{path}: expected an RTMDet of one class, whose last convolutions have 1 and 4 channels for each of "
            f"{len(STRIDES)} strides, got {found}"
        )
    inferred = onnx.shape_inference.infer_shapes(model)  # the extractor wants to know its outputs' types
    part: onnx.ModelProto = Extractor(inferred).extract_model(
        [model.graph.input[0].name], [node.output[0] for node in last]
    )
    return part


def _leads_to_conv(graph: onnx.GraphProto, node: onnx.NodeProto) -> bool:
    """Whether another convolution computes on what this one gives."""
    reached = set(node.output)
    started = False
    for other in graph.node:  # in topological order
        started = started or other is node
        if other is node or not started or not reached.intersection(other.input):
            continue
        if other.op_type == "Conv":
            return True
        reached.update(other.output)
    return False
