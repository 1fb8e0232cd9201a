"""--screenshot: the window as an image file."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from PyQt6.QtWidgets import QWidget

log = logging.getLogger(__name__)

AFTER = 2.5  # s of shown images
GIVE_UP_AFTER = 20.0  # s without any


class Screenshot:
    """When the image is taken, and how. Time runs from the making of this object on."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._asked = time.perf_counter()

    def is_due(self, first_shown: float | None) -> bool:
        """After a while of images, the first of them at that time; of a source that shows nothing, what the window
        says about it."""
        now = time.perf_counter()
        return (first_shown is not None and now - first_shown > AFTER) or now - self._asked > GIVE_UP_AFTER

    def take(self, window: QWidget) -> bool:
        """Write the file; False, and a line in the log, where that fails."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lossy = self._path.suffix.lower() in (".jpg", ".jpeg", ".webp")  # of a PNG, "quality" means little packing
        if window.grab().save(str(self._path), quality=90 if lossy else -1):
            return True
        log.error("%s: cannot be written; choose a writable place that ends in .png", self._path)
        return False
