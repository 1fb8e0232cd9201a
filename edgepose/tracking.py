"""Who is who from frame to frame, and where to look for them next. numpy alone.

People who cross are told apart by where they were going: whoever is hidden keeps moving unseen, and a pose belongs
to the track whose points, moved on, it fits best. People who left are known again by what they look like.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .boxes import boxes_from_keypoints, containment_matrix, extent, head_mask, iou_matrix
from .skeletons import Skeleton
from .structures import Poses
from .tracks import FEW, Track, TrackerConfig

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]


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
        self._tracks: list[Track] = []
        self._left: list[Track] = []  # whom nobody looks for any more, but who may come back
        self._next_id = 1

    def reset(self) -> None:
        """Forget everybody. Ids are not given twice."""
        self._tracks.clear()
        self._left.clear()

    @property
    def bboxes(self) -> Float:  # [M, 4]
        return np.array([track.bbox for track in self._tracks], np.float32).reshape(-1, 4)

    @property
    def ids(self) -> NDArray[np.int64]:  # [M]
        return np.array([track.id for track in self._tracks], np.int64)

    @property
    def complete(self) -> bool:
        """Whether there is somebody and nobody is missing or in doubt: no reason to search."""
        return bool(self._tracks) and all(track.missing == 0 and track.doubts == 0 for track in self._tracks)

    @property
    def clear(self) -> bool:
        """Whether everybody's last pose speaks for itself: no reason to ask a detector."""
        return all(track.clear for track in self._tracks)

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

    def fresh(self, bboxes: Float) -> NDArray[np.int64]:  # [D, 4], best first -> [F] indices
        """Of what a look at the whole frame found, the people who are not tracked.

        A track that has lost its shape gets the box of its detection, one without a detection falls into doubt.
        """
        for known in self._tracks:
            known.doubts += 1
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
                self._tracks[track].doubts = 0
                if best < self.config.reshape_iou or self._tracks[track].missing:
                    self._tracks[track].bbox = bboxes[box].astype(np.float32)
                free[box] = False
                left[track], left[:, box] = -1, -1
        # What lies inside a track's box is a part of that person, or hidden behind: no second track for it.
        return np.flatnonzero(free & (containment_matrix(self.bboxes, bboxes) < self.config.inside).all(axis=0))

    def update(self, poses: Poses, size: tuple[int, int], looks: Float | None = None) -> Poses:
        """The poses that are people, with ids, each person once. ``poses.track_ids``: whose box, or −1.

        ``looks`` [N, BINS] are the people's colors (``appearance``), by which they are known when they return.
        """
        looks = np.zeros((len(poses), 1), np.float32) if looks is None else looks
        known = poses.track_ids >= 0
        share = np.where(known, self.config.keep, self.config.start)[:, None]
        confident = self.confident(poses, size, share)
        clear = self.confident(poses, size).mean(axis=1) >= self.config.clear
        scores = self.person_scores(poses, confident)
        near = containment_matrix(self.bboxes, self.bboxes) > self.config.crowded  # [M, M]
        crowd = set(self.ids[near.sum(axis=1) > 1].tolist())  # their boxes may show the wrong person
        poses = replace(poses, track_ids=self._owners(poses, confident, looks, crowd))
        tracks = [self._track(int(owner)) for owner in poses.track_ids]
        misfits = self._misfits(tracks, poses, confident)
        nobody = (scores == 0) | (misfits > np.array([self._leeway(int(owner), crowd) for owner in poses.track_ids]))
        shadowed = self._shadowed(near, poses.track_ids[clear])
        nobody |= ~clear & np.isin(poses.track_ids, self.ids[self._questionable(shadowed)])
        for n in np.flatnonzero(shadowed):
            self._tracks[n].doubts = max(self._tracks[n].doubts, 1)
        # Who was in sight has the first right to a pose; those who were missing come next, newcomers last.
        rank = np.array([2 if track is None else min(track.missing, 1) for track in tracks], int)
        order = [n for n in np.lexsort((misfits - scores, rank)) if not nobody[n]]
        kept = np.sort(np.array(self._distinct(poses, confident, order), np.int64))
        people = poses[kept]
        boxes = self.pose_boxes(people, confident[kept], size)
        rows = zip(people.track_ids, boxes, people.keypoints, confident[kept], looks[kept], strict=True)
        taken = set(people.track_ids.tolist())
        ids: list[int] = []
        for row, sure in zip(rows, clear[kept], strict=True):
            track = self._settle([t for t in self._tracks if t.id not in taken], crowd, *row)
            track.clear, track.doubts = bool(sure), 0 if sure else track.doubts
            taken.add(track.id)
            ids.append(track.id)
        self._age(set(ids), size)
        return replace(people, track_ids=np.array(ids, np.int64), bbox_scores=scores[kept])

    def _leeway(self, owner: int, crowd: set[int]) -> float:
        """The largest misfit of a pose that is believed to be the track's."""
        track = self._track(owner)
        if track is None or owner not in crowd:
            return 1.0
        tried = track.bbox is not track.home  # a detector has seen somebody here
        return self.config.swerve * (3 if tried else 1)

    def _shadowed(self, near: Mask, clear: NDArray[np.int64]) -> Mask:  # [M, M], ids -> [M]
        """Tracks that stand beside somebody whose pose is clear."""
        others = near & ~np.eye(len(near), dtype=bool)
        return np.asarray((others & np.isin(self.ids, clear)).any(axis=1))

    def _questionable(self, shadowed: Mask) -> Mask:  # [M] -> [M]
        """Tracks of whom only a clear pose is news: another may be of whoever stands in the way, or of nobody.

        Beside a clear person, somebody must be found by every look; elsewhere now and then will do.
        """
        doubts = np.array([track.doubts for track in self._tracks], int)
        return np.asarray((shadowed & (doubts > 0)) | (doubts >= self.config.doubts))

    def _owners(self, poses: Poses, confident: Mask, looks: Float, crowd: set[int]) -> NDArray[np.int64]:  # [N]
        """Whose pose each is: two tracks whose boxes saw each other's person, as when people cross, change over.

        Points and speed tell it in a crowd, colors where people stand apart again.
        """
        owners = poses.track_ids.copy()

        def cost(track: Track, n: int) -> float:
            stranger = 0.0 if track.id in crowd or track.missing else track.strangeness(looks[n])
            return track.misfit(poses.keypoints[n], confident[n]) + stranger

        known: list[int] = np.flatnonzero((owners >= 0) & (confident.sum(axis=1) >= FEW)).tolist()
        for a, b in combinations(known, 2):
            first, second = self._track(int(owners[a])), self._track(int(owners[b]))
            if first is None or second is None:
                continue
            if cost(first, b) + cost(second, a) + self.config.exchange < cost(first, a) + cost(second, b):
                owners[[a, b]] = owners[[b, a]]
        return owners

    def _misfits(self, tracks: list[Track | None], poses: Poses, confident: Mask) -> Float:  # [N]
        """How far each pose is from where its track was going; 0 for newcomers."""
        rows = zip(tracks, poses.keypoints, confident, strict=True)
        return np.array([t.misfit(points, seen) if t else 0.0 for t, points, seen in rows], np.float32)

    def _track(self, owner: int) -> Track | None:
        return next((track for track in self._tracks if track.id == owner), None)

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
        if shared.sum() < FEW:
            return float("inf")
        boxes = extent(poses.keypoints[[a, b]], confident[[a, b]])
        size = np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=1).min()
        apart = np.linalg.norm(poses.keypoints[a, shared] - poses.keypoints[b, shared], axis=1).mean()
        return float(apart / max(size, 1e-6))

    def _settle(
        self, free: list[Track], crowd: set[int], owner: int, bbox: Float, points: Float, seen: Mask, looks: Float
    ) -> Track:
        """Move the track of a person who was seen, revive one of those without a pose, or start one."""
        track = self._track(owner) or self._near(free, bbox) or self._returned(free, looks)
        if track is None:
            track = Track(self._next_id, bbox, points, seen, np.zeros(2, np.float32), looks)
            self._next_id += 1
        if all(track is not other for other in self._tracks):  # equality of arrays is no truth
            self._tracks.append(track)
        if owner in crowd:
            track.squeeze_through(points, seen, self.config.swerve)
        else:
            track.bbox = bbox if track.missing else self._ease(track.bbox, bbox)
            track.follow(points, seen, looks, self.config)
        return track

    def _near(self, free: list[Track], bbox: Float) -> Track | None:
        """The one whose place a newcomer is at."""
        if not free:
            return None
        overlaps = iou_matrix(np.array([t.bbox for t in free]), bbox[None])[:, 0]
        best = int(overlaps.argmax())
        if overlaps[best] < self.config.match_iou:
            return None
        free[best].missing = max(free[best].missing, 1)  # whose own box showed somebody else: the jump is no speed
        return free[best]

    def _returned(self, free: list[Track], looks: Float) -> Track | None:
        """The one of those who are away that a newcomer looks like. Their old place and speed say nothing any more."""
        absent = free + self._left
        if not absent or not looks.any():
            return None
        track = min(absent, key=lambda t: t.strangeness(looks) if t.looks.any() else 1)
        if not track.looks.any() or track.strangeness(looks) > 1 - self.config.alike:
            return None
        self._left = [t for t in self._left if t is not track]
        track.come_back()
        return track

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

    def _age(self, seen: set[int], size: tuple[int, int]) -> None:
        """Whom nobody saw moves on, until they have left the frame or have been missing for too long."""
        for track in self._tracks:
            if track.id not in seen:
                track.coast(self.config.coast)
        for track in self._left:
            track.missing += 1
        gone = {
            t.id
            for t in self._tracks
            if t.missing > self.config.max_missing or (t.missing and t.outside(size, self.config.visible))
        }
        self._left += [track for track in self._tracks if track.id in gone]
        self._left = [track for track in self._left if track.missing <= self.config.memory]
        self._tracks = [track for track in self._tracks if track.id not in gone]
