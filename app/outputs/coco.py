"""Results as COCO-WholeBody's evaluation reads them."""

from __future__ import annotations

import json
from pathlib import Path

from edgepose.formats import coco_wholebody_results

from ..engine import Result
from ..status import count_of
from .base import RunInfo
from .textfile import TextFile


class CocoOutput:
    """One JSON array with an entry a person; `image_id` is the number that the image is named by, else the frame's."""

    ENDINGS = (".coco.json",)

    def __init__(self, path: str, run: RunInfo) -> None:
        self._skeleton = run.style.skeleton
        self._file = TextFile(path)
        self._file.write("[")
        self._people = 0

    @classmethod
    def open(cls, path: str, run: RunInfo) -> CocoOutput:
        return cls(path, run)

    def write(self, result: Result) -> None:
        for entry in coco_wholebody_results(image_id(result), result.poses, self._skeleton):
            comma = "," if self._people else ""
            self._file.write(f"{comma}\n{json.dumps(entry, allow_nan=False)}")
            self._people += 1

    def close(self) -> str:
        self._file.write("\n]\n")
        self._file.close()
        return f"{self._file.path}: {count_of(self._people, 'person', 'people')}"


def image_id(result: Result) -> int:
    """COCO names its images by their number: 000000000139.jpg is 139."""
    name = Path(result.frame.file or "").stem
    return int(name) if name.isascii() and name.isdecimal() else result.frame.index
