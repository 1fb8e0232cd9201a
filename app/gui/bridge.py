"""The one place where the engine's threads meet Qt."""

from __future__ import annotations

from PyQt6.QtCore import QObject, pyqtSignal


class Bridge(QObject):
    """Turns the engine's "there is something new" into a Qt signal without payload.

    Frames never travel through the event queue: queued signals with payload pile up behind a slow window and
    what is shown grows older without bound. At most one notification waits; the slot fetches whatever is newest then.
    """

    notified = pyqtSignal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting = False

    def notify(self) -> None:
        """Called by the pose thread."""
        if not self._waiting:
            self._waiting = True
            self.notified.emit()

    def acknowledge(self) -> None:
        """Called by the slot before it fetches, so that a notification meanwhile is not lost."""
        self._waiting = False
