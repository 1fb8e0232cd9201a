"""The line below the controls: what is looked at or was just done, and the facts of the moment."""

from __future__ import annotations

import time

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QWidget


class StatusRow(QWidget):
    """Left the source, or for a while a passing remark; right the facts, which go first where room is short."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.left, self.facts = QLabel(), QLabel()
        self.left.setObjectName("status")
        self.facts.setObjectName("facts")
        self.facts.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.left.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 0, 14, 8)
        row.addWidget(self.left, 1)
        row.addWidget(self.facts)
        self._remark, self._until = "", 0.0

    def say(self, remark: str, seconds: float = 5.0) -> None:
        """Show a passing remark in place of the source."""
        self._remark, self._until = remark, time.perf_counter() + seconds
        self.left.setText(remark)

    def show_source(self, description: str, *, recording: bool) -> None:
        """What is looked at, unless a remark is still to be read."""
        said = self._remark if time.perf_counter() < self._until else description
        self.left.setText(("● recording   " if recording else "") + said)
