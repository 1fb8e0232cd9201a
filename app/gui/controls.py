"""The bar of controls below the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from PyQt6.QtCore import QPointF, QSize, Qt, pyqtSignal
from PyQt6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF, QResizeEvent
from PyQt6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QSizePolicy,
    QSlider,
    QToolButton,
    QWidget,
)

from ..overlay import GROUPS, OverlayOptions
from ..sources import Pictures, Spec
from ..sources.camera import list_cameras
from .style import RED, TEXT, icon

# Entries of the source box that ask for more.
ASK_FILE, ASK_FOLDER, ASK_URL = "ask:file", "ask:folder", "ask:url"
ASK = (("Video or image…", ASK_FILE), ("Folder of images…", ASK_FOLDER), ("Stream address…", ASK_URL))


class SourceBox(QComboBox):
    """A combo box with an arrow, which style sheets can only have from an image file."""

    def paintEvent(self, event: QPaintEvent | None) -> None:
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(TEXT), 1.6))
        x, y = self.width() - 17, self.height() / 2
        painter.drawPolyline(QPolygonF([QPointF(x - 4, y - 2), QPointF(x, y + 2), QPointF(x + 4, y - 2)]))
        painter.end()


class Controls(QWidget):
    """Buttons and sliders; says what the user wants, knows nothing of the engine."""

    source_chosen = pyqtSignal(object)  # int | str, or one of ASK_*
    overlay_changed = pyqtSignal(object)  # OverlayOptions
    mirror_chosen = pyqtSignal()
    paused = pyqtSignal(bool)
    recording = pyqtSignal(bool)
    screenshot = pyqtSignal()
    fullscreen = pyqtSignal()

    def __init__(self, overlay: OverlayOptions, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._overlay = overlay
        self.source_box = SourceBox()
        self.source_box.setToolTip("Where the images come from; files can also be dropped on the window")
        self.source_box.setMinimumWidth(170)
        self.source_box.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.source_box.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.source_box.activated.connect(self._on_source)
        self.pause_button = self._button("", "Pause (space)", icon_name="pause", checkable=True)
        self.pause_button.toggled.connect(self._on_pause)
        self.group_buttons = {group: self._group_button(group, n) for n, group in enumerate(GROUPS, start=1)}
        self.boxes_button = self._button("Boxes", "Show boxes and ids (B)", checkable=True)
        self.boxes_button.setChecked(overlay.bboxes)
        self.boxes_button.toggled.connect(lambda on: self._change(bboxes=on))
        self.mirror_button = self._button("Mirror", "Mirror the view, never the data (M)", checkable=True)
        self.mirror_button.setChecked(overlay.mirror)
        self.mirror_button.toggled.connect(self._on_mirror)
        self.threshold_slider = QSlider(Qt.Orientation.Horizontal)
        self.threshold_slider.setRange(0, 100)
        self.threshold_slider.setFixedWidth(110)
        self.threshold_slider.setToolTip("Points below this score are not shown (+ and −)")
        self.threshold_label = QLabel()
        self.threshold_label.setObjectName("threshold")
        self._show_threshold()
        self.threshold_slider.valueChanged.connect(self._on_threshold)
        self.screenshot_button = self._button("", "Save an image (S)", icon_name="image")
        self.screenshot_button.clicked.connect(self.screenshot)
        self.record_button = self._button("", "Record a video (R)", icon_name="record", checkable=True)
        self.record_button.setIcon(icon("record", RED))
        self.record_button.setObjectName("record")
        self.record_button.toggled.connect(self.recording)
        self.fullscreen_button = self._button("", "Full screen (F, Esc leaves)", icon_name="fullscreen")
        self.fullscreen_button.clicked.connect(self.fullscreen)
        self._lay_out()

    def set_source(self, spec: Spec, name: str) -> None:
        """Fill the box anew, with the present source selected."""
        entries: list[tuple[str, object]] = [("Demo", "demo")]
        entries += [(f"Camera {n} · {label}", n) for n, label in list_cameras().items()]
        if spec not in [value for _, value in entries]:
            entries.insert(0, (name, spec))
        entries += ASK
        self.source_box.clear()
        for label, value in entries:
            self.source_box.addItem(label if len(label) < 40 else label[:18] + " … " + label[-18:], value)
        self.source_box.setCurrentIndex([value for _, value in entries].index(spec))

    def set_mirror(self, mirror: bool) -> None:
        """Show a state that the user did not choose."""
        blocked = self.mirror_button.blockSignals(True)
        self.mirror_button.setChecked(mirror)
        self.mirror_button.blockSignals(blocked)
        self._change(mirror=mirror)

    def keys(self) -> dict[str, Callable[[], None]]:
        """Keys, and what they do here."""
        return {
            "M": self.mirror_button.toggle,
            "B": self.boxes_button.toggle,
            "R": self.record_button.toggle,
            "+": lambda: self.nudge_threshold(5),
            "=": lambda: self.nudge_threshold(5),
            "-": lambda: self.nudge_threshold(-5),
            **{str(n): button.toggle for n, button in enumerate(self.group_buttons.values(), start=1)},
        }

    def nudge_threshold(self, step: int) -> None:
        """Move the slider by `step` hundredths."""
        self.threshold_slider.setValue(self.threshold_slider.value() + step)

    def _lay_out(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 8, 12, 4)
        row.setSpacing(6)
        row.addWidget(self.source_box)
        row.addWidget(self.pause_button)
        row.addSpacing(14)
        for button in self.group_buttons.values():
            row.addWidget(button)
        row.addWidget(self.boxes_button)
        row.addWidget(self.mirror_button)
        row.addSpacing(14)
        row.addWidget(caption := QLabel("Threshold"))
        row.addWidget(self.threshold_slider)
        row.addWidget(self.threshold_label)
        row.addStretch(1)
        row.addWidget(self.screenshot_button)
        row.addWidget(self.record_button)
        row.addWidget(self.fullscreen_button)
        # A small screen does without these, the first one first; all of them have keys.
        self._dispensable: list[tuple[QWidget, ...]] = [
            (caption,),
            (self.threshold_slider, self.threshold_label),
            (self.screenshot_button, self.record_button),
            (self.boxes_button, self.mirror_button),
        ]
        row.setSizeConstraint(QHBoxLayout.SizeConstraint.SetNoConstraint)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Leave out what does not fit."""
        super().resizeEvent(event)
        layout = self.layout()
        for group in self._dispensable:
            for widget in group:
                widget.show()
        for group in self._dispensable:
            if layout is None or layout.sizeHint().width() <= self.width():
                break
            for widget in group:
                widget.hide()

    def minimumSizeHint(self) -> QSize:
        """Narrower than the layout thinks: see resizeEvent."""
        return QSize(420, super().sizeHint().height())

    def _button(self, text: str, tip: str, *, icon_name: str = "", checkable: bool = False) -> QToolButton:
        button = QToolButton()
        button.setText(text)
        button.setToolTip(tip)
        button.setAccessibleName(tip)
        button.setCheckable(checkable)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click must not steal the space bar
        if icon_name:
            button.setIcon(icon(icon_name))
            button.setIconSize(QSize(16, 16))
        return button

    def _group_button(self, group: str, key: int) -> QToolButton:
        button = self._button(group.capitalize(), f"Show the {group} ({key})", checkable=True)
        button.setChecked(group not in self._overlay.hidden)
        button.toggled.connect(self._on_group)
        return button

    def _change(self, **values: Any) -> None:
        self._overlay = replace(self._overlay, **values)
        self.overlay_changed.emit(self._overlay)

    def _show_threshold(self) -> None:
        threshold = self._overlay.threshold
        self.threshold_label.setText("auto" if threshold is None else f"{threshold:.2f}")
        blocked = self.threshold_slider.blockSignals(True)
        self.threshold_slider.setValue(30 if threshold is None else round(100 * threshold))
        self.threshold_slider.blockSignals(blocked)

    def _on_source(self, index: int) -> None:
        self.source_chosen.emit(self.source_box.itemData(index))

    def _on_pause(self, paused: bool) -> None:
        self.pause_button.setIcon(icon("play" if paused else "pause"))
        self.pause_button.setToolTip("Go on (space)" if paused else "Pause (space)")
        self.paused.emit(paused)

    def _on_group(self) -> None:
        hidden = (group for group, button in self.group_buttons.items() if not button.isChecked())
        self._change(hidden=frozenset(hidden))

    def _on_mirror(self, mirror: bool) -> None:
        self._change(mirror=mirror)
        self.mirror_chosen.emit()

    def _on_threshold(self, value: int) -> None:
        self._change(threshold=value / 100)
        self._show_threshold()


def ask(parent: QWidget, choice: object) -> Spec | None:
    """What to open for an entry of the source box, after a dialog where it needs one; None: nothing."""
    said: object = choice
    if choice == ASK_FILE:
        said = QFileDialog.getOpenFileName(parent, "Open a video or an image")[0]
    elif choice == ASK_FOLDER:
        said = QFileDialog.getExistingDirectory(parent, "Open a folder of images")
    elif choice == ASK_URL:
        said = QInputDialog.getText(parent, "Open a stream", "Address (http://, rtsp://, …)")[0].strip()
    return said if isinstance(said, int | str | Pictures) and said != "" else None
