"""The widget that paints the image."""

from __future__ import annotations

import time
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import QRectF, QSize, Qt, pyqtSignal
from PyQt6.QtGui import QColor, QFontMetrics, QImage, QMouseEvent, QPainter, QPaintEvent, QResizeEvent
from PyQt6.QtWidgets import QSizePolicy, QWidget

from ..engine import Result
from ..overlay import OverlayOptions, SkeletonStyle, compose, fit

BACKGROUND = QColor("#0d0f12")
STILL_AFTER = 0.5  # s without a new image from which its age grows before the eyes


class VideoView(QWidget):
    """Shows the newest result, as large as fits, with an optional sentence over it."""

    painted = pyqtSignal()  # a result came on screen for the first time
    double_clicked = pyqtSignal()

    def __init__(self, style: SkeletonStyle, overlay: OverlayOptions, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._age_at_paint = 0.0  # ms from capture to paint, of the result shown last,
        self._painted_at = 0.0  # s, perf_counter, when that was
        self.result: Result | None = None
        self._style = style
        self._overlay = overlay
        self._message = ""
        self._image: QImage | None = None  # composed for the present size and overlay
        self._pixels: NDArray[np.uint8] | None = None  # what `_image` points at
        self._fresh = False
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(240, 180)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)

    def sizeHint(self) -> QSize:
        return QSize(960, 720)

    @property
    def overlay(self) -> OverlayOptions:
        return self._overlay

    @overlay.setter
    def overlay(self, overlay: OverlayOptions) -> None:
        self._overlay = overlay
        self._recompose()

    def age_ms(self, now: float | None = None) -> float:
        """How old the image on screen is: while images follow each other, when painted; standing still, now."""
        now = time.perf_counter() if now is None else now
        standing = now - self._painted_at > STILL_AFTER
        if self.result is None or not standing:
            return self._age_at_paint
        return 1000 * (now - self.result.frame.captured)

    def show_result(self, result: Result | None) -> None:
        """Show this result next; None: an empty view."""
        self.result = result
        self._fresh = result is not None
        self._recompose()

    def show_message(self, text: str) -> None:
        """A sentence over the image, until the next call; empty: none."""
        if text != self._message:
            self._message = text
            self.update()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._recompose()

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:
        super().mouseDoubleClickEvent(event)
        self.double_clicked.emit()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: ARG002 - Qt's signature
        if self._image is None and self.result is not None:
            self._compose(self.result)
        painter = QPainter(self)
        painter.fillRect(self.rect(), BACKGROUND)
        if self._image is not None:
            size = self._image.deviceIndependentSize()
            left, top = (self.width() - size.width()) / 2, (self.height() - size.height()) / 2
            painter.drawImage(QRectF(left, top, size.width(), size.height()), self._image)
        if self._message:
            self._paint_message(painter)
        painter.end()
        if self._fresh and self.result is not None:
            self._fresh = False
            self._painted_at = time.perf_counter()
            self._age_at_paint = 1000 * (self._painted_at - self.result.frame.captured)
            self.painted.emit()

    def _recompose(self) -> None:
        self._image = None
        self.update()

    def _compose(self, result: Result) -> None:
        ratio = self.devicePixelRatioF()
        room = (max(1, round(self.width() * ratio)), max(1, round(self.height() * ratio)))
        height, width = result.frame.image.shape[:2]
        image = compose(result.frame.image, result.poses, self._style, self._overlay, fit(width, height, room))
        # Four bytes a pixel, blue first: the format that Qt paints without converting.
        self._pixels = np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_BGR2BGRA), np.uint8)
        rows, columns = self._pixels.shape[:2]
        data = cast(bytes, self._pixels.data)  # Qt takes any buffer and copies none of it; its stubs say bytes
        self._image = QImage(data, columns, rows, 4 * columns, QImage.Format.Format_RGB32)
        self._image.setDevicePixelRatio(ratio)

    def _paint_message(self, painter: QPainter) -> None:
        font = painter.font()
        font.setPixelSize(15)
        painter.setFont(font)
        margin = 16
        room = QRectF(0, 0, max(80, min(560, self.width() - 6 * margin)), self.height())
        flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
        text = QRectF(QFontMetrics(font).boundingRect(room.toRect(), int(flags), self._message))
        panel = QRectF(0, 0, text.width() + 3 * margin, text.height() + 2 * margin)
        panel.moveCenter(QRectF(self.rect()).center())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(13, 15, 18, 205))
        painter.drawRoundedRect(panel, 10, 10)
        painter.setPen(QColor("#e8eaed"))
        painter.drawText(panel, int(flags), self._message)
