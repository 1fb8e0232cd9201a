"""Person detectors: an ONNX file in, boxes out. RTMDet and YOLOX files are recognised by their outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .boxes import clip_boxes, nms
from .errors import EdgeposeError
from .modelcard import ModelCard
from .runtime import Session
from .transforms import normalize

Float = NDArray[np.float32]

_PAD = 114  # grey of the letterbox border that these nets were trained with
_LONG_SIDE = 416  # for files with a dynamic input
_STRIDES = (8, 16, 32)
_PERSON = 0  # its class in COCO and in person-only nets
# What each family normalises with, in its own channel order.
_RTMDET = ModelCard(
    "rtmdet", "detector", channel_order="bgr", mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395)
)
_YOLOX = ModelCard("yolox", "detector", channel_order="bgr", mean=(0, 0, 0), std=(1, 1, 1))


class Detector:
    """Finds people in a frame.

    Known outputs: ``dets [1, M, 5]`` with ``labels [1, M]`` (suppression inside), one ``[1, A, 5 + C]`` array
    (YOLOX), or class and distance maps per stride (RTMDet). ``threshold`` is the lowest score that is
    reported, ``nms_iou`` the overlap from which two boxes are one.
    """

    def __init__(
        self,
        model: str | Path,
        device: str = "auto",
        threshold: float = 0.4,
        nms_iou: float = 0.5,
        *,
        threads: int | None = None,
    ) -> None:
        self.session = Session(model, device, threads)
        self.threshold, self.nms_iou = threshold, nms_iou
        if self.session.card is not None and self.session.card.task != "detector":
            raise EdgeposeError(f"{self.session.path.name} is a pose model: a detector is needed here.")
        self.card = self.session.card or _family(self.session)

    def __call__(self, frame: NDArray[np.uint8]) -> tuple[Float, Float]:  # [H, W, 3] BGR -> [N, 4], [N]
        """Boxes (xyxy, pixels of the frame, inside it) and scores, best first."""
        batch, zoom = self._letterbox(frame)
        boxes, scores = _parse(self.session.run(batch), batch.shape[2:], self.session.path.name)
        sure = scores >= self.threshold
        boxes, scores = boxes[sure] / zoom, scores[sure]
        kept = nms(boxes, scores, self.nms_iou)
        height, width = frame.shape[:2]
        return clip_boxes(boxes[kept], (width, height)), scores[kept].astype(np.float32)

    def _letterbox(self, frame: NDArray[np.uint8]) -> tuple[Float, np.float32]:
        """The frame at the top left of a grey canvas, and by how much it was scaled."""
        height, width = frame.shape[:2]
        rows, columns = self._canvas(height, width)
        zoom = np.float32(min(rows / height, columns / width))
        size = (max(round(width * zoom), 1), max(round(height * zoom), 1))
        canvas = np.full((rows, columns, 3), _PAD, np.uint8)
        canvas[: size[1], : size[0]] = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
        batch = np.empty((1, 3, rows, columns), np.float32)
        card = self.card
        normalize(canvas, mean=card.mean, std=card.std, channel_order=card.channel_order, out=batch[0])
        return batch, zoom

    def _canvas(self, height: int, width: int) -> tuple[int, int]:
        rows, columns = self.session.input_shape[2:]
        if isinstance(rows, int) and isinstance(columns, int):
            return rows, columns
        zoom = _LONG_SIDE / max(height, width)  # a free size follows the frame's aspect: fewer pixels to look at
        return tuple(max(32, 32 * round(side * zoom / 32)) for side in (height, width))  # type: ignore[return-value]


def _family(session: Session) -> ModelCard:
    """Which normalisation a file without a card wants: its node names tell what it was exported from."""
    content = session.path.read_bytes()
    flat = len(session.outputs) == 1
    yolox = flat or b"multi_level_c" in content or "yolox" in session.path.name.lower()
    return _YOLOX if yolox and b"rtm_cls" not in content else _RTMDET


def _parse(outputs: Mapping[str, NDArray[Any]], size: tuple[int, int], name: str) -> tuple[Float, Float]:
    """Boxes [A, 4] and scores [A] of the canvas from whatever outputs the file has."""
    arrays = list(outputs.values())
    dets = next((a for a in arrays if a.ndim == 3 and a.shape[2] == 5), None)
    labels = next((a for a in arrays if a.ndim == 2), None)
    if dets is not None and labels is not None:
        person = labels[0] == _PERSON
        return dets[0, person, :4], dets[0, person, 4]
    if len(arrays) == 1 and arrays[0].ndim == 3 and arrays[0].shape[2] > 5:
        return _parse_yolox(arrays[0][0], size)
    if len(arrays) == 6 and all(a.ndim == 4 for a in arrays):
        return _parse_distances(arrays, size)
    listed = ", ".join(f"{key} {list(a.shape)}" for key, a in outputs.items())
    raise EdgeposeError(f"{name} is no person detector that edgepose knows: its outputs are {listed}.")


def _grid(size: tuple[int, int], stride: int) -> Float:  # -> [h · w, 2] cell indices (x, y)
    rows, columns = size[0] // stride, size[1] // stride
    return np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2).astype(np.float32)


def _parse_yolox(rows: Float, size: tuple[int, int]) -> tuple[Float, Float]:  # [A, 5 + C]
    """Offsets and log sizes in strides, then objectness and classes, both already sigmoids."""
    cells = np.concatenate([_grid(size, s) for s in _STRIDES])
    strides = np.concatenate([np.full((len(_grid(size, s)), 1), s, np.float32) for s in _STRIDES])
    center, half = (rows[:, :2] + cells) * strides, np.exp(rows[:, 2:4]) * strides / 2
    return np.concatenate([center - half, center + half], axis=1), rows[:, 4] * rows[:, 5 + _PERSON]


def _parse_distances(
    maps: list[Float], size: tuple[int, int]
) -> tuple[Float, Float]:  # 3 × [1, C, h, w], 3 × [1, 4, h, w]
    """Class logits, and distances of the four edges in pixels from each cell's corner."""
    logits = np.concatenate([m[0, _PERSON].reshape(-1) for m in maps[:3]])
    sides = np.concatenate([m[0].reshape(4, -1).T for m in maps[3:]])
    points = np.concatenate([_grid(size, s) * s for s in _STRIDES])
    return np.concatenate([points - sides[:, :2], points + sides[:, 2:]], axis=1), 1 / (1 + np.exp(-logits))
