"""One tracked person: points, velocity and appearance; and the knobs of the tracker. numpy alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .appearance import similarity
from .boxes import clip_boxes

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

MIN_SHARED = 3  # fewer shared points say nothing about a distance


@dataclass(frozen=True)
class TrackerConfig:
    """Every knob of the tracker. Frames are the caller's, whatever their rate; the values were set at 30 a second."""

    # Who is a person. A known one needs less: giving up a person who turns away costs an id, a false one flickers.
    start: float = 1.0  # share of the points' thresholds that a new person must reach
    keep: float = 0.7  # the same for a known person
    min_points: int = 4  # fewer confident points are nobody (of skeletons of six or less, half of them is enough),
    min_share: float = 0.06  # nor is a smaller share of all points: many points have many chances to err
    clear: float = 0.5  # share of all points from which a pose speaks for itself: a weaker one may be a mix, or a coat
    duplicate_distance: float = 0.12  # two poses this near are one person: mean distance / size of the smaller

    # A newcomer is shown once enough looks agree that there is a person, at once if one look is sure.
    confirm: int = 3  # looks that must agree,
    confirm_of: int = 5  # of so many; then the place is given up
    confirm_within: float = 0.2  # s in which the agreeing looks must fit: fewer are asked for at low frame rates

    # Detections and tracks.
    match_iou: float = 0.3  # a detection and a track are the same person
    reshape_iou: float = 0.6  # below it the track has lost its shape: it gets the box of its detection
    inside: float = 0.8  # share of a detection from which it is a part of the person whose box it lies in
    max_missed_detections: int = 3  # searches in a row without the person, from which only a clear pose is believed

    # Who is not seen moves on and is searched for, then remembered.
    max_age: int = 45  # frames that a missing person is searched for: 1.5 s, as long as others may hide them
    visible: float = 0.3  # share of a missing person's box below which they have left the frame
    reid_max_age: int = 450  # frames that a person who left can be recognized: 15 s
    reid_similarity: float = 0.5  # overlap of colors from which a newcomer is somebody who left
    appearance_rate: float = 0.1  # share of a frame's colors in the remembered ones: light changes slowly

    # Motion. Speeds are px a frame; costs are distances / diagonal of the box.
    inertia: float = 0.7  # share of its speed that a track keeps from frame to frame: one noisy frame does not turn it
    predict_inertia: float = 0.98  # the same while nobody sees the person: nobody walks straight on for ever
    crowd_overlap: float = 0.3  # share of the smaller box from which two tracks stand in each other's way,
    motion_gate: float = 0.08  # and how far (motion cost) a pose may then be from where its track was going
    swap_margin: float = 0.25  # two tracks change over where that costs less by so much: no swaps by noise

    # The box that is cropped: at rest it must not move, as every point in it would move along.
    hold_out: float = 0.05  # it stays while no edge would move outwards by more than this fraction of it,
    hold_in: float = 0.10  # nor inwards by more than this
    shrink: float = 0.25  # share of the way that an edge moves inwards in a frame


@dataclass
class Track:
    """The state of one person. Pixels of the frame."""

    id: int
    bbox: Float  # [4] xyxy, where to look in the next frame
    points: Float  # [K, 2] where they were last
    seen: Mask  # [K] which of them
    velocity: Float  # [2] px per frame
    appearance: Float  # [BINS] colors, zeros if unknown
    missing: int = 0  # frames since the person was last seen
    missed_detections: int = 0  # searches of the whole frame in a row that did not find the person
    clear: bool = True  # whether the last pose spoke for itself
    detection: float = 0.0  # score of the last search's detection of the person, 0: it found none
    confirmed: bool = False  # whether the person is shown
    looks: int = 0  # before that: at this place,
    agreed: int = 0  # and how many of them saw a person
    rotation: float = 0.0  # degrees by which the person, and the next crop, is turned
    own_bbox: Float = field(init=False)  # [4] the own box: a detection's may be tried in its place

    def __post_init__(self) -> None:
        self.own_bbox = self.bbox

    @property
    def size(self) -> float:
        """Diagonal of the box."""
        return max(float(np.linalg.norm(self.bbox[2:] - self.bbox[:2])), 1e-6)

    def motion_cost(self, points: Float, confident: Mask) -> float:  # [K, 2], [K] -> [0, 1]
        """Median distance of a pose to the predicted own points, in sizes; 0 if they share too few.

        The median: a waving hand, or a few points on somebody else, do not count.
        """
        shared = self.seen & confident
        if shared.sum() < MIN_SHARED:
            return 0.0
        return min(float(np.median(self._distances(points)[shared])) / self.size, 1.0)

    def _distances(self, points: Float) -> Float:  # [K, 2] -> [K]
        return np.asarray(np.linalg.norm(points - self.points - self.velocity, axis=1), np.float32)

    def appearance_cost(self, appearance: Float) -> float:  # [BINS] -> [0, 1]
        """1 − the overlap of colors; 0 where they are not known."""
        if not (appearance.any() and self.appearance.any()):
            return 0.0
        return 1 - float(similarity(appearance[None], self.appearance[None])[0, 0])

    def update(self, points: Float, seen: Mask, appearance: Float, config: TrackerConfig) -> None:
        """Take over where the person is now; the speed is the median point's, which no waving hand moves."""
        # After an absence the step says where the person reappeared, not how fast they walk.
        shared = self.seen & seen
        if shared.sum() >= MIN_SHARED and not self.missing:
            step = np.median(points[shared] - self.points[shared], axis=0)
            self.velocity = np.asarray(config.inertia * self.velocity + (1 - config.inertia) * step, np.float32)
        if not self.appearance.any():
            self.appearance = appearance
        elif appearance.any():
            self.appearance = self.appearance + np.float32(config.appearance_rate) * (appearance - self.appearance)
        self.points, self.seen, self.missing, self.own_bbox = points, seen, 0, self.bbox

    def update_in_crowd(self, points: Float, seen: Mask, motion_gate: float) -> None:
        """The same among others, of whom any point and the whole extent may be: what fits moves the rest and the box.

        Speed and colors stay as they were before.
        """
        fits = self.seen & seen & (self._distances(points) <= 2 * motion_gate * self.size)
        step = np.median(points[fits] - self.points[fits], axis=0) if fits.sum() >= MIN_SHARED else self.velocity
        self.points = np.where(fits[:, None], points, self.points + step).astype(np.float32)
        self.own_bbox = self.bbox = np.asarray(self.bbox + np.tile(step, 2), np.float32)
        self.missing = 0

    def look(self, agrees: bool, sure: bool, needed: int) -> None:
        """Count a look at somebody who is not shown yet; shown from ``needed`` that agree, or one that is sure."""
        self.looks += 1
        self.agreed += agrees
        self.confirmed |= agrees and (sure or self.agreed >= needed)

    def held_box(self, new: Float, config: TrackerConfig) -> Float:  # [4] -> [4]
        """Stand still as long as the old box will do; else outwards at once and inwards slowly.

        The padding of the crop forgives a box that is a little off, but a crop that trembles makes every point
        in it tremble. A limb that comes into sight is not cut off, one that is missed for a frame does not make
        the box collapse. Nothing accumulates: each frame is compared with its own keypoints.
        """
        old = self.bbox
        width, height = np.maximum(old[2:] - old[:2], 1)
        outwards = (new - old) * np.array([-1, -1, 1, 1]) / np.array([width, height, width, height])
        if (outwards <= config.hold_out).all() and (outwards >= -config.hold_in).all():
            return old
        return np.where(outwards > 0, new, old + config.shrink * (new - old)).astype(np.float32)

    def predict(self, damping: float) -> None:
        """Move on unseen."""
        # From the own box: a detection's, tried in its place, has shown nobody.
        self.own_bbox = self.bbox = self.own_bbox + np.tile(self.velocity, 2)
        self.points = self.points + self.velocity
        self.velocity = self.velocity * np.float32(damping)
        self.missing += 1

    def reactivate(self) -> None:
        """Forget place and speed: they say nothing about somebody who was away."""
        self.seen, self.velocity, self.missing = np.zeros_like(self.seen), np.zeros(2, np.float32), 1

    def outside(self, size: tuple[int, int], visible: float) -> bool:
        """Whether most of the box has left a frame of (W, H)."""
        inside = clip_boxes(self.bbox[None], size)[0]
        return bool(np.prod(inside[2:] - inside[:2]) < visible * np.prod(self.bbox[2:] - self.bbox[:2]))
