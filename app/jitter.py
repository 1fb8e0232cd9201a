"""How steady the points of the demo are, measured in the coordinates of its photograph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose import Poses, Skeleton
from edgepose.draw import visible_points

from .sources.demo import PERSON_BOX

_SEEN_SHARE = 0.25  # a point that passes the threshold more rarely has no meaningful median


@dataclass(frozen=True)
class JitterReport:
    """Deviations in per cent of the longer side of the person's box in the photograph."""

    p50: float
    p95: float
    points: int  # key points that were seen often enough to count
    frames: int
    found: float  # share of the frames with a person

    def __str__(self) -> str:
        if not self.points:
            return f"jitter: no point passed the threshold in {self.frames} frames"
        return (
            f"jitter in the photograph: p50 {self.p50:.2f} %, p95 {self.p95:.2f} % of the person's box "
            f"({self.points} points over {self.frames} frames, person found in {100 * self.found:.0f} %)"
        )


class Jitter:
    """Collects the demo's points, mapped back into the photograph, where they should stand still.

    Of each frame the person with the highest mean score counts. A point counts where it is drawn: its score
    reaches the threshold and it lies inside the frame; in frames after the first second (the person is being
    found), if that is so in at least a quarter of them. Deviation: distance from the point's own median over
    time.
    """

    def __init__(self, skeleton: Skeleton, threshold: float | Mapping[str, float], warmup: int = 30) -> None:
        self._skeleton = skeleton
        self._threshold = threshold  # one for all points, or by part
        self._warmup = warmup  # frames
        self._seen = 0
        self._found = 0
        self._points: list[NDArray[np.float64]] = []  # [K, 2] photograph px, NaN where not counted

    def add(self, motion: NDArray[np.float64], poses: Poses, size: tuple[int, int]) -> None:
        """One frame: `motion` [2, 3] photograph → frame, `size` (width, height) of the frame."""
        self._seen += 1
        if self._seen <= self._warmup:
            return
        if len(poses) == 0:
            self._points.append(np.full((poses.scores.shape[1], 2), np.nan))
            return
        self._found += 1
        best = int(poses.scores.mean(axis=1).argmax())
        keypoints = poses.keypoints[best].astype(np.float64)  # [K, 2]
        counts = visible_points(poses, self._skeleton, size, self._threshold)[best]  # what is drawn
        photograph = np.linalg.solve(motion[:, :2], (keypoints - motion[:, 2]).T).T
        self._points.append(np.where(counts[:, None], photograph, np.nan))

    def report(self) -> JitterReport:
        """The percentiles over all counted points of all frames."""
        frames = len(self._points)
        if not frames:
            return JitterReport(float("nan"), float("nan"), 0, 0, 0.0)
        track = np.stack(self._points)  # [T, K, 2]
        track = track[:, np.isfinite(track[..., 0]).mean(axis=0) >= _SEEN_SHARE]
        found = self._found / frames
        if not track.size:
            return JitterReport(float("nan"), float("nan"), 0, frames, found)
        distance = np.linalg.norm(track - np.nanmedian(track, axis=0), axis=2)
        x1, y1, x2, y2 = PERSON_BOX
        percent = 100 * distance[np.isfinite(distance)] / max(x2 - x1, y2 - y1)
        p50, p95 = np.percentile(percent, [50, 95])
        return JitterReport(float(p50), float(p95), track.shape[1], frames, found)
