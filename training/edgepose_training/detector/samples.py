"""Samples of a detector's training: images, windows, mosaics and images without people, drawn on one canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from edgepose_training.detector.image_cache import ImageCache
from edgepose_training.detector.person_lists import AnnotatedImage

PAD = 114  # gray of what no image covers, as at run time
Rect = tuple[int, int, int, int]  # x, y, w, h of a canvas

ZOOMS = {"whole": (0.6, 1.25), "window": (1.2, 2.8), "tile": (0.9, 2.0)}  # of an image that fits the rectangle
STRETCH_KNOWN, STRETCH_UNKNOWN = 1.15, 1.5  # factor on the aspect, at most; more where it is unknown
VISIBLE = 0.25  # a person of whom less is left in the image is ignored,
FILLS = 0.25  # unless the rest still fills that share of the rectangle: a close-up
SMALLEST_WINDOW = 64  # px, side of a window without people


@dataclass
class Sample:
    """A painted canvas and its people. Boxes xyxy in pixels of the canvas, float32."""

    image: np.ndarray  # [H, W, 3] uint8 BGR
    people: list[np.ndarray] = field(default_factory=list)  # [4] each
    ignored: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True)
class SampleOptions:
    """Probabilities of the kinds of samples, and the smallest person that counts."""

    mosaic: float
    zoom: float
    negative: float
    smallest: float  # px; shorter people are ignored


class SampleBuilder:
    """Builds random samples from a list of images."""

    def __init__(self, images: Sequence[AnnotatedImage], cache: ImageCache, weights: dict[str, float]) -> None:
        self.cache = cache
        self.people = [i for i, p in enumerate(images) if len(p.people)]
        self.empty = [i for i, p in enumerate(images) if not len(p.people) and not len(p.ignored)]
        drawn = np.array([weights.get(images[i].source, 1.0) for i in self.people])
        self._cumulated = np.cumsum(drawn / drawn.sum())
        zoom = [cache.sizes[i, 1] / p.size[0] for i, p in enumerate(images)]
        self.boxes = [(p.people * z, p.ignored * z) for p, z in zip(images, zoom, strict=True)]
        self.stretch = [STRETCH_KNOWN if p.aspect_known else STRETCH_UNKNOWN for p in images]

    def sample(self, rng: np.random.Generator, size: tuple[int, int], options: SampleOptions) -> Sample:
        """One canvas of `size` (W, H)."""
        width, height = size
        sample = Sample(np.full((height, width, 3), PAD, np.uint8))
        if rng.random() < options.mosaic:
            x, y = (int(side * rng.uniform(0.3, 0.7)) for side in size)
            for rect in ((0, 0, x, y), (x, 0, width - x, y), (0, y, x, height - y), (x, y, width - x, height - y)):
                self._tile(rng, sample, rect, "tile", options)
        else:
            kind = "window" if rng.random() < options.zoom else "whole"
            self._tile(rng, sample, (0, 0, width, height), kind, options)
        small = [max(box[2:] - box[:2]) < options.smallest for box in sample.people]
        sample.ignored += [box for box, is_small in zip(sample.people, small, strict=True) if is_small]
        sample.people = [box for box, is_small in zip(sample.people, small, strict=True) if not is_small]
        sample.image = color(rng, sample.image)
        return sample

    def _tile(self, rng: np.random.Generator, sample: Sample, rect: Rect, kind: str, options: SampleOptions) -> None:
        if rng.random() < options.negative:
            self._negative(rng, sample, rect)
            return
        i = self.people[min(int(np.searchsorted(self._cumulated, rng.random())), len(self.people) - 1)]
        place = placement(rng, self.cache.sizes[i], rect, ZOOMS[kind], self.stretch[i])
        paint(sample.image, self.cache[i], rect, place)
        _put_boxes(sample, *self.boxes[i], rect, place)

    def _negative(self, rng: np.random.Generator, sample: Sample, rect: Rect) -> None:
        """An image without people, a window that touches no box, or a texture."""
        kind = rng.random()
        window = self._window(rng) if kind < 0.4 else None
        if window is not None:
            paint(sample.image, window, rect, placement(rng, window.shape[:2], rect, (1.0, 2.0), STRETCH_KNOWN))
        elif kind < 0.9 and self.empty:
            image = self.cache[self.empty[int(rng.integers(len(self.empty)))]]
            paint(sample.image, image, rect, placement(rng, image.shape[:2], rect, (0.8, 2.0), STRETCH_KNOWN))
        else:
            x, y, w, h = rect
            sample.image[y : y + h, x : x + w] = texture(rng, (w, h))

    def _window(self, rng: np.random.Generator) -> np.ndarray | None:
        """A piece of an image with people, between them; None where none was found."""
        for _ in range(8):
            i = self.people[int(rng.integers(len(self.people)))]
            window = empty_window(rng, self.cache.sizes[i], np.concatenate(self.boxes[i]))
            if window is not None:
                x, y, w, h = window
                piece: np.ndarray = self.cache[i][y : y + h, x : x + w]
                return piece
        return None


def empty_window(rng: np.random.Generator, size: Sequence[int], boxes: np.ndarray, tries: int = 6) -> Rect | None:
    """The largest of a few random windows of an image (H, W) that touch none of the boxes [M, 4]."""
    height, width = (int(side) for side in size)
    best: Rect | None = None
    for _ in range(tries):
        w, h = (int(rng.uniform(SMALLEST_WINDOW, side)) if side > SMALLEST_WINDOW else side for side in (width, height))
        x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
        apart = (boxes[:, 0] >= x + w) | (boxes[:, 2] <= x) | (boxes[:, 1] >= y + h) | (boxes[:, 3] <= y)
        if apart.all() and min(w, h) >= SMALLEST_WINDOW and (best is None or w * h > best[2] * best[3]):
            best = x, y, w, h
    return best


def placement(
    rng: np.random.Generator, size: Sequence[int], rect: Rect, zooms: tuple[float, float], stretch: float
) -> np.ndarray:  # [2, 3]
    """Where an image (H, W) lands: image → canvas, by zoom, stretch, mirror and shift."""
    height, width = (float(side) for side in size)
    x, y, w, h = rect
    zoom = min(w / width, h / height) * np.exp(rng.uniform(*np.log(zooms)))
    aspect = np.exp(rng.uniform(-1, 1) * np.log(stretch) / 2)
    zoom_x, zoom_y = zoom * aspect, zoom / aspect
    # What is smaller than the rectangle lies anywhere in it, what is larger covers it anywhere.
    left, top = x + (w - width * zoom_x) * rng.random(), y + (h - height * zoom_y) * rng.random()
    if rng.random() < 0.5:
        zoom_x, left = -zoom_x, left + width * zoom_x
    return np.array([[zoom_x, 0, left], [0, zoom_y, top]], np.float32)


def paint(canvas: np.ndarray, image: np.ndarray, rect: Rect, place: np.ndarray) -> None:
    """Warp an image into a rectangle of the canvas; what it does not cover stays gray."""
    x, y, w, h = rect
    matrix = place.astype(np.float64)
    matrix[:, 2] -= x, y
    zoom = abs(matrix[0, 0])
    if zoom < 0.5:  # bilinear sampling alone would skip pixels
        half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        matrix[:, :2] *= np.array([image.shape[1] / half.shape[1], image.shape[0] / half.shape[0]])
        image = half
    part = cv2.warpAffine(image, matrix, (w, h), flags=cv2.INTER_LINEAR, borderValue=(PAD, PAD, PAD))
    canvas[y : y + h, x : x + w] = part


def _put_boxes(sample: Sample, people: np.ndarray, ignored: np.ndarray, rect: Rect, place: np.ndarray) -> None:
    x, y, w, h = rect
    limits = np.array([x, y, x, y], np.float32), np.array([x + w, y + h, x + w, y + h], np.float32)

    def seen(box: np.ndarray) -> tuple[np.ndarray, float, float]:
        corners = np.stack([box[:2], box[2:]]) * place.diagonal() + place[:, 2]
        moved = np.concatenate([corners.min(0), corners.max(0)]).astype(np.float32)
        clipped = np.clip(moved, *limits)
        area = float((clipped[2:] - clipped[:2]).prod())
        return clipped, area / max(float((moved[2:] - moved[:2]).prod()), 1e-6), area / (w * h)

    for box in people:
        clipped, share, fills = seen(box)
        if share > 0.01:
            (sample.people if share >= VISIBLE or fills >= FILLS else sample.ignored).append(clipped)
    for box in ignored:
        clipped, share, _ = seen(box)
        if share > 0:
            sample.ignored.append(clipped)


def color(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Light, contrast and color of other cameras: gain and gamma, hue and saturation, gray, blur, noise."""
    levels = np.arange(256, dtype=np.float32) / 255
    tables = [levels ** np.exp(rng.uniform(-0.45, 0.45)) * rng.uniform(0.6, 1.25)] * 3
    cast = rng.uniform(0.88, 1.12, 3)
    lut = np.stack([np.clip(t * c * 255, 0, 255).astype(np.uint8) for t, c in zip(tables, cast, strict=True)], axis=-1)
    image = cv2.LUT(image, lut[None])
    kind = rng.random()
    if kind < 0.08:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    elif kind < 0.5:
        gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        share = rng.uniform(0.4, 1.5)  # saturation
        image = cv2.addWeighted(image, share, gray, 1 - share, 0)
    if rng.random() < 0.1:
        image = cv2.blur(image, (3, 3))
    if rng.random() < 0.1:
        noise = rng.integers(-12, 13, (image.shape[0] // 2, image.shape[1] // 2, 3), np.int16)
        noise = cv2.resize(noise, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image


def texture(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:  # [H, W, 3]
    """Blots, stripes and boxes: nothing that is a person, at any contrast."""
    width, height = size
    cells = rng.integers(2, 12, 2)
    blots = rng.integers(0, 256, (*cells, 3)).astype(np.uint8)
    image = cv2.resize(blots, size, interpolation=cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_NEAREST)
    for _ in range(int(rng.integers(0, 12))):
        corners = (rng.random((2, 2)) * size).astype(int)
        shade = tuple(int(v) for v in rng.integers(0, 256, 3))
        if rng.random() < 0.5:
            cv2.rectangle(image, corners[0].tolist(), corners[1].tolist(), shade, -1)
        else:
            cv2.line(image, corners[0].tolist(), corners[1].tolist(), shade, int(rng.integers(1, 16)))
    return image[:height, :width]
