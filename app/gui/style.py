"""How the window looks: colors as a style sheet, and a few symbols, painted so that no font is needed."""

from __future__ import annotations

from PyQt6.QtCore import QPointF, QRectF, Qt
from PyQt6.QtGui import QColor, QIcon, QPainter, QPen, QPixmap, QPolygonF

ACCENT = "#4cc2a0"
RED = "#ff5c5c"
TEXT = "#d6d9de"

SHEET = f"""
QWidget {{ background: #15181c; color: {TEXT}; font-size: 13px; }}
QToolButton, QComboBox {{
    background: #20242a; border: 1px solid #2b3037; border-radius: 6px; padding: 5px 10px; min-height: 18px;
}}
QToolButton:hover, QComboBox:hover {{ background: #2a2f37; }}
QToolButton:pressed {{ background: #191c21; }}
QToolButton:checked {{ background: #1d3a34; border-color: #2c6153; color: #8fe3c9; }}
QToolButton#record:checked {{ background: #46191c; border-color: #7a2a2f; color: #ffb3b3; }}
QToolButton:focus, QComboBox:focus, QSlider:focus {{ border-color: {ACCENT}; outline: none; }}
QComboBox::drop-down {{ border: none; width: 22px; }}
QComboBox::down-arrow {{ image: none; }}
QComboBox QAbstractItemView {{
    background: #20242a; border: 1px solid #2b3037; padding: 4px; outline: none;
    selection-background-color: #2c6153;
}}
QSlider::groove:horizontal {{ height: 4px; background: #2b3037; border-radius: 2px; }}
QSlider::sub-page:horizontal {{ background: {ACCENT}; border-radius: 2px; }}
QSlider::handle:horizontal {{
    background: {TEXT}; width: 14px; height: 14px; margin: -5px 0; border-radius: 7px;
}}
QLabel#status, QLabel#facts {{ color: #9aa1ab; font-size: 12px; background: transparent; }}
QLabel#threshold {{ color: #9aa1ab; min-width: 38px; }}
QToolTip {{ background: #20242a; color: {TEXT}; border: 1px solid #2b3037; padding: 4px; }}
"""

_SIZE = 32  # px, painted at twice the size that is shown


def icon(name: str, color: str = TEXT) -> QIcon:
    """One of `pause`, `play`, `image`, `record`, `fullscreen`."""
    pixmap = QPixmap(_SIZE, _SIZE)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(QColor(color))
    painter.setPen(Qt.PenStyle.NoPen)
    _DRAW[name](painter, QPen(QColor(color), 3))
    painter.end()
    return QIcon(pixmap)


def _pause(painter: QPainter, _pen: QPen) -> None:
    painter.drawRoundedRect(QRectF(8, 6, 5, 20), 1.5, 1.5)
    painter.drawRoundedRect(QRectF(19, 6, 5, 20), 1.5, 1.5)


def _play(painter: QPainter, _pen: QPen) -> None:
    painter.drawPolygon(QPolygonF([QPointF(9, 5), QPointF(27, 16), QPointF(9, 27)]))


def _record(painter: QPainter, _pen: QPen) -> None:
    painter.drawEllipse(QPointF(16, 16), 8.5, 8.5)


def _image(painter: QPainter, pen: QPen) -> None:
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawRoundedRect(QRectF(4, 9, 24, 17), 3, 3)
    painter.drawEllipse(QPointF(16, 17.5), 4.5, 4.5)
    painter.drawLine(QPointF(12, 6.5), QPointF(20, 6.5))


def _fullscreen(painter: QPainter, pen: QPen) -> None:
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for x, y, dx, dy in ((5, 5, 1, 1), (27, 5, -1, 1), (5, 27, 1, -1), (27, 27, -1, -1)):
        painter.drawPolyline(QPolygonF([QPointF(x + 8 * dx, y), QPointF(x, y), QPointF(x, y + 8 * dy)]))


_DRAW = {"pause": _pause, "play": _play, "image": _image, "record": _record, "fullscreen": _fullscreen}
