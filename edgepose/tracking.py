"""Tracking: ids of people from frame to frame, and the boxes to look into next. numpy alone.

People who cross are told apart by their motion: a hidden track moves on by its own speed, and a pose belongs to the
track whose predicted points it fits best. People who left are re-identified by their colors.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .boxes import boxes_from_keypoints, containment_matrix, extent, head_mask, iou_matrix
from .skeletons import Skeleton
from .structures import Poses
from .torso import Torso
from .tracks import MIN_SHARED, Track, TrackerConfig

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Votes(NamedTuple):
    """What one look says about each pose."""

    agree: Mask  # [N] it is a person's
    sure: Mask  # [N] so clearly that no other look is needed


class Tracker:
    """Keeps one box per person. The net looks for each person in their own box, so ids follow without matching.

    Per frame: ``bboxes`` and ``ids`` are the tracks to look for, ``unmatched`` tells which detections belong to none of
    them, ``update`` takes the poses that the net found there and returns those that are people.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        thresholds: Float | float = 0.3,  # [K] a point is confident from this score on
        config: TrackerConfig | None = None,
    ) -> None:
        self.config = config or TrackerConfig()
        self._head, self._torso = head_mask(skeleton), Torso(skeleton)
        self._thresholds = np.broadcast_to(np.asarray(thresholds, np.float32), (skeleton.num_keypoints,))
        count, config = skeleton.num_keypoints, self.config
        self._min_points = max(min(config.min_points, (count + 1) // 2), round(config.min_share * count))
        self._tracks: list[Track] = []
        self._lost: list[Track] = []  # not searched for any more, but may be recognized
        self._next_id = 1

    def reset(self) -> None:
        """Forget everybody. Ids are not given twice."""
        self._tracks.clear()
        self._lost.clear()

    @property
    def bboxes(self) -> Float:  # [M, 4]
        return np.array([track.bbox for track in self._tracks], np.float32).reshape(-1, 4)

    @property
    def ids(self) -> NDArray[np.int64]:  # [M]
        return np.array([track.id for track in self._tracks], np.int64)

    @property
    def rotations(self) -> Float:  # [M] degrees by which each person is turned
        return np.array([track.rotation for track in self._tracks], np.float32)

    @property
    def complete(self) -> bool:
        """Whether there is somebody and nobody is missing, in doubt or was missed by a search: no reason to search."""
        return bool(self._tracks) and all(
            track.confirmed and track.missing == 0 and track.missed_detections == 0 for track in self._tracks
        )

    @property
    def clear(self) -> bool:
        """Whether everybody's last pose speaks for itself: no reason to ask a detector."""
        return all(track.clear for track in self._tracks)

    @property
    def doubtful(self) -> Float:  # [M] score of the last search's detection of who is not shown yet; NaN: shown
        return np.array([np.nan if track.confirmed else track.detection for track in self._tracks], np.float32)

    def confident(self, poses: Poses, size: tuple[int, int], share: Float | float = 1.0) -> Mask:
        """Points [N, K] that are to be believed: inside the frame of ``size`` (W, H), and sure enough.

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

    def unmatched(self, bboxes: Float, scores: Float | None = None) -> NDArray[np.int64]:  # [D, 4], [D] -> [F] indices
        """Of what a search of the whole frame found, best first, the people who are not tracked.

        A track that has lost its shape gets the box of its detection; one without a detection has missed one.
        """
        scores = np.ones(len(bboxes), np.float32) if scores is None else scores
        for known in self._tracks:
            known.missed_detections += 1
            known.detection = 0.0
        free = np.ones(len(bboxes), bool)
        overlaps = iou_matrix(self.bboxes, bboxes)  # [M, D]
        present = np.array([track.missing == 0 for track in self._tracks], bool)
        for group in (present, ~present):  # a hidden person must not take the box of who stands in front
            left = np.where(group[:, None] & free, overlaps, -1)
            for _ in range(min(left.shape)):
                track, box = np.unravel_index(int(left.argmax()), left.shape)
                best = float(left[track, box])
                if best < self.config.match_iou:
                    break
                self._tracks[track].missed_detections, self._tracks[track].detection = 0, float(scores[box])
                if best < self.config.reshape_iou or self._tracks[track].missing:
                    self._tracks[track].bbox = bboxes[box].astype(np.float32)
                free[box] = False
                left[track], left[:, box] = -1, -1
        # What lies inside a track's box is a part of that person, or hidden behind: no second track for it.
        return np.flatnonzero(free & (containment_matrix(self.bboxes, bboxes) < self.config.inside).all(axis=0))

    def update(
        self,
        poses: Poses,
        size: tuple[int, int],  # (W, H) px
        appearance: Float | None = None,  # [N, BINS] people's colors, by which they are known when they return
        votes: Votes | None = None,
        elapsed: float = 1 / 30,  # s since the frame before; inf: there is none
    ) -> Poses:
        """The poses that are people, with ids, each person once. ``poses.track_ids``: whose box, or −1.

        ``votes`` say who is a person, of newcomers and of who is not shown yet; None: the poses alone decide.
        """
        config = self.config
        appearance = np.zeros((len(poses), 1), np.float32) if appearance is None else appearance
        known = poses.track_ids >= 0
        share = np.where(known if votes is None else known | votes.agree, config.keep, config.start)[:, None]
        confident = self.confident(poses, size, share)
        clear = self.confident(poses, size).mean(axis=1) >= config.clear
        scores = self.person_scores(poses, confident)
        near = containment_matrix(self.bboxes, self.bboxes) > config.crowd_overlap  # [M, M]
        crowd = set(self.ids[near.sum(axis=1) > 1].tolist())  # their boxes may show the wrong person
        poses = replace(poses, track_ids=self._owners(poses, confident, appearance, crowd))
        tracks = [self._track(int(owner)) for owner in poses.track_ids]
        costs = self._motion_costs(tracks, poses, confident)
        rejected = (scores == 0) | (costs > np.array([self._gate(int(owner), crowd) for owner in poses.track_ids]))
        occluded = self._maybe_occluded(near, poses.track_ids[clear])
        rejected |= ~clear & np.isin(poses.track_ids, self.ids[self._needs_clear_pose(occluded)])
        votes = Votes(scores > 0, clear) if votes is None else votes
        rejected |= ~known & ~votes.agree
        for n in np.flatnonzero(occluded):  # reason to search again on the next frame
            self._tracks[n].missed_detections = max(self._tracks[n].missed_detections, 1)
        # Who was in sight has the first right to a pose; those who were missing come next, newcomers last.
        rank = np.array([2 if track is None else min(track.missing, 1) for track in tracks], int)
        order = [n for n in np.lexsort((costs - scores, rank)) if not rejected[n]]
        kept = np.sort(np.array(self._without_duplicates(poses, confident, order), np.int64))
        people = poses[kept]
        boxes = self.pose_boxes(people, confident[kept], size)
        rows = zip(people.track_ids, boxes, people.keypoints, confident[kept], appearance[kept], strict=True)
        taken = set(people.track_ids.tolist())
        ids: list[int] = []
        for n, row in zip(kept, rows, strict=True):
            track = self._assign([t for t in self._tracks if t.id not in taken], crowd, *row)
            track.clear, track.missed_detections = bool(clear[n]), 0 if clear[n] else track.missed_detections
            track.rotation = self._torso.rotation(row[2], row[3], track.rotation)
            track.look(bool(votes.agree[n]), bool(votes.sure[n]), self._looks_needed(elapsed))
            taken.add(track.id)
            ids.append(track.id)
        shown = np.isin(ids, [known.id for known in self._tracks if known.confirmed])
        self._age(set(ids), size)
        return replace(people, track_ids=np.array(ids, np.int64), bbox_scores=scores[kept])[shown]

    def _looks_needed(self, elapsed: float) -> int:
        """How many looks must agree on a newcomer, who is to be shown in time at any frame rate."""
        return min(self.config.confirm, 1 + int(self.config.confirm_within / max(elapsed, 1e-3)))

    def _gate(self, owner: int, crowd: set[int]) -> float:
        """The largest motion cost of a pose that is believed to be the track's."""
        track = self._track(owner)
        if track is None or owner not in crowd:
            return 1.0
        # Where a detector has seen somebody, a pose may be further from the prediction.
        return self.config.motion_gate * (1 if track.bbox is track.own_bbox else 3)

    def _maybe_occluded(self, near: Mask, clear: NDArray[np.int64]) -> Mask:  # [M, M], ids -> [M]
        """Tracks that stand beside somebody whose pose is clear."""
        others = near & ~np.eye(len(near), dtype=bool)
        return np.asarray((others & np.isin(self.ids, clear)).any(axis=1))

    def _needs_clear_pose(self, occluded: Mask) -> Mask:  # [M] -> [M]
        """Tracks of whom only a clear pose is news: another may be of whoever stands in the way, or of nobody.

        Beside a clear person, somebody must be found by every search; elsewhere now and then will do.
        """
        missed = np.array([track.missed_detections for track in self._tracks], int)
        return np.asarray((occluded & (missed > 0)) | (missed >= self.config.max_missed_detections))

    def _owners(self, poses: Poses, confident: Mask, appearance: Float, crowd: set[int]) -> NDArray[np.int64]:  # [N]
        """The track of each pose. Two tracks swap poses where each box shows the other's person, as when people cross.

        Motion decides in a crowd, colors too where people stand apart again.
        """
        owners = poses.track_ids.copy()

        def cost(track: Track, n: int) -> float:
            # In a crowd a box shows the clothes of both, that of somebody missing whoever is there now.
            stranger = 0.0 if track.id in crowd or track.missing else track.appearance_cost(appearance[n])
            return track.motion_cost(poses.keypoints[n], confident[n]) + stranger

        known: list[int] = np.flatnonzero((owners >= 0) & (confident.sum(axis=1) >= MIN_SHARED)).tolist()
        for a, b in combinations(known, 2):
            first, second = self._track(int(owners[a])), self._track(int(owners[b]))
            if first is None or second is None:
                continue
            if cost(first, b) + cost(second, a) + self.config.swap_margin < cost(first, a) + cost(second, b):
                owners[[a, b]] = owners[[b, a]]
        return owners

    def _motion_costs(self, tracks: list[Track | None], poses: Poses, confident: Mask) -> Float:  # [N]
        """How far each pose is from where its track was going; 0 for newcomers."""
        rows = zip(tracks, poses.keypoints, confident, strict=True)
        return np.array([t.motion_cost(points, seen) if t else 0.0 for t, points, seen in rows], np.float32)

    def _track(self, owner: int) -> Track | None:
        return next((track for track in self._tracks if track.id == owner), None)

    def _without_duplicates(self, poses: Poses, confident: Mask, order: list[int]) -> list[int]:
        """Of several poses on the same person, the first in the order."""
        kept: list[int] = []
        for n in order:
            if all(self._distance(poses, confident, n, other) > self.config.duplicate_distance for other in kept):
                kept.append(n)
        return kept

    @staticmethod
    def _distance(poses: Poses, confident: Mask, a: int, b: int) -> float:
        """Mean distance over the shared confident points / size of the smaller person; inf below three."""
        shared = confident[a] & confident[b]
        if shared.sum() < MIN_SHARED:
            return float("inf")
        boxes = extent(poses.keypoints[[a, b]], confident[[a, b]])
        size = np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=1).min()
        apart = np.linalg.norm(poses.keypoints[a, shared] - poses.keypoints[b, shared], axis=1).mean()
        return float(apart / max(size, 1e-6))

    def _assign(
        self, free: list[Track], crowd: set[int], owner: int, bbox: Float, points: Float, seen: Mask, appearance: Float
    ) -> Track:
        """Update the track of a person who was seen, reactivate one without a pose, or start a new one."""
        track = self._track(owner) or self._nearest(free, bbox) or self._reidentified(free, appearance)
        if track is None:
            track = Track(self._next_id, bbox, points, seen, np.zeros(2, np.float32), appearance)
            self._next_id += 1
        if all(track is not other for other in self._tracks):  # equality of arrays is no truth
            self._tracks.append(track)
        if owner in crowd:
            track.update_in_crowd(points, seen, self.config.motion_gate)
        else:
            track.bbox = bbox if track.missing else track.held_box(bbox, self.config)
            track.update(points, seen, appearance, self.config)
        return track

    def _nearest(self, free: list[Track], bbox: Float) -> Track | None:
        """The track whose box the newcomer overlaps most, if that is enough."""
        if not free:
            return None
        overlaps = iou_matrix(np.array([t.bbox for t in free]), bbox[None])[:, 0]
        best = int(overlaps.argmax())
        if overlaps[best] < self.config.match_iou:
            return None
        free[best].missing = max(free[best].missing, 1)  # whose own box showed somebody else: the jump is no speed
        return free[best]

    def _reidentified(self, free: list[Track], appearance: Float) -> Track | None:
        """The absent track whose colors are most like the newcomer's, if alike enough; without place and speed."""
        absent = free + self._lost
        if not absent or not appearance.any():
            return None
        track = min(absent, key=lambda t: t.appearance_cost(appearance) if t.appearance.any() else 1)
        if not track.appearance.any() or track.appearance_cost(appearance) > 1 - self.config.reid_similarity:
            return None
        self._lost = [t for t in self._lost if t is not track]
        track.reactivate()
        return track

    def _age(self, seen: set[int], size: tuple[int, int]) -> None:
        """Unseen tracks move on, until they have left the frame or have been missing for too long."""
        for track in self._tracks:
            if track.id not in seen:
                track.predict(self.config.predict_inertia)
                track.looks += 1
        doubted = [t for t in self._tracks if not t.confirmed and t.looks >= self.config.confirm_of]
        self._tracks = [t for t in self._tracks if all(t is not other for other in doubted)]
        for track in self._lost:
            track.missing += 1
        old = {t.id for t in self._tracks if t.missing > self.config.max_age}
        gone = old | {t.id for t in self._tracks if t.missing and t.outside(size, self.config.visible)}
        self._lost += [track for track in self._tracks if track.id in gone and track.confirmed]
        self._lost = [track for track in self._lost if track.missing <= self.config.reid_max_age]
        self._tracks = [track for track in self._tracks if track.id not in gone]
