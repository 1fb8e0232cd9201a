"""What can be dropped on the window."""

from __future__ import annotations

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtGui import QDragEnterEvent, QDropEvent
from PyQt6.QtWidgets import QWidget


class DropTarget(QWidget):
    """A widget that takes files, folders and addresses, several at once."""

    dropped = pyqtSignal(list)  # of str

    def __init__(self) -> None:
        super().__init__()
        self.setAcceptDrops(True)

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        data = event.mimeData() if event else None
        if event and data and data.hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        data = event.mimeData() if event else None
        if data and data.urls():
            self.dropped.emit([url.toLocalFile() or url.toString() for url in data.urls()])
