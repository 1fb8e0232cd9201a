"""Who is who from frame to frame, and where to look for them next. numpy alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .boxes import boxes_from_keypoints, containment_matrix, extent, head_mask, iou_matrix
from .skeletons import Skeleton
from .structures import Poses

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class TrackerConfig:
    """Every knob of the tracker."""

    start: float = 1.0  # share of the points' thresholds that a new person must reach
    keep: float = 0.7  # the same for a known person, who is believed more readily
    min_points: int = 4  # fewer confident points are nobody,
    min_share: float = 0.06  # nor is a smaller share of all points: many points have many chances to err
    max_missing: int = 10  # frames that a missing person's place and id are kept
    match_iou: float = 0.3  # a detection and a track are the same person
    same: float = 0.12  # two poses this near (mean distance / size of the smaller) are the same person
    shrink: float = 0.25  # how far an edge moves inwards per frame
    hold_out: float = 0.05  # the box stays while no edge would move outwards by more than this fraction of it
    hold_in: float = 0.10  # nor inwards by more than this


@dataclass
class _Track:
    id: int
    bbox: Float  # [4] xyxy, where to look in the next frame
    missing: int = 0  # frames since the person was last seen


class Tracker:
    """Keeps one box per person. Each person is found again inside the own box, so ids follow by themselves.

    Per frame: ``bboxes`` and ``ids`` say where the known people are looked for, ``fresh`` which detections
    are nobody known, ``update`` takes the poses that the net saw there and returns those that are people.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        thresholds: Float | float = 0.3,  # [K] a point is confident from this score on
        config: TrackerConfig | None = None,
    ) -> None:
        self.config = config or TrackerConfig()
        self._head = head_mask(skeleton)
        self._thresholds = np.broadcast_to(np.asarray(thresholds, np.float32), (skeleton.num_keypoints,))
        self._min_points = max(self.config.min_points, round(self.config.min_share * skeleton.num_keypoints))
        self._tracks: list[_Track] = []
        self._next_id = 1

    def reset(self) -> None:
        """Forget everybody. Ids are not given twice."""
        self._tracks.clear()

    @property
    def bboxes(self) -> Float:  # [M, 4]
        return np.array([track.bbox for track in self._tracks], np.float32).reshape(-1, 4)

    @property
    def ids(self) -> NDArray[np.int64]:  # [M]
        return np.array([track.id for track in self._tracks], np.int64)

    @property
    def complete(self) -> bool:
        """Whether there is somebody and nobody is missing: no reason to search."""
        return bool(self._tracks) and all(track.missing == 0 for track in self._tracks)

    def confident(self, poses: Poses, size: tuple[int, int], share: Float | float = 1.0) -> Mask:
        """Points [N, K] that are to be believed: inside the picture of ``size`` (W, H), and sure enough.

        ``share`` of their thresholds is enough; a number, or one per person [N, 1].
        """
        inside = ((poses.keypoints >= 0) & (poses.keypoints < np.array(size))).all(axis=2)
        return np.logical_and(inside, poses.scores >= self._thresholds * share)

    def person_scores(self, poses: Poses, confident: Mask) -> Float:  # [N]
        """Mean score of the confident points [N, K]; 0 where they are too few for a person."""
        count = confident.sum(axis=1)
        mean = np.where(confident, poses.scores, 0).sum(axis=1) / np.maximum(count, 1)
        return np.where(count >= self._min_points, mean, 0).astype(np.float32)

    def pose_boxes(self, poses: Poses, confident: Mask, size: tuple[int, int]) -> Float:  # [N, 4]
        """The box around every person's confident points [N, K], inside the frame."""
        return boxes_from_keypoints(poses.keypoints, confident, self._head, size)

    def fresh(self, bboxes: Float) -> NDArray[np.int64]:  # [D, 4] detections, best first -> [F] indices
        """Detections of people who are not tracked. A track that has lost its shape gets their box."""
        free = np.ones(len(bboxes), bool)
        overlaps = iou_matrix(self.bboxes, bboxes)  # [M, D]
        for _ in range(min(overlaps.shape)):
            track, box = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
            best = float(overlaps[track, box])
            if best < self.config.match_iou:
                break
            if best < 0.6 or self._tracks[track].missing:
                self._tracks[track].bbox = bboxes[box].astype(np.float32)
            free[box] = False
            overlaps[track], overlaps[:, box] = -1, -1
        # What lies inside a track's box is a part of that person, or hidden behind: no second track for it.
        return np.flatnonzero(free & (containment_matrix(self.bboxes, bboxes) < 0.8).all(axis=0))

    def update(self, poses: Poses, size: tuple[int, int]) -> Poses:
        """The poses that are people, with ids, each person once. ``poses.track_ids``: whose box, or −1."""
        known = poses.track_ids >= 0
        share = np.where(known, self.config.keep, self.config.start)[:, None]
        confident = self.confident(poses, size, share)
        scores = self.person_scores(poses, confident)
        order = np.lexsort((-scores, ~known))  # a known person outranks a newcomer
        kept = np.sort(np.array(self._distinct(poses, confident, [n for n in order if scores[n] > 0]), np.int64))
        people = poses[kept]
        boxes = self.pose_boxes(people, confident[kept], size)
        ids = [self._settle(owner, box) for owner, box in zip(people.track_ids, boxes, strict=True)]
        self._age(set(ids))
        return replace(people, track_ids=np.array(ids, np.int64), bbox_scores=scores[kept])

    def _distinct(self, poses: Poses, confident: Mask, order: list[int]) -> list[int]:
        """Of several poses on the same person, the first in the order."""
        kept: list[int] = []
        for n in order:
            if all(self._distance(poses, confident, n, other) > self.config.same for other in kept):
                kept.append(n)
        return kept

    @staticmethod
    def _distance(poses: Poses, confident: Mask, a: int, b: int) -> float:
        """Mean distance over the shared confident points / size of the smaller person; inf below three."""
        shared = confident[a] & confident[b]
        if shared.sum() < 3:
            return float("inf")
        boxes = extent(poses.keypoints[[a, b]], confident[[a, b]])
        size = np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=1).min()
        apart = np.linalg.norm(poses.keypoints[a, shared] - poses.keypoints[b, shared], axis=1).mean()
        return float(apart / max(size, 1e-6))

    def _settle(self, owner: int, bbox: Float) -> int:
        """Move the track of a person who was seen, revive a missing one, or start one. Returns its id."""
        track = next((t for t in self._tracks if t.id == owner), None) or self._missing_near(bbox)
        if track is None:
            track = _Track(self._next_id, bbox)
            self._next_id += 1
            self._tracks.append(track)
        track.bbox = bbox if track.missing else self._ease(track.bbox, bbox)
        track.missing = 0
        return track.id

    def _missing_near(self, bbox: Float) -> _Track | None:
        lost = [t for t in self._tracks if t.missing]
        if not lost:
            return None
        overlaps = iou_matrix(np.array([t.bbox for t in lost]), bbox[None])[:, 0]
        best = int(overlaps.argmax())
        return lost[best] if overlaps[best] >= self.config.match_iou else None

    def _ease(self, old: Float, new: Float) -> Float:  # [4], [4] -> [4]
        """Stand still as long as the old box will do; else outwards at once and inwards slowly.

        The padding of the crop forgives a box that is a little off, but a crop that trembles makes every point
        in it tremble. A limb that comes into sight is not cut off, one that is missed for a frame does not make
        the box collapse. Nothing accumulates: each frame is compared with its own keypoints.
        """
        config, (width, height) = self.config, np.maximum(old[2:] - old[:2], 1)
        outwards = (new - old) * np.array([-1, -1, 1, 1]) / np.array([width, height, width, height])
        if (outwards <= config.hold_out).all() and (outwards >= -config.hold_in).all():
            return old
        return np.where(outwards > 0, new, old + config.shrink * (new - old)).astype(np.float32)

    def _age(self, seen: set[int]) -> None:
        for track in self._tracks:
            track.missing += track.id not in seen
        self._tracks = [t for t in self._tracks if t.missing <= self.config.max_missing]
