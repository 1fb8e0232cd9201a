"""One tracked person: where the points are, where they are going, what the person looks like. numpy alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .appearance import similarity
from .boxes import clip_boxes

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

FEW = 3  # fewer shared points say nothing about a distance


@dataclass(frozen=True)
class TrackerConfig:
    """Every knob of the tracker."""

    start: float = 1.0  # share of the points' thresholds that a new person must reach
    keep: float = 0.7  # the same for a known person, who is believed more readily
    min_points: int = 4  # fewer confident points are nobody,
    min_share: float = 0.06  # nor is a smaller share of all points: many points have many chances to err
    clear: float = 0.5  # share of all points from which a pose speaks for itself: a weaker one may be a mix, or a coat
    doubts: int = 3  # looks in a row that did not find somebody, from which only such a pose is believed
    max_missing: int = 45  # frames that a missing person's place is searched: as long as others may hide them
    memory: int = 450  # frames that a person who left is remembered
    alike: float = 0.5  # overlap of two people's colors from which a newcomer is somebody who left
    inertia: float = 0.7  # how much of its speed a track keeps from frame to frame
    coast: float = 0.98  # the same while nobody sees the person
    crowded: float = 0.3  # share of the smaller box from which two tracks stand in each other's way,
    swerve: float = 0.08  # and how far (misfit) a pose may then be from where its track was going
    exchange: float = 0.25  # two tracks change over where that fits better by so much
    match_iou: float = 0.3  # a detection and a track are the same person
    reshape_iou: float = (
        0.6  # a detection that overlaps its track less replaces the track's box, which has lost its shape
    )
    inside: float = 0.8  # share of a detection from which it is a part of the person whose box it lies in
    visible: float = 0.3  # share of a missing person's box below which they have left the frame
    new_looks: float = 0.1  # share of a frame's colors in the remembered ones: light changes slowly
    same: float = 0.12  # two poses this near (mean distance / size of the smaller) are the same person
    shrink: float = 0.25  # how far an edge moves inwards per frame
    hold_out: float = 0.05  # the box stays while no edge would move outwards by more than this fraction of it
    hold_in: float = 0.10  # nor inwards by more than this


@dataclass
class Track:
    """The state of one person. Pixels of the frame."""

    id: int
    bbox: Float  # [4] xyxy, where to look in the next frame
    points: Float  # [K, 2] where they were last
    seen: Mask  # [K] which of them
    velocity: Float  # [2] px per frame
    looks: Float  # [BINS] colors, zeros if unknown
    missing: int = 0  # frames since the person was last seen
    doubts: int = 0  # looks at the whole frame in a row that did not find the person
    clear: bool = True  # whether the last pose spoke for itself
    home: Float = field(init=False)  # [4] the own box: a detection's may be tried in its place

    def __post_init__(self) -> None:
        self.home = self.bbox

    @property
    def size(self) -> float:
        """Diagonal of the box."""
        return max(float(np.linalg.norm(self.bbox[2:] - self.bbox[:2])), 1e-6)

    def misfit(self, points: Float, confident: Mask) -> float:  # [K, 2], [K] -> [0, 1]
        """Median distance of a pose to the own points, moved on, in sizes; 0 if they share too few."""
        shared = self.seen & confident
        if shared.sum() < FEW:
            return 0.0
        return min(float(np.median(self._apart(points)[shared])) / self.size, 1.0)

    def _apart(self, points: Float) -> Float:  # [K, 2] -> [K]
        return np.asarray(np.linalg.norm(points - self.points - self.velocity, axis=1), np.float32)

    def strangeness(self, looks: Float) -> float:  # [BINS] -> [0, 1]
        """1 − the overlap of colors; 0 where they are not known."""
        if not (looks.any() and self.looks.any()):
            return 0.0
        return 1 - float(similarity(looks[None], self.looks[None])[0, 0])

    def follow(self, points: Float, seen: Mask, looks: Float, config: TrackerConfig) -> None:
        """Take over where the person is now; the speed is the median point's, which no waving hand moves."""
        shared = self.seen & seen
        if shared.sum() >= FEW and not self.missing:
            step = np.median(points[shared] - self.points[shared], axis=0)
            self.velocity = np.asarray(config.inertia * self.velocity + (1 - config.inertia) * step, np.float32)
        if looks.any():
            self.looks = self.looks + np.float32(config.new_looks) * (looks - self.looks) if self.looks.any() else looks
        self.points, self.seen, self.missing, self.home = points, seen, 0, self.bbox

    def squeeze_through(self, points: Float, seen: Mask, swerve: float) -> None:
        """The same among others, of whom any point and the whole extent may be: what fits moves the rest and the box.

        Speed and colors stay as they were before.
        """
        fits = self.seen & seen & (self._apart(points) <= 2 * swerve * self.size)
        step = np.median(points[fits] - self.points[fits], axis=0) if fits.sum() >= FEW else self.velocity
        self.points = np.where(fits[:, None], points, self.points + step).astype(np.float32)
        self.home = self.bbox = np.asarray(self.bbox + np.tile(step, 2), np.float32)
        self.missing = 0

    def coast(self, damping: float) -> None:
        """Move on unseen."""
        self.home = self.bbox = self.home + np.tile(self.velocity, 2)
        self.points = self.points + self.velocity
        self.velocity = self.velocity * np.float32(damping)
        self.missing += 1

    def come_back(self) -> None:
        """Forget place and speed: they say nothing about somebody who was away."""
        self.seen, self.velocity, self.missing = np.zeros_like(self.seen), np.zeros(2, np.float32), 1

    def outside(self, size: tuple[int, int], visible: float) -> bool:
        """Whether most of the box has left a frame of (W, H)."""
        inside = clip_boxes(self.bbox[None], size)[0]
        return bool(np.prod(inside[2:] - inside[:2]) < visible * np.prod(self.bbox[2:] - self.bbox[:2]))
