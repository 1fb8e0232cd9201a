"""What is known of a data set's sources: who labeled their bodies, how they are measured, whose lists are complete.

A COCO-like file names the source of each image. What holds for a source is no property of the code but of the data:
it stands in a TOML file, `sources.toml` beside the data or one that `--sources` names.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgepose import EdgeposeError

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parents[1] / "sources"
BESIDE_DATA = ("annotations/sources.toml", "sources.toml")
NO_SOURCES: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SourceRoles:
    """Names of sources by role. Without any, a measure or a rule of that role applies to nobody."""

    # --- evaluation
    body_truth: frozenset[str] = NO_SOURCES  # v = 2 body points were labeled by people: the row "body (truth)"
    torso_pck: frozenset[str] = NO_SOURCES  # bodies are measured by PCK@0.2 of the torso as well
    webcam: frozenset[str] = NO_SOURCES  # people at a camera, whose hands are measured

    # --- lists of people
    left_out: frozenset[str] = NO_SOURCES  # boxes that nobody should learn from
    close_ups: frozenset[str] = NO_SOURCES  # one person at a camera; a box without points is no person
    boxed_by_detector: frozenset[str] = NO_SOURCES  # some people are listed twice, whole and in part
    incomplete: frozenset[str] = NO_SOURCES  # people in the background are missing
    not_empty: frozenset[str] = NO_SOURCES  # images, `folder/stem`, of which no window counts as free of people

    # --- the detector's training
    weights: Mapping[str, float] = field(default_factory=dict)  # how often images are drawn, relative to their number

    @classmethod
    def load(cls, name: str | Path) -> SourceRoles:
        """Roles of a TOML file, or of one that ships, by its name. Raises EdgeposeError."""
        path = Path(name)
        shipped = SHIPPED / f"{name}.toml"
        if not path.is_file() and path.parent == Path() and shipped.is_file():
            path = shipped
        try:
            return cls.from_dict(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
        except OSError as error:
            names = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml")))
            raise EdgeposeError(f"{name}: expected a TOML file of source roles, or one of {names}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise EdgeposeError(f"{path}: not valid TOML ({error})") from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], origin: str = "sources") -> SourceRoles:
        """Roles of plain values. Raises EdgeposeError for an unknown key or a value of the wrong type."""
        known = {entry.name for entry in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise EdgeposeError(f"{origin}: unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
        return cls(**{key: _value(key, value, origin) for key, value in values.items()})

    @classmethod
    def of(cls, data: Path | None, name: str | None) -> SourceRoles:
        """Roles that `name` says, else those of `sources.toml` beside the data, else none. Raises EdgeposeError."""
        if name:
            return cls.load(name)
        beside = [data / place for place in BESIDE_DATA] if data else []
        return next((cls.load(path) for path in beside if path.is_file()), cls())


NO_ROLES = SourceRoles()


def add_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sources", metavar="NAME|FILE",
        help="what is known of the data's sources: a TOML file or `edgepose` (default: sources.toml beside the data)",
    )  # fmt: skip


def of_command(args: argparse.Namespace) -> SourceRoles:
    """The roles that `--data` and `--sources` give, with a warning where there are none. Raises EdgeposeError."""
    roles = SourceRoles.of(args.data, args.sources)
    if roles == NO_ROLES:
        log.warning("nothing is known of the data's sources (--sources): every list of people is taken as it is")
    return roles


def _value(key: str, value: Any, origin: str) -> Any:
    if key == "weights":
        if isinstance(value, dict) and all(type(weight) in (int, float) for weight in value.values()):
            return {source: float(weight) for source, weight in value.items()}
        raise EdgeposeError(f"{origin}: weights expected a table of numbers, got {value!r}")
    if isinstance(value, list) and all(isinstance(source, str) for source in value):
        return frozenset(value)
    raise EdgeposeError(f"{origin}: {key} expected a list of names, got {value!r}")
