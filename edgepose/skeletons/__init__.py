"""Skeletons are data: what the K points are called, how they mirror, connect, count and look.

One TOML file each, in this folder or anywhere else; a model card carries its skeleton whole, so a net with
made-up points trains, exports and draws like the shipped ones.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EdgeposeError

_FOLDER = Path(__file__).parent
# The skeleton that a net of K points most likely has, when its file does not say.
_BY_SIZE = {
    14: "crowdpose14",
    16: "mpii16",
    17: "coco17",
    21: "hand21",
    26: "halpe26",
    133: "coco_wholebody",
    136: "halpe136",
}
_KEYS = ("name", "keypoints", "swap", "links", "contours", "sigmas", "parts", "colors", "upper", "lower")
# Words of files and cards that were written before → words of today.
_OLD_KEYS = {"colours": "colors"}
_OLD_COLOR_KEYS = {"centre": "center"}
_DEFAULT_SIGMA = 0.05  # for points that nobody measured
_DEFAULT_COLORS = {"left": "#3fa7ff", "right": "#ff8b3d", "center": "#7ddc6f"}


def available() -> list[str]:
    """Names of the skeletons that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


@dataclass(frozen=True, eq=False)
class Skeleton:
    """K named points and everything that the rest of the house needs to know about them."""

    name: str
    keypoints: tuple[str, ...]  # K unique names
    swap: NDArray[np.int64]  # [K] index of the mirror partner, itself where there is none (an involution)
    links: NDArray[np.int64]  # [L, 2] limbs
    sigmas: NDArray[np.float32]  # [K] OKS fall-off as a fraction of sqrt(area)
    parts: dict[str, tuple[int, int]]  # half-open ranges that cover 0..K in order
    contours: tuple[tuple[int, ...], ...] = ()  # thin poly-lines, for drawing only
    colors: dict[str, str] = field(default_factory=_DEFAULT_COLORS.copy)  # part or side -> "#rrggbb"
    upper: tuple[int, ...] = ()  # half-body groups of the augmentation
    lower: tuple[int, ...] = ()

    @property
    def num_keypoints(self) -> int:
        return len(self.keypoints)

    @cached_property
    def swap_pairs(self) -> NDArray[np.int64]:  # [P, 2]
        left = np.flatnonzero(self.swap > np.arange(self.num_keypoints))
        return np.stack([left, self.swap[left]], axis=1)

    @cached_property
    def unpaired_sides(self) -> list[tuple[int, int]]:
        """Points whose names differ by left and right alone, and that `swap` does not exchange."""
        index = {name: i for i, name in enumerate(self.keypoints)}
        pairs = [(i, index.get(_other_side(name), i)) for name, i in index.items()]
        return [(i, j) for i, j in pairs if i < j and self.swap[i] != j]

    @cached_property
    def part_of(self) -> tuple[str, ...]:
        """Part name of every point."""
        return tuple(part for part, (start, stop) in self.parts.items() for _ in range(start, stop))

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:  # [K, 3]
        """Color of every point: its part's, else its side's."""
        return np.array([self._point_color(i) for i in range(self.num_keypoints)], np.uint8)

    def color(self, key: str) -> tuple[int, int, int]:
        """RGB of a part or of a side (``"left"``, ``"right"``, ``"center"``)."""
        return _rgb((_DEFAULT_COLORS | self.colors)[key])

    def _point_color(self, index: int) -> tuple[int, int, int]:
        part, side = self.part_of[index], self.keypoints[index].partition("_")[0]
        if part in self.colors:
            return self.color(part)
        return self.color(side if side in ("left", "right") else "center")

    @classmethod
    def load(cls, source: str | Path) -> Skeleton:
        """A shipped skeleton by its name (``"coco_wholebody"``), or a TOML file by its path.

        Raises EdgeposeError when there is no such skeleton or the file makes no sense.
        """
        path = _FOLDER / f"{source}.toml"
        if not path.is_file():
            path = Path(source)
        if not path.is_file():
            names = ", ".join(available())
            raise EdgeposeError(f"There is no skeleton {str(source)!r}: name one of {names}, or a TOML file.")
        try:
            return cls.from_dict(tomllib.loads(path.read_text("utf-8")))
        except (ValueError, TypeError) as error:  # TOMLDecodeError is a ValueError
            raise EdgeposeError(f"The skeleton file {path} is not usable: {error}.") from error

    @classmethod
    def for_size(cls, num_keypoints: int) -> Skeleton:
        """The well-known skeleton with that many points, else one of nameless points without links."""
        if num_keypoints in _BY_SIZE:
            return cls.load(_BY_SIZE[num_keypoints])
        names = [f"point-{i}" for i in range(num_keypoints)]
        return cls.from_dict({"name": f"points{num_keypoints}", "keypoints": names})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Skeleton:
        """Build and check a skeleton; only ``name`` and ``keypoints`` are required.

        Entries under the names of older files are understood. Raises ValueError that names the entry at fault.
        """
        data = {_OLD_KEYS.get(key, key): value for key, value in data.items()}
        unknown = sorted(set(data) - set(_KEYS))
        if unknown:
            raise ValueError(f"Skeleton: unknown entries {unknown}, expected some of {list(_KEYS)}")
        names = tuple(str(name) for name in data.get("keypoints", ()))
        count = len(names)
        if not count or len(set(names)) != count:
            raise ValueError(f"Skeleton: keypoints expected names, none of them twice, got {count}")
        sigmas = np.array(data.get("sigmas", [_DEFAULT_SIGMA] * count), np.float32)
        if sigmas.shape != (count,) or not (sigmas > 0).all():
            raise ValueError(f"Skeleton: sigmas expected {count} positive numbers, got {sigmas.size}")
        contours = tuple(tuple(_indices("contours", line, count)) for line in data.get("contours", ()))
        return cls(
            name=str(data["name"]) if "name" in data else "unnamed",
            keypoints=names,
            swap=_frozen(_swap(data.get("swap", ()), count)),
            links=_frozen(np.array(_pairs("links", data.get("links", ()), count), np.int64).reshape(-1, 2)),
            sigmas=_frozen(sigmas),
            parts=_parts(data.get("parts", {"body": (0, count)}), count),
            contours=contours,
            colors=_colors(data.get("colors", _DEFAULT_COLORS)),
            upper=tuple(_indices("upper", data.get("upper", ()), count)),
            lower=tuple(_indices("lower", data.get("lower", ()), count)),
        )

    def to_dict(self) -> dict[str, Any]:
        """The inverse of ``from_dict``: plain lists and strings, for a card."""
        return {
            "name": self.name,
            "keypoints": list(self.keypoints),
            "swap": self.swap_pairs.tolist(),
            "links": self.links.tolist(),
            "contours": [list(line) for line in self.contours],
            "sigmas": [round(float(s), 6) for s in self.sigmas],
            "parts": {part: list(span) for part, span in self.parts.items()},
            "colors": dict(self.colors),
            "upper": list(self.upper),
            "lower": list(self.lower),
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Skeleton) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.name, self.keypoints))


_SIDES = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}
_SIDES |= {right: left for left, right in _SIDES.items()}
_SIDE = re.compile(r"(?<![A-Za-z])([Ll]eft|LEFT|[Rr]ight|RIGHT|[LlRr])(?![a-z])|(?<=[a-z])(Left|Right|[LR])(?![a-z])")


def _other_side(name: str) -> str:
    """The name with left and right exchanged: of left_hand, l-hand, hand_L, LeftHand or handLeft."""
    return _SIDE.sub(lambda found: _SIDES[found.group()], name)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False  # skeletons are shared by everybody
    return array


def _indices(key: str, values: Sequence[int], count: int) -> list[int]:
    for value in values:
        if not isinstance(value, int):
            raise ValueError(f"Skeleton: {key} expected indices, counted from 0, got {value!r}")
        if not 0 <= value < count:
            raise ValueError(f"Skeleton: {key} expected indices below {count}, got {value}")
    return [int(value) for value in values]


def _pairs(key: str, pairs: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise ValueError(f"Skeleton: {key} expected pairs of indices, [[1, 2], …], got {pair!r}")
    return [_indices(key, pair, count) for pair in pairs]


def _swap(pairs: Sequence[Sequence[int]], count: int) -> NDArray[np.int64]:  # -> [K]
    swap = np.arange(count)
    for a, b in _pairs("swap", pairs, count):
        if swap[a] != a or swap[b] != b:
            raise ValueError(f"Skeleton: swap expected every point in one pair at most, got [{a}, {b}] again")
        swap[a], swap[b] = b, a
    return swap


def _parts(parts: Mapping[str, Sequence[int]], count: int) -> dict[str, tuple[int, int]]:
    spans = {str(part): (int(span[0]), int(span[1])) for part, span in parts.items()}
    edges = [0, *(edge for span in spans.values() for edge in span), count]
    if any(a != b for a, b in zip(edges[::2], edges[1::2], strict=True)):
        raise ValueError(f"Skeleton: parts expected ranges that cover 0..{count} in order, got {spans}")
    return spans


def _colors(colors: Mapping[str, str]) -> dict[str, str]:
    checked = {_OLD_COLOR_KEYS.get(str(key), str(key)): str(color) for key, color in colors.items()}
    for color in checked.values():
        _rgb(color)
    return checked


def _rgb(color: str) -> tuple[int, int, int]:
    if len(color) != 7 or color[0] != "#":
        raise ValueError(f"Skeleton: colors expected '#rrggbb', got {color!r}")
    value = int(color[1:], 16)
    return value >> 16, value >> 8 & 255, value & 255
