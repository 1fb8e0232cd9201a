"""Annotation files and the entries in them, taken with care: what cannot be used is told in one sentence."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgepose import EdgeposeError


class SkipEntry(Exception):
    """One entry of a file cannot be used; the message is the reason that is counted."""


def load_document(path: Path) -> dict[str, Any]:
    """The JSON of a COCO-style file, checked for its two lists. Raises EdgeposeError in one sentence."""
    document: dict[str, Any] = load_json(path)
    for key in ("images", "annotations"):
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise EdgeposeError(f"{path}: expected a COCO annotation file, but it has no list '{key}'.")
    return document


def load_json(path: Path) -> Any:
    """The content of a JSON file. Raises EdgeposeError in one sentence."""
    try:
        with path.open(encoding="utf-8") as stream:
            return json.load(stream)
    except OSError as error:
        raise EdgeposeError(f"{path}: cannot read the annotations ({error.strerror or error}).") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise EdgeposeError(f"{path}: broken JSON ({error}).") from error


def entry_id(entry: Any) -> str:
    """What an entry is called in a report."""
    return str(entry.get("id", "?")) if isinstance(entry, dict) else repr(entry)[:40]


def clipped_bbox(xywh: Any, size: tuple[int, int]) -> np.ndarray:
    """xywh of a file → xyxy float32 [4] clipped to the image. Raises SkipEntry if nothing is left."""
    try:
        x, y, w, h = (float(value) for value in xywh)
    except (TypeError, ValueError):
        raise SkipEntry("bbox is not four numbers") from None
    if not np.isfinite([x, y, w, h]).all():
        raise SkipEntry("bbox is not finite")
    if w <= 0 or h <= 0:
        raise SkipEntry("zero area")
    width, height = size
    x1, y1, x2, y2 = max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))
    if x2 <= x1 or y2 <= y1:
        raise SkipEntry("box outside the image")
    return np.array([x1, y1, x2, y2], np.float32)


def numbers(values: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """A field as float32 of this shape. Raises SkipEntry that names the field."""
    try:
        array = np.asarray([] if values is None else values, np.float32)
    except (TypeError, ValueError):
        raise SkipEntry(f"{name} is no list of numbers") from None
    if array.size != prod(shape):
        raise SkipEntry(f"{name} has {array.size} numbers instead of {prod(shape)}")
    array = array.reshape(shape)
    if not np.isfinite(array).all():
        raise SkipEntry(f"{name} is not finite")
    return array
