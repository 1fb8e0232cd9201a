"""A folder of crop shards with a record of what was packed into it: `packed.json`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.data.shards import ShardWriter, list_shards, read_shard

RECORD, UNFINISHED = "packed.json", "unfinished"


@dataclass(frozen=True)
class PackedSet:
    """What one call of pack.py put into a folder."""

    dataset: str
    annotations: str  # file or folder it was read from
    people: int
    sources: dict[str, int]  # people by source; "" where the file does not say
    context: float  # window around a person, in padded boxes
    max_side: int  # px, largest height of a padded box
    aspect: float  # W/H of padded boxes


@dataclass(frozen=True)
class Packed:
    """The record of a folder."""

    skeleton: Skeleton
    sets: list[PackedSet] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path) -> Packed | None:
        """The record of a folder; None for one that was packed before there were records."""
        path = folder / RECORD
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(Skeleton.from_dict(content["skeleton"]), [PackedSet(**entry) for entry in content["sets"]])
        except (ValueError, KeyError, TypeError) as error:
            raise EdgeposeError(f"{path}: not a record of pack.py ({error})") from error

    def write(self, folder: Path) -> None:
        content = {"skeleton": self.skeleton.to_dict(), "sets": [asdict(entry) for entry in self.sets]}
        (folder / RECORD).write_text(json.dumps(content, indent=1), encoding="utf-8")


class ShardFolder:
    """Where people are packed to: anew, behind those that are there (`append`), or in their place (`overwrite`)."""

    def __init__(self, root: Path, skeleton: Skeleton, *, append: bool = False, overwrite: bool = False) -> None:
        """Raises EdgeposeError for a folder that holds shards already, unless it is said what is to become of them."""
        self.root, self.skeleton, self.append, self.overwrite = root, skeleton, append, overwrite
        self.shards = list_shards(root)
        self.packed = Packed(skeleton)
        if self.shards and not (append or overwrite):
            raise EdgeposeError(
                f"{root} holds {len(self.shards)} shards already: add to them with --append, replace them with "
                f"--overwrite, or choose another --output"
            )
        if self.shards and append:
            self.packed = Packed.of(root) or Packed(skeleton)
            self._check_points()

    def _check_points(self) -> None:
        theirs = self.packed.skeleton
        crop = next(read_shard(self.shards[0]), None)  # old folders have no record
        count = theirs.num_keypoints if crop is None else len(crop.keypoints)
        if theirs.keypoints != self.skeleton.keypoints or count != self.skeleton.num_keypoints:
            name = theirs.name if theirs.keypoints != self.skeleton.keypoints else f"{count} points"
            raise EdgeposeError(
                f"{self.root} holds people of {name}, not of {self.skeleton.name}: give --skeleton {theirs.name}, or "
                f"pack into a folder of its own and train with both (--shards DIR DIR)"
            )

    @contextmanager
    def writing(self, **options: Any) -> Iterator[ShardWriter]:
        """A writer of new shards, which come into the folder when all are written; `options` are ShardWriter's."""
        aside = self.root / UNFINISHED
        shutil.rmtree(aside, ignore_errors=True)
        first = 1 + max((_number(path) for path in self.shards), default=-1) if self.append else 0
        try:
            with ShardWriter(aside, first=first, **options) as writer:
                yield writer
        except BaseException:
            shutil.rmtree(aside)
            raise
        if self.overwrite:
            self._clear()
        writer.paths = [path.rename(self.root / path.name) for path in writer.paths]
        aside.rmdir()

    def record(self, entry: PackedSet) -> None:
        Packed(self.packed.skeleton, [*self.packed.sets, entry]).write(self.root)

    def _clear(self) -> None:
        for path in self.shards:
            path.unlink()
        for decoded in self.root.glob("decoded*"):
            shutil.rmtree(decoded)


def _number(shard: Path) -> int:
    digits = shard.name.partition(".")[0].rpartition("-")[2]
    return int(digits) if digits.isdigit() else -1
