"""The One-Euro filter: still points rest, moving points are followed at once (Casiez et al., CHI 2012)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .structures import Poses

Float = NDArray[np.float32]


@dataclass(frozen=True)
class SmoothingConfig:
    """Knobs of the One-Euro filter: a low-pass whose cut-off rises with the speed of the point.

    The defaults leave less than half of a still person's jitter; a hand that crosses the frame in a second is a third
    of a frame behind.
    """

    min_cutoff: float = 1.0  # Hz at rest: lower is calmer
    beta: float = 6.0  # Hz per size/s: higher follows motion sooner
    d_cutoff: float = 1.0  # Hz of the velocity's own filter: noise must not look like motion
    threshold: float = 0.1  # score; points below it restart: their position means nothing

    def scaled(self, strength: float) -> SmoothingConfig:
        """Calmer by that factor at every speed, and as much slower to follow: all cut-offs of points ÷ ``strength``."""
        return replace(self, min_cutoff=self.min_cutoff / strength, beta=self.beta / strength)


@dataclass
class _State:
    points: Float  # [K, 2] filtered
    velocity: Float  # [K, 2] filtered, person sizes per second
    seen: NDArray[np.bool_]  # [K] whether the filter has a past
    time: float


class OneEuro:
    """Smooths the keypoints of every track, each keypoint with its own cut-off.

    Speeds are measured in sizes of the person per second, so one setting serves a face close to a webcam
    and a figure across the room. The velocity is taken against the previous filtered point.

    Source: Casiez et al. 2012; RTMPose §3.4; mmdeploy's pose tracker.
    """

    def __init__(
        self,
        *,
        min_cutoff: float = SmoothingConfig.min_cutoff,  # Hz
        beta: float = SmoothingConfig.beta,  # Hz per person size/s
        d_cutoff: float = SmoothingConfig.d_cutoff,  # Hz
        threshold: float = SmoothingConfig.threshold,  # score
    ) -> None:
        self.min_cutoff, self.beta, self.d_cutoff, self.threshold = min_cutoff, beta, d_cutoff, threshold
        self._states: dict[int, _State] = {}

    def reset(self) -> None:
        self._states.clear()

    def __call__(self, poses: Poses, timestamp: float) -> Poses:
        """Filtered people. ``timestamp`` in seconds; untracked people (id −1) pass as they are."""
        keypoints = poses.keypoints.copy()
        states: dict[int, _State] = {}  # who is gone is forgotten
        for n, track in enumerate(poses.track_ids.tolist()):
            if track < 0:
                continue
            size = float(np.sqrt(np.prod(np.maximum(poses.bboxes[n, 2:] - poses.bboxes[n, :2], 1))))
            seen = poses.scores[n] >= self.threshold
            states[track] = self._step(self._states.get(track), keypoints[n], seen, size, timestamp)
            keypoints[n] = states[track].points
        self._states = states
        return replace(poses, keypoints=keypoints)

    def _step(
        self,
        state: _State | None,
        points: Float,  # [K, 2]
        seen: NDArray[np.bool_],  # [K]
        size: float,  # pixels
        time: float,
    ) -> _State:
        if state is None or time <= state.time:
            return _State(points.copy(), np.zeros_like(points), seen, time)
        step = time - state.time
        follow = (seen & state.seen)[:, None]
        raw = (points - state.points) / (size * step)
        velocity = state.velocity + _alpha(self.d_cutoff, step) * (raw - state.velocity)
        speed = np.linalg.norm(velocity, axis=1, keepdims=True)
        blend = _alpha(self.min_cutoff + self.beta * speed, step)
        filtered = state.points + blend * (points - state.points)
        return _State(
            np.where(follow, filtered, points).astype(np.float32),
            np.where(follow, velocity, 0).astype(np.float32),
            seen,
            time,
        )


def _alpha(cutoff: Any, step: float) -> Any:
    """Weight of the new value in a first-order low-pass of that cut-off (Hz) after ``step`` seconds."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * step))
