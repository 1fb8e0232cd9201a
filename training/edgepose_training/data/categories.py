"""Which of a COCO file's categories are the people, or whatever else has the points."""

from __future__ import annotations

import logging
from typing import Any

from edgepose import EdgeposeError
from edgepose_training.data.annotations import SkipEntry

log = logging.getLogger(__name__)

PERSON = "person"
Category = dict[str, Any]


class Categories:
    """The categories that are read, and the names of the others."""

    def __init__(self, document: dict[str, Any], wanted: str | None, origin: str) -> None:
        """`wanted`: a name or an id; without it the one with points, or "person". Raises EdgeposeError where that does
        not tell, and for a category that the file does not list."""
        self._origin = origin
        listed = document.get("categories")
        self._listed = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        self._names = {entry.get("id"): str(entry.get("name", entry.get("id"))) for entry in self._listed}
        used = {entry.get("category_id") for entry in document["annotations"] if isinstance(entry, dict)}
        self._used = [entry for entry in self._listed if entry.get("id") in used]
        self.read = self._wanted(wanted, origin) if wanted else self._usual(origin)
        self._ids = {entry.get("id") for entry in self.read}

    def check(self, entry: Any) -> None:
        """Raises SkipEntry for an annotation of a category that is not read."""
        number = entry.get("category_id") if isinstance(entry, dict) else None
        if not self._listed or number is None or number in self._ids:
            return
        raise SkipEntry(f"category {self._names[number]!r}" if number in self._names else "category not in the list")

    def check_points(self, points: tuple[str, ...]) -> None:
        """Raises EdgeposeError where a category that is read has these points in another order; tells other names."""
        for entry in self.read:
            theirs = [_plain(name) for name in entry.get("keypoints") or ()]
            ours = [_plain(name) for name in points]
            if theirs != ours and sorted(theirs) == sorted(ours):
                place = next(i for i, name in enumerate(theirs) if name != ours[i])
                raise EdgeposeError(
                    f"{self._origin}: its points are those of the skeleton in another order: point {place} is "
                    f"{theirs[place]}, not {ours[place]}; list them in the file's order in a skeleton file (--skeleton)"
                )
            if theirs != ours and len(theirs) == len(ours):
                others = [f"{their} for {our}" for their, our in zip(theirs, ours, strict=True) if their != our]
                log.warning("%s: its points have other names than the skeleton's, and are taken as the same: %s",
                            self._origin, ", ".join(others))  # fmt: skip

    def _wanted(self, wanted: str, origin: str) -> list[Category]:
        found = [entry for entry in self._listed if wanted in (str(entry.get("id")), entry.get("name"))]
        if not found:
            names = ", ".join(self._names.values()) or "none at all"
            raise EdgeposeError(f"{origin}: no category {wanted!r}; the file lists {names}")
        return found

    def _usual(self, origin: str) -> list[Category]:
        pool = [entry for entry in self._used if entry.get("keypoints")] or self._used
        people = [entry for entry in pool if str(entry.get("name")).lower() == PERSON]
        if people or len(pool) < 2:
            return people or pool
        # Of one set of points, as the animals of AP-10K: they count all.
        if pool[0].get("keypoints") and all(entry["keypoints"] == pool[0]["keypoints"] for entry in pool):
            return pool
        names = ", ".join(str(entry.get("name")) for entry in pool)
        raise EdgeposeError(f"{origin}: labels of several categories, {names}: name the one to read as --category")


def _plain(name: Any) -> str:
    return str(name).strip().lower().replace(" ", "_").replace("-", "_")
