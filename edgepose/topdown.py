"""From a frame to the poses of its people: find, crop, run the net once, decode, follow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import models
from .appearance import appearance
from .boxes import containment_matrix, search_windows
from .detectors import Detector
from .errors import EdgeposeError
from .modelcard import ModelCard
from .posemodel import PoseModel
from .runtime import Session
from .skeletons import Skeleton
from .smoothing import OneEuro, SmoothingConfig
from .structures import Poses
from .tracking import Tracker
from .tracks import TrackerConfig
from .transforms import to_bgr8

Float = NDArray[np.float32]

_STAGES = ("detect", "crop", "network", "decode", "track")
_AT_ONCE = 1_000_000  # a count of frames that is above every interval
_CLOCK_TOLERANCE = 5e-4  # s: timestamps are rounded to milliseconds
_FAR = 1e6  # px: a given box beyond it is a mistake, and float32 could not tell its pixels apart
_FRAME_TIME = 1 / 30  # s, when the caller gives no timestamps


@dataclass(frozen=True)
class TopdownConfig:
    """How people are searched for, tracked and smoothed.

    Raises EdgeposeError for an interval or a threshold that makes no sense.
    """

    # Known people are followed by their own points, so the whole frame is searched now and then only: to find
    # newcomers, and at once when somebody is lost, whatever the intervals.
    detect_every_ms: float | None = None  # ms between two searches while everybody is in sight; None: the frames below
    detect_every: int = 10  # frames, the same, with a detector
    detect_empty_every: int = 3  # frames while nobody is there
    # Without a detector the pose net itself searches, at the cost of several people:
    search_every: int = 60  # frames while everybody is in sight
    search_empty_every: int = 5  # frames while nobody is there or somebody is missing: an idle camera costs little
    search_threshold: float = 0.5  # share of the points' thresholds that makes a place worth a second, closer look
    person_threshold: float | None = None  # lowest score of a detection, 0 to 1; None: the detector's own
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)

    def __post_init__(self) -> None:
        for name in ("detect_every_ms", "detect_every", "detect_empty_every", "search_every", "search_empty_every"):
            value = getattr(self, name)
            if value is not None and not 0 < value < inf:
                raise EdgeposeError(f"{name} is {value}: give a number above 0.")
        if self.person_threshold is not None and not 0 <= self.person_threshold <= 1:
            raise EdgeposeError(f"person_threshold is {self.person_threshold}: give a number from 0 to 1.")


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
        if not isinstance(detector, Detector):
            no_detector = str(detector) == "none"
            detector = None if no_detector else Detector(detector, device, config.person_threshold, threads=threads)
        self.detector: Detector | None = detector
        self.max_people = max_people
        self.sequence = sequence
        self.last_timings_ms: dict[str, float] = dict.fromkeys(_STAGES, 0.0)
        self._tracker = Tracker(self.skeleton, self._net.thresholds, config.tracker)
        self._smoother = OneEuro(**asdict(config.smoothing)) if smooth else None
        self._since_search = _AT_ONCE  # frames since the whole frame was last searched
        self._searched_at = 0.0  # s, when that was
        self._clock = 0.0  # s, of the newest frame

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
        image = to_bgr8(frame)
        self._clock = self._clock + _FRAME_TIME if timestamp is None else timestamp
        size = image.shape[1], image.shape[0]
        if bboxes is not None:
            poses = self._estimate(image, _checked_boxes(bboxes), None)
            scores = self._tracker.person_scores(poses, self._tracker.confident(poses, size))
            return replace(poses, bbox_scores=scores)
        if not self.sequence:
            self.reset()
        boxes, owners = self._boxes(image, size)
        poses = self._estimate(image, boxes, owners)
        with self._timed("track"):
            return self._follow(poses, image)

    def _boxes(self, image: NDArray[np.uint8], size: tuple[int, int]) -> tuple[Float, NDArray[np.int64]]:
        """Boxes to look into, and whose they are (−1: nobody's yet)."""
        new = self._new_boxes(image, size)  # first: a search may mend a track's box
        # Known people come first, so that `max_people` never trades one of them for a newcomer.
        boxes, owners = self._tracker.bboxes, self._tracker.ids
        boxes = np.concatenate([boxes, new])[: self.max_people]
        return boxes, np.concatenate([owners, np.full(len(new), -1)])[: self.max_people]

    def _new_boxes(self, image: NDArray[np.uint8], size: tuple[int, int]) -> Float:  # [D, 4], best first
        """Boxes of people who are not tracked yet, on the frames on which it is time to look."""
        self._since_search += 1
        if not self._search_is_due():
            return np.zeros((0, 4), np.float32)
        self._since_search, self._searched_at = 0, self._clock
        found = self._search(image, size) if self.detector is None else self._detect(image)
        return found[self._tracker.unmatched(found)]

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

    def _follow(self, poses: Poses, image: NDArray[np.uint8]) -> Poses:
        before, size = self._tracker.complete, (image.shape[1], image.shape[0])
        people = self._tracker.update(poses, size, appearance(image, poses.bboxes) if self.sequence else None)
        if before and not self._tracker.complete:
            self._since_search = _AT_ONCE  # just lost: on the next frame, while they are still near
        if not self.sequence:
            return replace(people, track_ids=np.full(len(people), -1))
        return self._smoother(people, self._clock) if self._smoother else people

    def _detect(self, image: NDArray[np.uint8]) -> Float:  # [D, 4], best first
        assert self.detector is not None
        with self._timed("detect"):
            boxes, scores = self.detector(image)
        # Score × side: `max_people` is to keep the people in front, not a sharp figure far away.
        return boxes[np.argsort(-scores * np.sqrt(_areas(boxes)), kind="stable")]

    def _search(self, image: NDArray[np.uint8], size: tuple[int, int]) -> Float:  # [D, 4], best first
        """People by the pose net itself: a first look at the frame and at windows of it, in one call."""
        # Windows are crops already: padding would make the people in them smaller.
        poses = self._estimate(image, search_windows(size, self._net.aspect), None, padding=1.0)
        with self._timed("track"):
            confident = self._tracker.confident(poses, size, self.config.search_threshold)
            scores = self._tracker.person_scores(poses, confident)
            boxes = self._tracker.pose_boxes(poses, confident, size)
            weight = scores * np.sqrt(_areas(boxes))
            order = [n for n in np.argsort(-weight, kind="stable") if weight[n] > 0]
            kept: list[int] = []
            for n in order:  # windows cut people: what lies inside a person already found is that person
                if (containment_matrix(boxes[[n]], boxes[kept]) < 0.5).all():
                    kept.append(int(n))
        return boxes[kept]

    def _estimate(
        self,
        image: NDArray[np.uint8],
        bboxes: Float,  # [N, 4]
        owners: NDArray[np.int64] | None,  # [N]
        padding: float | None = None,
    ) -> Poses:
        """Crop, network, decode: one call for everybody."""
        count = len(bboxes)
        if not count:
            return Poses.empty(self.skeleton.num_keypoints)
        with self._timed("crop"):
            crops, affine = self._net.crop(image, bboxes, padding)
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


def _areas(boxes: Float) -> Float:  # [N, 4] -> [N]
    area: Float = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    return area


def _checked_boxes(bboxes: ArrayLike) -> Float:  # -> [N, 4]
    boxes = np.asarray(bboxes, np.float32)
    boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"TopdownEstimator: bboxes expected [N, 4] xyxy, got {list(boxes.shape)}")
    if not (np.abs(boxes) <= _FAR).all():  # NaN fails too
        worst = boxes.flat[int(np.argmax(np.where(np.isnan(boxes), np.inf, np.abs(boxes))))]
        raise ValueError(f"TopdownEstimator: bboxes expected within ±{_FAR:g} px, got {worst:g}")
    return boxes
