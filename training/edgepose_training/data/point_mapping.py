"""Which point of a data set is which point of a run: by name, by other names of the same point, or by a table.

A table is a TOML file. `[same]` lists other names of a point; a section named after a set's skeleton says for that set
alone which of its points a point of the run is, "" for none: `[lsp14]`, `head = "head_top"`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.data.coco import Person, PointLabels

SHIPPED = Path(__file__).with_name("points.toml")


@dataclass(frozen=True)
class PointMapping:
    """Labels of one skeleton in the points of another."""

    of: Skeleton  # the set's
    to: Skeleton  # the run's
    index: np.ndarray  # [K of `to`] the set's point, −1 where it has none

    @classmethod
    def between(cls, of: Skeleton, to: Skeleton, table: str | Path | None = None) -> PointMapping:
        """By equal names, the names that ship and those of a `table`.

        Raises EdgeposeError for a table that makes no sense, a mapping that mixes left with right, and skeletons
        without a common point.
        """
        aliases, chosen = _names(table)
        own = {name: i for i, name in enumerate(of.keypoints)}
        picks = chosen.get(of.name, {})
        _check_known(picks, of, to, table)
        index = [_find(name, own, aliases) if name not in picks else own.get(picks[name], -1) for name in to.keypoints]
        mapping = cls(of, to, np.array(index))
        mapping._check(table)
        return mapping

    def __call__(self, keypoints: np.ndarray, visible: np.ndarray, weights: np.ndarray) -> PointLabels:
        """Points [..., k, 2], visible and weights [..., k] of the set → [..., K, 2], [..., K], [..., K] of the run.

        What the set does not have is unlabeled.
        """
        if self.is_identity:
            return keypoints, visible, weights
        known = self.index >= 0
        return (
            np.where(known[:, None], keypoints[..., self.index, :], 0),
            np.where(known, visible[..., self.index], 0).astype(visible.dtype),
            np.where(known, weights[..., self.index], 0).astype(weights.dtype),
        )

    def person(self, person: Person) -> Person:
        keypoints, visible, weights = self(person.keypoints, person.visible, person.weights)
        return replace(person, keypoints=keypoints, visible=visible, weights=weights)

    @property
    def is_identity(self) -> bool:
        return len(self.index) == self.of.num_keypoints and bool((self.index == np.arange(len(self.index))).all())

    def __str__(self) -> str:
        used = len(np.unique(self.index[self.index >= 0]))
        return f"{used} of the {self.of.num_keypoints} points of {self.of.name} as {self.to.name}"

    def _check(self, table: str | Path | None) -> None:
        if (self.index < 0).all():
            raise EdgeposeError(
                f"no point of {self.of.name} has the name of one of {self.to.name}: say in a table which is which "
                f"(--points)"
            )
        for i, j in enumerate(self.index):
            mirrored = self.index[self.to.swap[i]]
            # A point of the set that is its own mirror image may be one whose pair its skeleton does not tell.
            if j >= 0 and mirrored >= 0 and self.of.swap[j] not in (j, mirrored):
                names = self.to.keypoints[i], self.of.keypoints[j]
                partners = self.to.keypoints[self.to.swap[i]], self.of.keypoints[mirrored]
                raise EdgeposeError(
                    f"{table or SHIPPED.name}: {names[0]} is {names[1]} of {self.of.name}, but its mirror image "
                    f"{partners[0]} is {partners[1]}, which is not the other's"
                )


def _find(name: str, own: Mapping[str, int], aliases: list[set[str]]) -> int:
    if name in own:
        return own[name]
    others = [other for group in aliases if name in group for other in group if other in own]
    return own[others[0]] if others else -1


def _names(table: str | Path | None) -> tuple[list[set[str]], dict[str, dict[str, str]]]:
    """Groups of names of one point, and by a set's skeleton the table of its own."""
    aliases: list[set[str]] = []
    chosen: dict[str, dict[str, str]] = {}
    for path in (SHIPPED, *([Path(table)] if table else [])):
        content = _read(path)
        aliases += [{name, *others} for name, others in content.pop("same", {}).items()]
        chosen |= content
    return aliases, chosen


def _read(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EdgeposeError(f"{path}: cannot read the table of points ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EdgeposeError(f"{path}: not valid TOML ({error})") from error
    for section, entries in content.items():
        kind: type = list if section == "same" else str
        if not isinstance(entries, dict) or not all(isinstance(value, kind) for value in entries.values()):
            raise EdgeposeError(
                f"{path}: expected sections [same], of lists of names, and [SKELETON], of one name each, got {section}"
            )
    return content


def _check_known(picks: Mapping[str, str], of: Skeleton, to: Skeleton, table: str | Path | None) -> None:
    for point, source in picks.items():
        for name, skeleton in ((point, to), (source, of)):
            if name and name not in skeleton.keypoints:
                raise EdgeposeError(f"{table}: {skeleton.name} has no point {name!r}")
