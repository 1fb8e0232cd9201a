"""Whether labels fit the picture that they are of. People whose do not are left out, and files of them refused.

Pictures turned by their EXIF tag, resized folders, shares instead of pixels and boxes by their corners all look like
labels, train without complaint and cost most of the accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgepose import EdgeposeError
from edgepose_training.data.annotations import SkipEntry
from edgepose_training.data.image_size import HALF_TURNS, QUARTER_TURNS, read_header

TURNED = "picture is turned by its EXIF tag, but the file has it as stored"
EXCHANGED = "width and height of the picture are exchanged"
RESIZED = "picture is of another resolution than the file says"
OTHER_SIZE = "picture is of another size than the file says"
SHARES = "labels are shares of the picture (0 to 1), not pixels"
CORNERS = "bbox is x1, y1, x2, y2, not x, y, width, height"
OUTSIDE = "most labeled points are outside the picture"
APART = "most labeled points are outside their box"
HALF_TURNED = "picture is turned by 180° or mirrored by its EXIF tag; are its labels too?"
REMEDIES = {
    TURNED: "remove the tags (exiftool -Orientation= FOLDER) where the labels were made on pictures as stored",
    EXCHANGED: "correct width and height in the file, or turn the pictures back",
    RESIZED: "use the pictures that were labeled, or scale the labels, width and height",
    OTHER_SIZE: "use the pictures that were labeled",
    SHARES: "multiply x by the picture's width and y by its height",
    CORNERS: "subtract x1 from x2 and y1 from y2",
    OUTSIDE: "check that pixels count from the top left of these pictures, x before y",
    APART: "check that boxes and points are of the same person and in the same pixels",
}
# Share of the people from which a file is refused. Corners are seen only in people right of or below the middle.
REFUSED, REFUSED_CORNERS = 0.5, 0.2
BEYOND = 0.02  # of a side of the picture, by which a sloppy box may reach out of it


class Misfit(SkipEntry):
    """Labels that cannot be of this picture. `where` names it, with what was found."""

    def __init__(self, reason: str, where: str = "") -> None:
        super().__init__(reason)
        self.where = where


def check_size(path: Path, stated: tuple[int, int]) -> str | None:
    """Compare a picture's decoded size with the file's (W, H). Returns a doubt that remains.

    Raises Misfit, or SkipEntry for what is no image.
    """
    header = read_header(path)
    size = header.size
    if abs(size[0] - stated[0]) <= 1 and abs(size[1] - stated[1]) <= 1:
        return HALF_TURNED if header.orientation in HALF_TURNS else None
    where = f"{path.name}: {size[0]}×{size[1]}, in the file {stated[0]}×{stated[1]}"
    if stated == size[::-1]:
        raise Misfit(TURNED if header.orientation in QUARTER_TURNS else EXCHANGED, where)
    factor = stated[0] / size[0]
    raise Misfit(RESIZED if abs(size[1] * factor - stated[1]) <= max(1, factor) else OTHER_SIZE, where)


def check_labels(
    xywh: Any,  # as in the file, four finite numbers
    keypoints: np.ndarray,  # [K, 2] px
    labeled: np.ndarray,  # [K] bool
    size: tuple[int, int],  # W, H
) -> str | None:
    """Compare a person's points and box with each other and with the picture. Returns a doubt that remains.

    Raises Misfit.
    """
    x, y, w, h = (float(value) for value in xywh)
    points, side = keypoints[labeled], np.array(size, np.float64)
    if max(size) > 8 and max(x + w, y + h) <= 2 and (not len(points) or points.max() <= 2):
        raise Misfit(SHARES)
    if not len(points):
        return None
    if len(points) > 1 and _reaches_out(x + w, y + h, side) and w > x and h > y:
        as_corners = _inside(points, np.array([x, y]), np.array([w, h]), 0.1)
        if not _reaches_out(w, h, side) and as_corners.mean() > 0.9:
            raise Misfit(CORNERS)
    if _inside(points, np.zeros(2), side, 0.0).mean() < 0.5:
        raise Misfit(OUTSIDE)
    apart = _inside(points, np.array([x, y]), np.array([x + w, y + h]), 0.25).mean() < 0.5
    return APART if apart else None  # single ones are careless boxes, as every data set has


def _reaches_out(right: float, bottom: float, side: np.ndarray) -> bool:
    return bool((np.array([right, bottom]) > side * (1 + BEYOND)).any())


def _inside(points: np.ndarray, low: np.ndarray, high: np.ndarray, margin: float) -> np.ndarray:
    """Which points [P] lie in a box widened by a share of its sides on each side."""
    wider = (high - low) * margin + 1
    inside: np.ndarray = ((points >= low - wider) & (points <= high + wider)).all(1)
    return inside


def refuse_misfits(path: Path, people: int, counts: Mapping[str, int], examples: Mapping[str, list[str]]) -> None:
    """Raises EdgeposeError, with the remedy, where labels of most of the `people`, kept or not, do not fit.

    `counts` and `examples` are by reason.
    """
    misfits = {reason: count for reason, count in counts.items() if reason in REMEDIES}
    corners = misfits.get(CORNERS, 0) > REFUSED_CORNERS * people
    if not corners and sum(misfits.values()) <= REFUSED * people:
        return
    reason = CORNERS if corners else max(misfits, key=lambda name: misfits[name])
    raise EdgeposeError(
        f"{path}: labels do not fit their pictures: {reason} ({misfits[reason]} of {people} people, such as "
        f"{examples[reason][0]}); {REMEDIES[reason]}"
    )
