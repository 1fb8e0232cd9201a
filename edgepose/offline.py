"""Smoothing of a whole file at once, with the future known: gaps are filled, swapped limbs mended, nothing lags.

numpy alone. For live images there is `smoothing.OneEuro`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from .skeletons import Skeleton
from .smoothing import OneEuro, SmoothingConfig
from .structures import Poses

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Points that swap sides together, by the beginning of their names behind "left_" and "right_".
_LIMBS = (("elbow", "wrist"), ("hip", "knee", "ankle", "big", "small", "heel"))


@dataclass(frozen=True)
class OfflineConfig:
    """What is mended, at most how long, and how calm the result is."""

    max_gap: int = 5  # frames without a point, or without the person, that are filled by a straight line
    max_swap: int = 4  # frames for which a limb may have been taken for the other one
    threshold: float = 0.1  # score below which a point was not seen
    swap_penalty: float = 0.02  # sizes of the person: left is left unless the motion clearly says otherwise
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)


@dataclass
class _Path:
    """One person over the frames from the first to the last in which they were seen."""

    first: int
    keypoints: Float  # [T, K, 2]
    scores: Float  # [T, K]; 0 where the person was not seen
    bboxes: Float  # [T, 4]
    bbox_scores: Float  # [T]
    present: Mask  # [T]
    track_id: NDArray[np.int64]  # [1]


def smooth_offline(
    frames: Sequence[Poses],
    times: Sequence[float],  # s, rising
    skeleton: Skeleton,
    config: OfflineConfig | None = None,
) -> list[Poses]:
    """The people of all frames of a file, smoothed in both directions.

    `keypoints` are the smoothed points, `raw_keypoints` and `scores` stay what the net said; people in a filled gap
    have scores of 0 and are drawn by `display_scores`. Who is not tracked (id −1) passes as they are.

    Raises ValueError unless there is a time for every frame.
    """
    if len(frames) != len(times):
        raise ValueError(f"smooth_offline: times expected [{len(frames)}], got [{len(times)}]")
    config = config or OfflineConfig()
    people: list[list[Poses]] = [[poses[poses.track_ids < 0]] for poses in frames]
    for track in sorted({int(i) for poses in frames for i in poses.track_ids if i >= 0}):
        path = _path_of(frames, track)
        raw = path.keypoints.copy()
        _mend_swaps(path, skeleton, config)
        shown = _fill(path, config)
        span = slice(path.first, path.first + len(path.present))
        smooth = _both_ways(path, np.asarray(times[span], np.float64), config.smoothing)
        for n in np.flatnonzero(shown.any(axis=1)).tolist():
            row = _row(path, n, smooth[n], raw[n] if path.present[n] else smooth[n], shown[n])
            people[path.first + n].append(row)
    return [_joined(rows) for rows in people]


def _path_of(frames: Sequence[Poses], track: int) -> _Path:
    where = [int(np.flatnonzero(poses.track_ids == track)[0]) if track in poses.track_ids else -1 for poses in frames]
    seen = np.flatnonzero(np.array(where) >= 0)
    first, count = int(seen[0]), int(seen[-1] - seen[0]) + 1
    points = frames[first].keypoints.shape[1]
    path = _Path(
        first, np.zeros((count, points, 2), np.float32), np.zeros((count, points), np.float32),
        np.zeros((count, 4), np.float32), np.zeros(count, np.float32), np.zeros(count, bool), np.array([track]),
    )  # fmt: skip
    for frame in seen.tolist():
        poses, n, t = frames[frame], where[frame], frame - first
        path.keypoints[t], path.scores[t], path.bboxes[t] = poses.keypoints[n], poses.scores[n], poses.bboxes[n]
        path.bbox_scores[t], path.present[t] = poses.bbox_scores[n], True
    return path


def _mend_swaps(path: _Path, skeleton: Skeleton, config: OfflineConfig) -> None:
    """Arms and legs that changed sides for a few frames change back."""
    for pairs in _limbs(skeleton):
        left, right = pairs[:, 0], pairs[:, 1]
        t = np.flatnonzero((path.scores[:, pairs.ravel()] >= config.threshold).all(axis=1))
        if len(t) < 3:
            continue
        size = np.sqrt(np.prod(np.maximum(path.bboxes[t, 2:] - path.bboxes[t, :2], 1), axis=1)).mean()
        here = path.keypoints[t]
        swapped = _swapped(here[:, left], here[:, right], config.swap_penalty * float(size))
        for start, stop in _runs(swapped):
            inside = start > 0 and stop < len(t)  # at an end nobody knows which side was right
            if inside and t[stop - 1] - t[start] < config.max_swap:
                rows = t[start:stop, None]
                for values in (path.keypoints, path.scores):
                    values[rows, left], values[rows, right] = values[rows, right].copy(), values[rows, left].copy()


def _limbs(skeleton: Skeleton) -> list[NDArray[np.int64]]:  # [P, 2] left, right each
    names = list(skeleton.keypoints)
    limbs = []
    for words in _LIMBS:
        pairs = [
            (n, names.index(f"right_{name.removeprefix('left_')}"))
            for n, name in enumerate(names)
            if name.startswith(tuple(f"left_{word}" for word in words))
            and f"right_{name.removeprefix('left_')}" in names
        ]
        if pairs:
            limbs.append(np.array(pairs, np.int64))
    return limbs


def _swapped(left: Float, right: Float, penalty: float) -> Mask:  # [T, P, 2], [T, P, 2] px -> [T]
    """Where exchanging the sides makes the shortest way through all frames (Viterbi with two states)."""
    kept = np.linalg.norm(np.diff(left, axis=0), axis=2).mean(axis=1) + np.linalg.norm(
        np.diff(right, axis=0), axis=2
    ).mean(axis=1)
    crossed = np.linalg.norm(left[1:] - right[:-1], axis=2).mean(axis=1) + np.linalg.norm(
        right[1:] - left[:-1], axis=2
    ).mean(axis=1)
    cost, back = np.array([0.0, penalty]), np.zeros((len(left), 2), int)
    for t, (same, other) in enumerate(zip(kept, crossed, strict=True), start=1):
        ways = np.array([[cost[0] + same, cost[1] + other], [cost[0] + other, cost[1] + same]])  # [now, before]
        back[t], cost = ways.argmin(axis=1), ways.min(axis=1) + np.array([0.0, penalty])
    states = np.zeros(len(left), bool)
    state = int(cost.argmin())
    for t in range(len(left) - 1, -1, -1):
        states[t], state = bool(state), int(back[t, state])
    return states


def _runs(mask: Mask) -> list[tuple[int, int]]:
    """Stretches [start, stop) in which the mask [T] holds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _fill(path: _Path, config: OfflineConfig) -> Float:  # -> [T, K]
    """Straight lines across short gaps of points and boxes; the scores to draw by, 0 where nothing is known."""
    shown = path.scores.copy()
    for k in range(path.scores.shape[1]):
        for start, stop in _gaps(path.scores[:, k] >= config.threshold, config.max_gap):
            _bridge(path.keypoints[:, k], start, stop)
            shown[start:stop, k] = min(path.scores[start - 1, k], path.scores[stop, k])
    for start, stop in _gaps(path.present, config.max_gap):
        _bridge(path.bboxes, start, stop)
        path.bbox_scores[start:stop] = min(path.bbox_scores[start - 1], path.bbox_scores[stop])
    return shown


def _gaps(seen: Mask, longest: int) -> list[tuple[int, int]]:
    """Short stretches [start, stop) without, between two with."""
    return [(a, b) for a, b in _runs(~seen) if a > 0 and b < len(seen) and b - a <= longest]


def _bridge(values: Float, start: int, stop: int) -> None:  # [T, D], in place
    share = (np.arange(start, stop) - start + 1)[:, None] / (stop - start + 1)
    values[start:stop] = values[start - 1] + share * (values[stop] - values[start - 1])


def _both_ways(path: _Path, times: NDArray[np.float64], config: SmoothingConfig) -> Float:  # [T] s -> [T, K, 2]
    """The mean of the filter's runs forwards and backwards, whose lags cancel."""
    count = len(times)
    scores = np.ones_like(path.scores)  # what is not seen is not shown either; it must not restart the filter
    ways = []
    for order in (np.arange(count), np.arange(count)[::-1]):
        filter_, way = OneEuro(**asdict(config)), np.zeros_like(path.keypoints)
        for n in order:
            poses = Poses(
                path.keypoints[[n]], scores[[n]], path.bboxes[[n]], np.zeros(1, np.int64), np.ones(1, np.float32)
            )
            way[n] = filter_(poses, float(abs(times[n] - times[order[0]]))).keypoints[0]
        ways.append(way)
    return np.asarray((ways[0] + ways[1]) / 2, np.float32)


def _row(path: _Path, n: int, smooth: Float, raw: Float, shown: Float) -> Poses:
    return Poses(
        smooth[None], path.scores[[n]], path.bboxes[[n]], path.track_id, path.bbox_scores[[n]],
        display_scores=shown[None], raw_keypoints=raw[None],
    )  # fmt: skip


def _joined(rows: Sequence[Poses]) -> Poses:
    """Untracked people first, then the others."""
    columns = {
        name: np.concatenate([getattr(row, name) for row in rows])
        for name in ("keypoints", "scores", "bboxes", "track_ids", "bbox_scores")
    }
    shown = [row.scores if row.display_scores is None else row.display_scores for row in rows]
    raw = [row.keypoints if row.raw_keypoints is None else row.raw_keypoints for row in rows]
    return Poses(**columns, display_scores=np.concatenate(shown), raw_keypoints=np.concatenate(raw))
