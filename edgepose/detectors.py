"""Person detectors: an ONNX file in, boxes out. edgepose-det, RTMDet and YOLOX are recognized by their outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from . import models
from .boxes import clip_boxes, nms
from .errors import EdgeposeError
from .modelcard import ModelCard
from .runtime import Session
from .transforms import normalize

Float = NDArray[np.float32]

_PAD = 114  # gray of the letterbox border that these nets were trained with
_LONG_SIDE = 416  # for files with a dynamic input and without a card
_THRESHOLD = 0.4  # for files whose card names none
_CANDIDATES = 300  # boxes of a frame that suppression looks at, the best
_LARGEST_LOG = 4.0  # of a distance in strides: exp(4) of them reach beyond any canvas
_STRIDES = (8, 16, 32)
_PERSON = 0  # its class in COCO and in person-only nets
# What each family normalizes with, in its own channel order.
_RTMDET = ModelCard(
    "rtmdet", "detector", channel_order="bgr", mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395)
)
_YOLOX = ModelCard("yolox", "detector", channel_order="bgr", mean=(0, 0, 0), std=(1, 1, 1))


class Detector:
    """Finds people in frames.

    Known outputs: ``cells [N, 5, A]`` (edgepose-det), ``dets [1, M, 5]`` with ``labels [1, M]`` (suppression
    inside), one ``[1, A, 5 + C]`` array (YOLOX), or class and distance maps per stride (RTMDet). ``model`` is
    ``"default"``, a shipped model's name or a path. ``threshold`` is the lowest score that is reported (None: the
    card's), ``nms_iou`` the overlap from which two boxes are one.
    """

    def __init__(
        self,
        model: str | Path = "default",
        device: str = "auto",
        threshold: float | None = None,
        nms_iou: float = 0.5,
        *,
        threads: int | None = None,
    ) -> None:
        self.session = Session(models.resolve(model, task="detector"), device, threads)
        if self.session.card is not None and self.session.card.task != "detector":
            raise EdgeposeError(f"{self.session.path.name} is a pose model: a detector is needed here.")
        self.card = self.session.card or _family(self.session)
        self.threshold = self.card.thresholds.get("person", _THRESHOLD) if threshold is None else threshold
        self.nms_iou = nms_iou

    def __call__(self, frame: NDArray[np.uint8]) -> tuple[Float, Float]:  # [H, W, 3] BGR -> [N, 4], [N]
        """Boxes (xyxy, pixels of the frame, inside it) and scores, best first."""
        return self.detect([frame])[0]

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[tuple[Float, Float]]:
        """The same for several frames [H, W, 3], of any sizes, in one call of the net where its file allows."""
        if not frames:
            return []
        batch, zooms = self._letterbox(frames)
        found = _parse(self._run(batch), batch.shape[2:], self.session.path.name)
        return [
            self._select(boxes / zoom, scores, frame.shape)
            for boxes, scores, zoom, frame in zip(*found, zooms, frames, strict=True)
        ]

    def _run(self, batch: Float) -> dict[str, NDArray[Any]]:
        """One call for all frames; one each where the file was made for a single frame, as with suppression inside."""
        session = self.session
        if not any(isinstance(shape[0], int) for shape in (session.input_shape, *session.outputs.values())):
            return session.run(batch)
        rows = [session.run(batch[n : n + 1]) for n in range(len(batch))]
        return {name: _stack([row[name] for row in rows]) for name in rows[0]}

    def _select(self, boxes: Float, scores: Float, shape: tuple[int, ...]) -> tuple[Float, Float]:
        sure = np.flatnonzero(scores >= self.threshold)
        best = sure[np.argsort(-scores[sure], kind="stable")[:_CANDIDATES]]
        boxes, scores = boxes[best], scores[best]
        kept = nms(boxes, scores, self.nms_iou)
        return clip_boxes(boxes[kept], (shape[1], shape[0])), scores[kept].astype(np.float32)

    def _letterbox(self, frames: Sequence[NDArray[np.uint8]]) -> tuple[Float, list[np.float32]]:
        """Every frame at the top left of a gray canvas, and by how much it was scaled."""
        sizes = [self._canvas(*frame.shape[:2]) for frame in frames]
        rows, columns = (max(side) for side in zip(*sizes, strict=True))
        batch = np.empty((len(frames), 3, rows, columns), np.float32)
        zooms = []
        for frame, out in zip(frames, batch, strict=True):
            canvas, zoom = letterbox(frame, (columns, rows))
            card = self.card
            normalize(canvas, mean=card.mean, std=card.std, channel_order=card.channel_order, out=out)
            zooms.append(zoom)
        return batch, zooms

    def _canvas(self, height: int, width: int) -> tuple[int, int]:
        rows, columns = self.session.input_shape[2:]
        if isinstance(rows, int) and isinstance(columns, int):
            return rows, columns
        long = max(self.card.input_size) if self.session.card else _LONG_SIDE
        zoom = long / max(height, width)  # a free size follows the frame's aspect: fewer pixels to look at
        return max(32, 32 * round(height * zoom / 32)), max(32, 32 * round(width * zoom / 32))


def letterbox(frame: NDArray[np.uint8], size: tuple[int, int]) -> tuple[NDArray[np.uint8], np.float32]:
    """The frame [h, w, 3] at the top left of a gray canvas of ``size`` (W, H), and by how much it was scaled."""
    height, width = frame.shape[:2]
    zoom = np.float32(min(size[1] / height, size[0] / width))
    scaled = max(round(width * zoom), 1), max(round(height * zoom), 1)
    # Bilinear sampling skips pixels when it shrinks by more than half.
    method = cv2.INTER_AREA if zoom < 0.5 else cv2.INTER_LINEAR
    canvas = np.full((size[1], size[0], 3), _PAD, np.uint8)
    canvas[: scaled[1], : scaled[0]] = cv2.resize(frame, scaled, interpolation=method)
    return canvas, zoom


def _family(session: Session) -> ModelCard:
    """Which normalization a file without a card wants: its node names tell what it was exported from."""
    content = session.path.read_bytes()
    flat = len(session.outputs) == 1
    yolox = flat or b"multi_level_c" in content or "yolox" in session.path.name.lower()
    return _YOLOX if yolox and b"rtm_cls" not in content else _RTMDET


Found = tuple[Iterable[Float], Iterable[Float]]  # boxes [A, 4] and scores [A] of every canvas


def _parse(outputs: Mapping[str, NDArray[Any]], size: tuple[int, int], name: str) -> Found:
    """Boxes and scores of the canvases from whatever outputs the file has."""
    arrays = list(outputs.values())
    dets = next((a for a in arrays if a.ndim == 3 and a.shape[2] == 5), None)
    labels = next((a for a in arrays if a.ndim == 2), None)
    if dets is not None and labels is not None:
        person = [row == _PERSON for row in labels]
        return [d[p, :4] for d, p in zip(dets, person, strict=True)], [
            d[p, 4] for d, p in zip(dets, person, strict=True)
        ]
    if len(arrays) == 1 and arrays[0].ndim == 3 and arrays[0].shape[1] == 5:
        return decode_cells(arrays[0], size)
    if len(arrays) == 1 and arrays[0].ndim == 3 and arrays[0].shape[2] > 5:
        return _parse_yolox(arrays[0], size)
    if len(arrays) == 6 and all(a.ndim == 4 for a in arrays):
        return _parse_distances(arrays, size)
    listed = ", ".join(f"{key} {list(a.shape)}" for key, a in outputs.items())
    raise EdgeposeError(f"{name} is no person detector that edgepose knows: its outputs are {listed}.")


def _stack(rows: list[NDArray[Any]]) -> NDArray[Any]:
    """Answers [1, M, …] of different lengths M as one [N, M, …]; what is missing is −1: a class of nobody."""
    longest = max(row.shape[1] for row in rows)
    out = np.full((len(rows), longest, *rows[0].shape[2:]), -1, rows[0].dtype)
    for n, row in enumerate(rows):
        out[n, : row.shape[1]] = row[0]
    return out


def _grid(size: tuple[int, int]) -> tuple[Float, Float]:  # -> [A, 2], [A, 1]
    """Indices (x, y) of the cells of a canvas (H, W), fine strides first, and the stride of each."""
    indices, strides = [], []
    for stride in _STRIDES:
        rows, columns = size[0] // stride, size[1] // stride
        cells = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
        indices.append(cells.astype(np.float32))
        strides.append(np.full((len(cells), 1), stride, np.float32))
    return np.concatenate(indices), np.concatenate(strides)


def decode_cells(cells: Float, size: tuple[int, int]) -> tuple[Float, Float]:  # [N, 5, A] -> [N, A, 4], [N, A]
    """Boxes (xyxy, pixels of the canvas (H, W)) and scores of edgepose-det's raw output.

    A cell holds the person's logit and the logarithms of the distances, in strides, from the cell's center to
    the left, top, right and bottom edge.
    """
    indices, strides = _grid(size)
    centers = (indices + np.float32(0.5)) * strides
    sides = np.exp(np.minimum(cells[:, 1:], _LARGEST_LOG)).transpose(0, 2, 1) * strides
    boxes = np.concatenate([centers - sides[..., :2], centers + sides[..., 2:]], axis=-1)
    return boxes, _sigmoid(cells[:, 0])


def _parse_yolox(rows: Float, size: tuple[int, int]) -> tuple[Float, Float]:  # [N, A, 5 + C]
    """Offsets and log sizes in strides, then objectness and classes, both already sigmoids."""
    indices, strides = _grid(size)
    center, half = (rows[..., :2] + indices) * strides, np.exp(rows[..., 2:4]) * strides / 2
    return np.concatenate([center - half, center + half], axis=-1), rows[..., 4] * rows[..., 5 + _PERSON]


def _parse_distances(maps: list[Float], size: tuple[int, int]) -> tuple[Float, Float]:
    """Class logits 3 × [N, C, h, w], and 3 × [N, 4, h, w] distances of the edges in pixels from each cell's corner."""
    count = len(maps[0])
    logits = np.concatenate([m[:, _PERSON].reshape(count, -1) for m in maps[:3]], axis=1)
    sides = np.concatenate([m.reshape(count, 4, -1) for m in maps[3:]], axis=2).transpose(0, 2, 1)
    indices, strides = _grid(size)
    points = indices * strides
    return np.concatenate([points - sides[..., :2], points + sides[..., 2:]], axis=-1), _sigmoid(logits)


def _sigmoid(logits: Float) -> Float:
    return np.asarray(1 / (1 + np.exp(-np.maximum(logits, -80))), np.float32)
