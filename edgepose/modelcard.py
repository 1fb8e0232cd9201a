"""The model card: what a net needs to be run right, and what its user needs to know, inside the file itself.

It travels as JSON under one metadata key of the ONNX file and is the only contract between training and
runtime.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any

from .skeletons import Skeleton

METADATA_KEY = "edgepose"
# Raised when an older runtime cannot read a card; 2: license, unsupervised_keypoints, colors; 3: codec, refine,
# score_knots.
FORMAT = 3
RENAMED = {"untrained": "unsupervised_keypoints", "licence": "license"}  # entries of files written before → today's

RELATIVE = ("entropy", "calibrated")  # to what an ideal label scores, in [0, 1]: the calibration maps these
SCORES = (*RELATIVE, "softmax", "min", "mean", "max")
# What a net answers with → its scores, and the ways to read a point off between two bins or cells.
CODECS = {"simcc": SCORES, "heatmap": ("max",)}
REFINES = {"simcc": ("none", "dark"), "heatmap": ("none", "quarter", "dark")}
_TASKS = ("pose", "detector")
_ORDERS = ("rgb", "bgr")
_PAIRS = ("input_size", "sigma")
_TRIPLES = ("mean", "std")

Shape = Sequence[int | str | None]  # an ONNX shape: names and None are dynamic


@dataclass(frozen=True)
class ModelCard:
    """Everything about one model file. Pixels are those of the network input."""

    name: str
    task: str = "pose"  # "pose" | "detector"
    input_size: tuple[int, int] = (192, 256)  # (W, H)
    channel_order: str = "rgb"  # what the net wants; camera frames are BGR
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)  # on 0..255, in channel order
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    padding: float = 1.25  # crop = box × padding
    codec: str = "simcc"  # what the net answers with: "simcc", a vector an axis, or "heatmap", a map of cells
    split_ratio: float = 2.0  # SimCC bins per pixel; of heat maps cells per pixel: 0.25 is a stride of 4
    sigma: tuple[float, float] | None = (4.9, 5.66)  # (x, y) width of the labels, in bins or cells
    beta: float | None = 10.0  # the training softmax was softmax(beta · logits); None: raw scores only
    score: str = "calibrated"  # one of CODECS[codec]: what `Poses.scores` holds; `SimCC.decode` says what they are
    refine: str = "none"  # one of REFINES[codec]: how a point between two bins or cells is read off
    cell_offset: float = 0.0  # px, the center of a heat map's first cell: cell i is centered on i / split_ratio + this
    # axis -> [[bare, …], [score, …]]: what score "entropy" of nets whose labels are no Gaussian under a softmax is
    # relative to, a piecewise linear map of e^(−entropy) for "x" and for "y"; empty: to that Gaussian
    score_knots: dict[str, list[list[float]]] = field(default_factory=dict)
    skeleton: Skeleton | None = None
    unsupervised_keypoints: tuple[int, ...] = ()  # points without labels in the data: they leave with score 0
    # part -> [[raw, …], [seen, …]]: a piecewise linear map from the bare relative score to the one people see
    calibration: dict[str, list[list[float]]] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)  # part (or "person") -> show from this score on
    license: str = ""
    data: str = ""
    recipe: str = ""
    accuracy: dict[str, Any] = field(default_factory=dict)
    author: str = ""
    date: str = ""  # ISO 8601

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise ValueError(f"ModelCard: codec expected one of {tuple(CODECS)}, got {self.codec!r}")
        choices = {"task": _TASKS, "channel_order": _ORDERS, "score": CODECS[self.codec], "refine": REFINES[self.codec]}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"ModelCard: {name} expected one of {allowed}, got {getattr(self, name)!r}")
        for name, length in [(n, 2) for n in _PAIRS] + [(n, 3) for n in _TRIPLES]:
            value = getattr(self, name)
            if value is not None and (len(value) != length or not all(map(isfinite, value))):
                raise ValueError(f"ModelCard: {name} expected {length} finite numbers, got {value}")
            if value is not None and min(value) < (name != "mean") * 1e-6:
                raise ValueError(f"ModelCard: {name} expected {length} positive numbers, got {value}")
        for name in ("padding", "split_ratio", "beta"):
            value = getattr(self, name)
            if not (name == "beta" and value is None) and not (_is_number(value) and 0 < value < inf):
                raise ValueError(f"ModelCard: {name} expected a positive number, got {value!r}")
        if not _is_number(self.cell_offset) or not 0 <= self.cell_offset < inf:
            raise ValueError(f"ModelCard: cell_offset expected a number of pixels from 0 on, got {self.cell_offset!r}")
        if self.refine == "dark" and self.sigma is None:
            raise ValueError("ModelCard: refine 'dark' expected sigma, got none")
        if not isinstance(self.thresholds, dict) or not all(map(_is_number, self.thresholds.values())):
            raise ValueError(f"ModelCard: thresholds expected numbers by part, got {self.thresholds!r}")
        if self.score in RELATIVE and self.task == "pose" and (self.beta is None or self.sigma is None):
            raise ValueError(f"ModelCard: score {self.score!r} expected beta and sigma, got none")
        for part, (raw, seen) in self.calibration.items():
            if not _is_rising(raw, seen):
                raise ValueError(f"ModelCard: calibration of {part} expected rising scores to [0, 1], got {raw}")
        if self.score_knots and (self.score != "entropy" or set(self.score_knots) != {"x", "y"}):
            raise ValueError(
                f"ModelCard: score_knots expected x and y with score 'entropy', "
                f"got {sorted(self.score_knots)} with {self.score!r}"
            )
        for axis, (bare, seen) in self.score_knots.items():
            if not _is_rising(bare, seen):
                raise ValueError(f"ModelCard: score_knots of {axis} expected rising scores to [0, 1], got {bare}")
        parts = {"person"} if self.task == "detector" else set(self.skeleton.parts) if self.skeleton else set()
        if unknown := sorted({*self.calibration, *self.thresholds} - parts):
            raise ValueError(f"ModelCard: calibration and thresholds expected parts of the skeleton, got {unknown}")
        count = self.skeleton.num_keypoints if self.skeleton else None
        if count is not None and any(not 0 <= point < count for point in self.unsupervised_keypoints):
            raise ValueError(
                f"ModelCard: unsupervised_keypoints expected points below {count}, got {self.unsupervised_keypoints}"
            )

    @property
    def bins(self) -> tuple[int, int]:
        """(Wx, Wy), the lengths of the SimCC vectors, or (w, h) of the heat maps."""
        return int(self.input_size[0] * self.split_ratio), int(self.input_size[1] * self.split_ratio)

    def answers(self, count: int) -> dict[str, tuple[int, ...]]:
        """Names of the outputs, as exported here, and their shapes for `count` keypoints, without the first axis."""
        x, y = self.bins
        if self.codec == "heatmap":
            return {"heatmaps": (count, y, x)}
        return {"simcc_x": (count, x), "simcc_y": (count, y)}

    @property
    def relative(self) -> bool:
        """Whether scores are relative to an ideal label, in [0, 1], so that a calibration can map them."""
        return self.score in RELATIVE or self.codec == "heatmap"  # whose labels peak at 1

    def to_json(self) -> str:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values["skeleton"] = self.skeleton.to_dict() if self.skeleton else None
        return json.dumps({"format": FORMAT, **values}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """The inverse of ``to_json``. Raises ValueError for a newer format, unknown entries, broken JSON."""
        values = json.loads(text)
        if not isinstance(values, dict) or not isinstance(values.get("format"), int):
            raise ValueError("ModelCard: text expected an edgepose card, got other JSON")
        if values.pop("format") > FORMAT:
            raise ValueError(f"ModelCard: format expected at most {FORMAT}, got a newer one: update edgepose")
        values = {RENAMED.get(name, name): value for name, value in values.items()}
        unknown = sorted(set(values) - {f.name for f in dataclasses.fields(cls)})
        if unknown:
            raise ValueError(f"ModelCard: entries expected to be known, got {unknown}")
        for name in (*_PAIRS, *_TRIPLES, "unsupervised_keypoints"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        if values.get("skeleton") is not None:
            values["skeleton"] = Skeleton.from_dict(values["skeleton"])
        return cls(**values)

    @classmethod
    def infer(cls, name: str, input_shape: Shape, output_shapes: Mapping[str, Sequence[int]]) -> ModelCard:
        """The card of a file that carries none: RTMPose or DWPose, recognized by its shapes.

        Colors, mean, std and split ratio are those that RTMPose trains with; scores stay the raw smaller
        maximum, because nothing is known about their scale. Raises ValueError that names the outputs.
        """
        x, y = simcc_outputs(output_shapes)
        _, count, bins_x = output_shapes[x]
        bins_y = output_shapes[y][2]
        width, height = _size(input_shape, 3) or bins_x // 2, _size(input_shape, 2) or bins_y // 2
        split_ratio = bins_x / width
        if int(height * split_ratio) != bins_y:
            sizes = f"{bins_x} for width {width} and {bins_y} for height {height}"
            raise ValueError(f"outputs expected the same bins per pixel on both axes, got {sizes}")
        return cls(
            name=name,
            input_size=(width, height),
            split_ratio=split_ratio,
            sigma=(round((bins_x / 16) ** 0.5, 2), round((bins_y / 16) ** 0.5, 2)),
            score="min",
            skeleton=Skeleton.for_size(count),
            recipe="third-party file without a card: RTMPose defaults by inference from its shapes",
        )


def simcc_outputs(shapes: Mapping[str, Shape]) -> tuple[str, str]:
    """Names of the x and y output, by name where they are called so, else by order: two [N, K, bins] arrays.

    Raises ValueError that names the outputs found.
    """
    found = [n for n, shape in shapes.items() if len(shape) == 3]
    by_name = [n for axis in ("simcc_x", "simcc_y") for n in found if n.endswith(axis)]
    pair = by_name if len(by_name) == 2 else found
    if len(pair) != 2 or shapes[pair[0]][1] != shapes[pair[1]][1]:
        listed = ", ".join(f"{n} {list(shape)}" for n, shape in shapes.items()) or "none"
        raise ValueError(f"outputs expected simcc_x [N, K, Wx] and simcc_y [N, K, Wy], got {listed}")
    return pair[0], pair[1]


def heatmap_output(shapes: Mapping[str, Shape]) -> str:
    """Name of the one output [N, K, h, w]. Raises ValueError that names the outputs found."""
    found = [name for name, shape in shapes.items() if len(shape) == 4]
    if len(found) != 1:
        listed = ", ".join(f"{n} {list(shape)}" for n, shape in shapes.items()) or "none"
        raise ValueError(f"outputs expected heatmaps [N, K, h, w], got {listed}")
    return found[0]


def _is_rising(raw: Sequence[float], seen: Sequence[float]) -> bool:
    """Whether a map's knots rise, to scores in [0, 1]."""
    return len(raw) == len(seen) and list(raw) == sorted(raw) and all(0 <= score <= 1 for score in seen)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _size(shape: Shape, axis: int) -> int | None:
    value = shape[axis] if len(shape) == 4 else None
    return value if isinstance(value, int) and value > 0 else None
