"""Results over OSC, for TouchDesigner, Max, Pure Data, SuperCollider, Unity and others."""

from __future__ import annotations

from typing import Any

from edgepose import EdgeposeError

from ..engine import Result
from .address import Datagrams, MessageTooLong
from .base import ReaderOutput, RunInfo

PORT = 9000


class OscOutput(ReaderOutput):
    """A message for the frame, then a bundle a person: who it is, and x, y, score of the points, part by part."""

    SCHEMES = ("osc",)

    def __init__(self, address: str, run: RunInfo) -> None:
        try:
            from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
            from pythonosc.osc_message_builder import OscMessageBuilder
        except ModuleNotFoundError as error:
            raise EdgeposeError(f"--send {address}: OSC needs python-osc: pip install 'edgepose[send]'") from error
        self.name = f"--send {address}"
        self._message: Any = OscMessageBuilder
        self._bundle: Any = lambda: OscBundleBuilder(IMMEDIATELY)
        self._parts = run.style.skeleton.parts
        self._datagrams = Datagrams(address, PORT)

    @classmethod
    def open(cls, address: str, run: RunInfo) -> OscOutput:
        return cls(address, run)

    def write(self, result: Result) -> None:
        frame, poses = result.frame, result.poses
        height, width = frame.image.shape[:2]
        about = [frame.index, float(frame.time), len(poses), width, height]
        self._send(self._built("/edgepose/frame", about).dgram)
        for n in range(len(poses)):
            self._send(self._person(result, n))

    def stop(self) -> None:
        """Sending never waits."""

    def close(self) -> str:
        said = self._datagrams.close()
        return f"{self.name}: {said}" if said else ""

    def _person(self, result: Result, n: int) -> bytes:
        poses, bundle = result.poses, self._bundle()
        frame, person = result.frame.index, int(poses.track_ids[n])
        about = [frame, person, float(poses.bbox_scores[n]), *poses.bboxes[n].tolist()]
        bundle.add_content(self._built("/edgepose/person", about))
        for part, (start, stop) in self._parts.items():
            points = zip(poses.keypoints[n, start:stop].tolist(), poses.scores[n, start:stop].tolist(), strict=True)
            values = [value for (x, y), score in points for value in (x, y, score)]
            bundle.add_content(self._built(f"/edgepose/{part}", [frame, person, *values]))
        return bytes(bundle.build().dgram)

    def _built(self, address: str, values: list[float]) -> Any:
        message = self._message(address)
        for value in values:
            message.add_arg(value, "i" if isinstance(value, int) else "f")
        return message.build()

    def _send(self, data: bytes) -> None:
        try:
            self._datagrams.send(data)
        except MessageTooLong:  # a person is 2.5 kB: only a skeleton of thousands of points gets here
            self._datagrams.refused += 1
