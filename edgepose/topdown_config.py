"""The settings of `TopdownEstimator`."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from .decision import PersonRule
from .errors import EdgeposeError
from .following import WHOM
from .smoothing import SmoothingConfig
from .tracks import TrackerConfig


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
    person_threshold: float | None = None  # lowest score of a detection; None: the rule's, else the detector's
    person_rule: PersonRule | None = field(default_factory=PersonRule)  # both nets decide; None: each for itself
    turn_crops: bool = True  # crops turn with the torso: lying and upside-down people
    follow: str | int = "all"  # who is reported: "all", the "largest", who is nearest to the "center", or one id
    roi: tuple[int, int, int, int] | None = None  # x, y, w, h in px: nothing outside is looked at; None: the frame
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)

    def __post_init__(self) -> None:
        for name in ("detect_every_ms", "detect_every", "detect_empty_every", "search_every", "search_empty_every"):
            value = getattr(self, name)
            if value is not None and not 0 < value < inf:
                raise EdgeposeError(f"{name} is {value}: give a number above 0.")
        if self.person_threshold is not None and not 0 <= self.person_threshold <= 1:
            raise EdgeposeError(f"person_threshold is {self.person_threshold}: give a number from 0 to 1.")
        if not (isinstance(self.follow, int) and self.follow > 0) and self.follow not in WHOM:
            raise EdgeposeError(f"follow is {self.follow!r}: give {', '.join(WHOM)}, or a person's id from 1.")
        if self.roi is not None and not (len(self.roi) == 4 and min(self.roi) >= 0 and min(self.roi[2:]) >= 1):
            raise EdgeposeError(f"roi is {self.roi}: give x, y, width and height in pixels.")
