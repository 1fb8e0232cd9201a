"""Results as OpenPose writes them: a folder with one JSON file a frame, for Pose2Sim, Sports2D and others."""

from __future__ import annotations

import json
from pathlib import Path

from edgepose import EdgeposeError
from edgepose.formats import openpose_json

from ..engine import Result
from ..status import count_of
from .base import RunInfo
from .textfile import TextFile


class OpenposeOutput:
    """`cam01_json/cam01_000000000000_keypoints.json`, …: every frame has its file, those without people too.

    Points that were not found are 0, 0, 0. Pose2Sim takes folders whose names end in `_json`, and frames by the last
    number in the file's name.
    """

    ENDINGS = ("_json",)

    def __init__(self, path: str, run: RunInfo) -> None:
        skeleton = run.style.skeleton
        if skeleton.name != "coco_wholebody":
            raise EdgeposeError(
                f"--save {path}: OpenPose's points are made of coco_wholebody, but the model has {skeleton.name}; "
                "use .csv or .jsonl"
            )
        self._skeleton, self._thresholds = skeleton, run.thresholds
        self._folder = Path(path)
        self._name = self._folder.name[: -len("_json")] or "frame"
        self._count = 0

    @classmethod
    def open(cls, path: str, run: RunInfo) -> OpenposeOutput:
        return cls(path, run)

    def write(self, result: Result) -> None:
        file = TextFile(self._folder / f"{self._name}_{result.frame.index:012d}_keypoints.json")
        file.write(json.dumps(openpose_json(result.poses, self._skeleton, self._thresholds), allow_nan=False))
        file.close()
        self._count += 1

    def close(self) -> str:
        return f"{self._folder}: {count_of(self._count, 'OpenPose file', 'OpenPose files')}"
