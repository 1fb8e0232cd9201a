"""Results over UDP: a datagram a frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..engine import Result
from ..status import count_of
from .address import Datagrams, MessageTooLong
from .base import ReaderOutput, RunInfo
from .jsonl import record_line

PORT = 9100
_LARGEST = 65_507  # bytes of a datagram over IPv4


class UdpOutput(ReaderOutput):
    """The line of `--json` as one datagram. Of more people than fit, about 20, the surest are sent."""

    SCHEMES = ("udp",)

    def __init__(self, address: str) -> None:
        self.name = f"--send {address}"
        self._datagrams = Datagrams(address, PORT)
        self._crowded = 0  # frames of which somebody was left out

    @classmethod
    def open(cls, address: str, _run: RunInfo) -> UdpOutput:
        return cls(address)

    def write(self, result: Result) -> None:
        people = len(result.poses)
        while not self._send(result) and len(result.poses):
            surest = np.argsort(-result.poses.bbox_scores, kind="stable")[: len(result.poses) * 3 // 4]
            result = replace(result, poses=result.poses[np.sort(surest)])
        self._crowded += len(result.poses) < people

    def stop(self) -> None:
        """Sending never waits."""

    def close(self) -> str:
        crowded = f"{count_of(self._crowded, 'frame', 'frames')} with more people than fit" if self._crowded else ""
        said = "; ".join(filter(None, [self._datagrams.close(), crowded]))
        return f"{self.name}: {said}" if said else ""

    def _send(self, result: Result) -> bool:
        data = record_line(result).encode()
        if len(data) > _LARGEST:
            return False
        try:
            self._datagrams.send(data)
        except MessageTooLong:
            return False
        return True
