"""From a frame to the poses of its people: find, crop, run the net once, decode, follow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import models
from .appearance import appearance
from .boxes import areas, containment_matrix, given_boxes, search_windows
from .decision import person_features
from .detectors import Detector
from .errors import EdgeposeError
from .following import Following, moved
from .modelcard import RELATIVE, ModelCard
from .posemodel import PoseModel
from .runtime import Session
from .skeletons import Skeleton
from .smoothing import OneEuro
from .structures import Poses
from .topdown_config import TopdownConfig
from .torso import Torso
from .tracking import Tracker, Votes
from .transforms import to_bgr8
from .visibility import Visibility

Float = NDArray[np.float32]

_STAGES = ("detect", "crop", "network", "decode", "track")
_AT_ONCE = 1_000_000  # a count of frames that is above every interval
_CLOCK_TOLERANCE = 5e-4  # s: timestamps are rounded to milliseconds
TURNS = (90.0, -90.0, 180.0)  # degrees of the looks at a newcomer whose upright pose is not clear
TURN_MARGIN = 0.1  # mean score by which a turned look must be better
_FRAME_TIME = 1 / 30  # s, when the caller gives no timestamps


class TopdownEstimator:
    """Whole-body poses of the people in a frame.

    ``model``: ``"default"``, a shipped model's name, or the path of an ONNX file (edgepose, RTMPose, DWPose).
    ``detector``: a ``Detector``, the path of one, None for the shipped one, or ``"none"``; without one (or when
    none is shipped) people are found by the pose net itself.
    ``max_people``: at most so many, the largest and surest first. ``sequence``: frames follow each other and
    people are tracked (an attribute too); False for unrelated images. ``smooth``: One-Euro filter on
    tracked people. ``flip_test``: each person's mirror image is looked at too, and the mean counts: better, at twice
    the network's time; scores keep the calibration without it. ``score``: by name instead of the card's
    (`SimCC.decode` says which there are), ``refine`` likewise (``"none"``, ``"dark"``; of heat maps also
    ``"quarter"``). ``config``: how people are searched for, tracked and smoothed; its ``person_threshold`` is for
    detectors that are made here, not for a ``Detector`` that was given.

    Raises EdgeposeError in one sentence for what a user can get wrong.
    """

    def __init__(
        self,
        model: str | Path = "default",
        device: str = "auto",
        *,
        detector: str | Path | Detector | None = None,
        max_people: int | None = None,
        sequence: bool = True,
        threads: int | None = None,
        smooth: bool = False,
        flip_test: bool = False,
        score: str | None = None,
        refine: str | None = None,
        config: TopdownConfig | None = None,
    ) -> None:
        for name, value in (("max_people", max_people), ("threads", threads)):
            if value is not None and value < 1:
                raise EdgeposeError(f"{name} is {value}: give a whole number from 1, or None.")
        self.config = config = config or TopdownConfig()
        self._net = PoseModel(Session(model, device, threads), score, flip_test=flip_test, refine=refine)
        if detector is None:
            detector = "default" if models.has_default("detector") else "none"
        given = isinstance(detector, Detector)
        if not isinstance(detector, Detector):
            no_detector = str(detector) == "none"
            detector = None if no_detector else Detector(detector, device, config.person_threshold, threads=threads)
        self.detector: Detector | None = detector
        self._rule = config.person_rule if self._calibrated() else None
        if detector and self._rule and not given and config.person_threshold is None:
            detector.threshold = self._rule.lowest_detection
        self.max_people = max_people
        self.sequence = sequence
        self.last_timings_ms: dict[str, float] = dict.fromkeys(_STAGES, 0.0)
        self._tracker = Tracker(self.skeleton, self._net.thresholds, config.tracker)
        self._smoother = OneEuro(**asdict(config.smoothing)) if smooth else None
        self._visibility = Visibility(self.skeleton)
        self._upright = Torso(self.skeleton)
        self._following = Following(config.follow)
        self._since_search = _AT_ONCE  # frames since the whole frame was last searched
        self._searched_at = 0.0  # s, when that was
        self._clock = 0.0  # s, of the newest frame,
        self._elapsed = _FRAME_TIME  # and since the one before it

    def _calibrated(self) -> bool:
        """Whether both nets' scores mean what `PersonRule` was fitted to."""
        detector = getattr(self.detector, "card", None)  # a detector of the caller's own may have none
        stated = detector is not None and "person" in detector.thresholds  # unlike a card made up for a foreign file
        return stated and self._net.card.score in RELATIVE and bool(self._net.card.calibration)

    @property
    def card(self) -> ModelCard:
        return self._net.card

    @property
    def skeleton(self) -> Skeleton:
        return self._net.skeleton

    @property
    def thresholds(self) -> Float:  # [K]
        """The score from which each point is believed: the card's, part by part."""
        return self._net.thresholds

    @property
    def device(self) -> str:
        """Where the net really runs: ``"cpu"`` or ``"cuda"``."""
        return self._net.session.device

    def reset(self) -> None:
        """Forget the people of the sequence so far."""
        self._tracker.reset()
        self._visibility.reset()
        self._following.reset()
        if self._smoother:
            self._smoother.reset()
        self._since_search = _AT_ONCE

    def __call__(
        self,
        frame: NDArray[Any],  # [H, W, 3] BGR; gray, 16-bit and alpha are understood
        bboxes: ArrayLike | None = None,  # [N, 4] xyxy
        timestamp: float | None = None,  # s, of capture
    ) -> Poses:
        """The people of the frame.

        Given boxes are used as they are, every frame by itself, and everyone in them is reported. Otherwise
        people are tracked and searched for, and whoever scores too low to be a person is left out.
        """
        self.last_timings_ms = dict.fromkeys(_STAGES, 0.0)
        image, corner = self._region(to_bgr8(frame))
        before, self._clock = self._clock, self._clock + _FRAME_TIME if timestamp is None else timestamp
        self._elapsed = self._clock - before if self._clock > before else _FRAME_TIME
        size = image.shape[1], image.shape[0]
        if bboxes is not None:
            boxes = given_boxes("TopdownEstimator", bboxes) - np.tile(corner, 2)
            poses = self._turned(image, self._estimate(image, boxes, None))
            scores = self._tracker.person_scores(poses, self._tracker.confident(poses, size))
            return moved(replace(poses, bbox_scores=scores), corner)
        if not self.sequence:
            self.reset()
        boxes, owners, detections = self._boxes(image, size)
        poses = self._estimate(image, boxes, owners, rotations=self._rotations(len(boxes)))
        poses = self._turned(image, poses)
        with self._timed("track"):
            people = self._follow(poses, detections, image)
            return self._visibility(self._following(moved(people, corner), (frame.shape[1], frame.shape[0])))

    def _rotations(self, count: int) -> Float:  # -> [N]
        """By how much each crop is turned: known people as they lie, newcomers not at all."""
        known = self._tracker.rotations[:count] * self.config.turn_crops
        return np.concatenate([known, np.zeros(count - len(known), np.float32)])

    def _turned(self, image: NDArray[np.uint8], poses: Poses) -> Poses:
        """Newcomers without a clear pose are looked at on their sides and upside down too; the best look counts."""
        if not self.config.turn_crops or not self._upright.known:
            return poses
        clear = self._tracker.confident(poses, image.shape[1::-1]).mean(axis=1) >= self._tracker.config.clear
        rows = np.flatnonzero((poses.track_ids < 0) & ~clear)
        if not len(rows):
            return poses
        boxes = np.tile(poses.bboxes[rows], (len(TURNS), 1))
        looks = self._estimate(image, boxes, None, rotations=np.repeat(np.asarray(TURNS, np.float32), len(rows)))
        means = looks.scores.mean(axis=1).reshape(len(TURNS), -1)
        best = means.argmax(axis=0)
        better = means.max(axis=0) > poses.scores[rows].mean(axis=1) + TURN_MARGIN
        chosen, rows = (best * len(rows) + np.arange(len(rows)))[better], rows[better]
        keypoints, scores = poses.keypoints.copy(), poses.scores.copy()
        keypoints[rows], scores[rows] = looks.keypoints[chosen], looks.scores[chosen]
        return replace(poses, keypoints=keypoints, scores=scores)

    def _region(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Float]:  # [H, W, 3] -> [h, w, 3], [2]
        """The part of the frame that is looked at, and its left upper corner."""
        if self.config.roi is None:
            return image, np.zeros(2, np.float32)
        x, y, w, h = self.config.roi
        part = image[y : y + h, x : x + w]
        if not part.size:
            size = f"{image.shape[1]} × {image.shape[0]}"
            raise EdgeposeError(f"roi {x},{y},{w},{h} lies outside the image of {size} pixels.")
        return np.ascontiguousarray(part), np.array([x, y], np.float32)

    def _boxes(self, image: NDArray[np.uint8], size: tuple[int, int]) -> tuple[Float, NDArray[np.int64], Float]:
        """Boxes to look into, whose they are (−1: nobody's yet), and what the detector says about who is in doubt."""
        new, scores = self._new_boxes(image, size)  # first: a search may mend a track's box
        # Known people come first, so that `max_people` never trades one of them for a newcomer.
        tracker, most = self._tracker, self.max_people
        boxes = np.concatenate([tracker.bboxes, new])[:most]
        owners = np.concatenate([tracker.ids, np.full(len(new), -1)])[:most]
        return boxes, owners, np.concatenate([tracker.doubtful, scores])[:most]

    def _new_boxes(self, image: NDArray[np.uint8], size: tuple[int, int]) -> tuple[Float, Float]:  # [D, 4], [D]
        """Boxes of people who are not tracked yet, best first, on the frames on which it is time to look."""
        self._since_search += 1
        if not self._search_is_due():
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        self._since_search, self._searched_at = 0, self._clock
        boxes, scores = self._search(image, size) if self.detector is None else self._detect(image)
        new = self._tracker.unmatched(boxes, scores)
        return boxes[new], scores[new]

    def _search_is_due(self) -> bool:
        """Whether it is time to search the whole frame."""
        config, tracker, count = self.config, self._tracker, self._since_search
        if not tracker.complete:  # somebody is missing or was missed: a detector looks at every frame
            empty = config.search_empty_every if self.detector is None else config.detect_empty_every
            return count >= (1 if self.detector is not None and len(tracker.ids) else empty)
        if self.max_people is not None and len(tracker.ids) >= self.max_people and tracker.clear:
            return False  # nobody else is wanted, and every pose speaks for itself
        if config.detect_every_ms is not None:
            elapsed = self._clock - self._searched_at  # s; negative when the caller's clock starts anew
            return elapsed < 0 or elapsed >= config.detect_every_ms / 1000 - _CLOCK_TOLERANCE
        return count >= (config.search_every if self.detector is None else config.detect_every)

    def _follow(self, poses: Poses, detections: Float, image: NDArray[np.uint8]) -> Poses:
        before, size = self._tracker.complete, (image.shape[1], image.shape[0])
        colors = appearance(image, poses.bboxes) if self.sequence else None
        votes = self._votes(poses, detections, size)
        people = self._tracker.update(poses, size, colors, votes, self._elapsed if self.sequence else inf)
        if before and not self._tracker.complete:
            self._since_search = _AT_ONCE  # just lost: on the next frame, while they are still near
        if not self.sequence:
            return replace(people, track_ids=np.full(len(people), -1))
        return self._smoother(people, self._clock) if self._smoother else people

    def _votes(self, poses: Poses, detections: Float, size: tuple[int, int]) -> Votes | None:
        """Who is a person by both nets; None where no rule is known for them."""
        rule = self._rule
        if rule is None:
            return None
        judged = ~np.isnan(detections)
        features = person_features(detections, poses, self._tracker.confident(poses, size), size[1])
        likely = np.where(judged, rule.probability(np.nan_to_num(features)), 1)
        return Votes(likely >= 0.5, likely >= rule.sure)

    def _detect(self, image: NDArray[np.uint8]) -> tuple[Float, Float]:  # [D, 4], [D], best first
        assert self.detector is not None
        with self._timed("detect"):
            boxes, scores = self.detector(image)
        # Score × side: `max_people` is to keep the people in front, not a sharp figure far away.
        order = np.argsort(-scores * np.sqrt(areas(boxes)), kind="stable")
        return boxes[order], scores[order]

    def _search(self, image: NDArray[np.uint8], size: tuple[int, int]) -> tuple[Float, Float]:  # [D, 4], [D]
        """People by the pose net itself: a first look at the frame and at windows of it, in one call."""
        # Windows are crops already: padding would make the people in them smaller.
        poses = self._estimate(image, search_windows(size, self._net.aspect), None, padding=1.0)
        with self._timed("track"):
            confident = self._tracker.confident(poses, size, self.config.search_threshold)
            scores = self._tracker.person_scores(poses, confident)
            boxes = self._tracker.pose_boxes(poses, confident, size)
            weight = scores * np.sqrt(areas(boxes))
            order = [n for n in np.argsort(-weight, kind="stable") if weight[n] > 0]
            kept: list[int] = []
            for n in order:  # windows cut people: what lies inside a person already found is that person
                if (containment_matrix(boxes[[n]], boxes[kept]) < 0.5).all():
                    kept.append(int(n))
        return boxes[kept], scores[kept]

    def _estimate(
        self,
        image: NDArray[np.uint8],
        bboxes: Float,  # [N, 4]
        owners: NDArray[np.int64] | None,  # [N]
        padding: float | None = None,
        rotations: Float | None = None,  # [N] degrees
    ) -> Poses:
        """Crop, network, decode: one call for everybody."""
        count = len(bboxes)
        if not count:
            return Poses.empty(self.skeleton.num_keypoints)
        with self._timed("crop"):
            crops, affine = self._net.crop(image, bboxes, padding, rotations)
        with self._timed("network"):
            logits = self._net.run(crops)
        with self._timed("decode"):
            keypoints, scores = self._net.decode(logits, affine)
        ids = np.full(count, -1) if owners is None else owners
        return Poses(keypoints, scores, bboxes, ids, np.ones(count, np.float32))

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.last_timings_ms[stage] += (time.perf_counter() - start) * 1e3
