"""The window: puts view, controls and engine together."""

from __future__ import annotations

import logging
import time

from PyQt6.QtCore import QEvent, QSize, Qt, QTimer
from PyQt6.QtGui import QCloseEvent, QKeyEvent, QKeySequence, QShortcut
from PyQt6.QtWidgets import QVBoxLayout

from edgepose import EdgeposeError

from ..choice import source_options
from ..context import AppContext
from ..engine import Engine, EngineState
from ..media_saver import MediaSaver
from ..opening import Pending
from ..outputs import Output, Recorder
from ..overlay import OverlayOptions
from ..sources import Source, Spec, expand, name_of, open_source
from ..status import facts, trouble
from ..timing import Rate
from .bridge import Bridge
from .controls import Controls, ask
from .droptarget import DropTarget
from .screenshot import Screenshot
from .statusrow import StatusRow
from .style import SHEET
from .view import VideoView

log = logging.getLogger(__name__)


class Window(DropTarget):
    """Everything that the user sees. All methods run in Qt's thread."""

    def __init__(self, context: AppContext, outputs: list[Output]) -> None:
        super().__init__()
        options = context.options
        self.exit_code = 0
        self.context = context
        self._mirror_is_chosen = options.mirror is not None
        overlay = OverlayOptions(threshold=options.threshold, mirror=bool(options.mirror))
        self.view = VideoView(context.style, overlay)
        self.controls = Controls(overlay)
        self.status = StatusRow()
        self.bridge = Bridge(self)
        self.engine = Engine(context.estimator, realtime=True, on_result=self.bridge.notify)
        self.media_saver = MediaSaver(self.engine, context.style)
        self._shown_rate = Rate()
        self._shown = 0
        self._first_shown: float | None = None
        self._last_result = time.perf_counter()
        self._paused = False  # by the user
        self._spec: Spec = context.spec
        self._queue = list(context.rest)  # sources that follow
        self._screenshot = Screenshot(options.screenshot) if options.screenshot else None  # until it is taken
        self._recorder = Recorder(outputs) if outputs else None  # --save and --json
        self._recorder_failed = False
        self.pipe_closed = False  # the reader of --json - has gone away: a reason to close, and no mistake
        if self._recorder:
            self.engine.listeners.append(self._recorder)
        self._build()
        self._open(context.spec, context.source)

    # Building ---------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.setWindowTitle("edgepose")
        self.setStyleSheet(SHEET)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.view, 1)
        column.addWidget(self.controls)
        column.addWidget(self.status)
        self.bridge.notified.connect(self._on_notified)  # across threads, so Qt queues it
        self.dropped.connect(self._open_all)
        self.view.painted.connect(self._on_painted)
        self.view.double_clicked.connect(self.toggle_fullscreen)
        self.controls.source_chosen.connect(self._on_source_chosen)
        self.controls.overlay_changed.connect(self._on_overlay)
        self.controls.mirror_chosen.connect(self._on_mirror_chosen)
        self.controls.paused.connect(self._on_pause)
        self.controls.recording.connect(self._on_recording)
        self.controls.screenshot.connect(self._save_image)
        self.controls.fullscreen.connect(self.toggle_fullscreen)
        self._shortcuts()
        self.view.setFocus()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._refresh)
        self._timer.start(250)

    def _shortcuts(self) -> None:
        actions = {
            **self.controls.keys(),
            "Space": self._space,
            "S": self._save_image,
            "F": self.toggle_fullscreen,
            "F11": self.toggle_fullscreen,
            **dict.fromkeys(("Q", "Ctrl+Q"), self.close),
        }
        for key, action in actions.items():
            QShortcut(QKeySequence(key), self).activated.connect(action)

    def first_size(self) -> QSize:
        """Room for the view as it would like to be, as far as the screen allows."""
        screen = self.screen()
        limit = screen.availableSize() * 0.9 if screen else QSize(1280, 800)
        return self.sizeHint().boundedTo(limit)

    # The source -------------------------------------------------------------------------------------------

    def _open(self, spec: Spec, source: Source | None = None) -> None:
        """Switch to a source; `source` where it is open already."""
        if spec != self._spec:
            self.view.show_result(None)  # nothing of the old source stays, whatever becomes of the new one
        self._spec = spec
        options = source_options(self.context.options)
        opening = source.opening if isinstance(source, Pending) else None
        self.engine.open(opening or (lambda: source or open_source(spec, options=options)), name_of(spec))
        self._last_result = time.perf_counter()
        self.controls.set_source(spec, name_of(spec))
        self.controls.pause_button.setChecked(False)
        self._rest()
        if not self._mirror_is_chosen:
            self.controls.set_mirror(isinstance(spec, int))  # a person in front of a camera expects a mirror
        self._refresh()

    def _on_source_chosen(self, choice: object) -> None:
        spec = ask(self, choice)
        if spec is None:
            self.controls.set_source(self._spec, name_of(self._spec))
        else:
            self._open_all([spec])

    def _open_all(self, typed: list[Spec]) -> None:
        """Switch to what was dropped or chosen: files, folders, patterns, a camera; one after the other."""
        try:
            first, *self._queue = expand(typed)
        except EdgeposeError as error:
            self.status.say(str(error))
        else:
            self._open(first)

    # Results ----------------------------------------------------------------------------------------------

    def _on_notified(self) -> None:
        self.bridge.acknowledge()
        result = self.engine.take()
        if result is not None:
            self._last_result = time.perf_counter()
            self.view.show_result(result)
            options = self.context.options
            over = options.duration is not None and result.frame.time >= options.duration
            if over or self._shown + 1 == options.frames:
                self.close()
        if self.engine.state is EngineState.FAILED and self.engine.error is None:
            self.view.show_result(None)  # the source is gone, and nothing of it stays
        if self.engine.state is not EngineState.RUNNING:
            self._refresh()  # at once: the timer would say so a quarter of a second later

    def _on_painted(self) -> None:
        now = time.perf_counter()
        self._shown += 1
        self._first_shown = now if self._first_shown is None else self._first_shown
        self._shown_rate.tick(now)
        self.view.show_message(self._message())

    def _refresh(self) -> None:
        """The status line and the message, four times a second; the next source after the end of one."""
        if self._queue and self.engine.state in (EngineState.ENDED, EngineState.FAILED) and self.engine.error is None:
            if self.engine.state is EngineState.FAILED:
                log.error("%s", self.engine.message)
            self._open(self._queue.pop(0))
        self.view.show_message(self._message())
        source = self.engine.source
        if self.media_saver.failed:
            self.controls.record_button.setChecked(False)  # says why; better now than after the show
        self.status.show_source(source.description if source else "", recording=self.media_saver.recording)
        result, estimator = self.view.result, self.context.estimator
        self.status.facts.setText(
            facts(
                fps=self._shown_rate.per_second(),
                age_ms=self.view.age_ms(),
                people=len(result.poses) if result else None,
                model=estimator.card.name,
                device=estimator.device,
            )
        )
        if self.engine.error is not None and not self.exit_code:
            self.exit_code = 1
            log.error("%s", self.engine.message)
        if self._recorder and self._recorder.error is not None and not self._recorder_failed:
            self._recorder_failed = True
            self._on_recorder_failure(self._recorder.error)
        if self._screenshot and self._screenshot.is_due(self._first_shown):
            self._take_screenshot(self._screenshot)

    def _on_recorder_failure(self, error: Exception) -> None:
        if isinstance(error, BrokenPipeError):
            self.close()
        else:
            self.status.say(f"recording stopped: {error}", seconds=3600)  # better now than after the show

    def _message(self) -> str:
        return trouble(self.engine, time.perf_counter() - self._last_result)

    # Controls ---------------------------------------------------------------------------------------------

    def _space(self) -> None:
        if self.engine.state is EngineState.ENDED:
            self._open(self._spec)
        else:
            self.controls.pause_button.toggle()

    def _on_pause(self, paused: bool) -> None:
        self._paused = paused
        self._rest()
        self._last_result = time.perf_counter()

    def _rest(self) -> None:
        """Compute nothing while nobody can see it, unless it is recorded or sent."""
        used = self._recorder is not None or self.media_saver.recording or self._screenshot is not None
        resting = self._paused or (self.isMinimized() and not used)
        if self.engine.paused and not resting:
            self._last_result = time.perf_counter()  # that there was none meanwhile is no trouble
        self.engine.paused = resting

    def changeEvent(self, event: QEvent | None) -> None:
        super().changeEvent(event)
        if event and event.type() == QEvent.Type.WindowStateChange:
            self._rest()

    def _on_overlay(self, overlay: OverlayOptions) -> None:
        self.view.overlay = overlay

    def _on_mirror_chosen(self) -> None:
        self._mirror_is_chosen = True

    def _on_recording(self, on: bool) -> None:
        if on:
            self.media_saver.start(self.view.overlay)
        elif self.media_saver.recording:
            self.status.say(self.media_saver.stop())
        self._rest()
        self._refresh()

    def _save_image(self) -> None:
        if self.view.result is not None:
            self.status.say(self.media_saver.save_image(self.view.result, self.view.overlay))

    def toggle_fullscreen(self) -> None:
        full = not self.isFullScreen()
        self.controls.setVisible(not full)
        self.status.setVisible(not full)
        if full:
            self.showFullScreen()
        else:
            self.showNormal()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        if event and event.key() == Qt.Key.Key_Escape and self.isFullScreen():
            self.toggle_fullscreen()
        else:
            super().keyPressEvent(event)

    # Ends -------------------------------------------------------------------------------------------------

    def _take_screenshot(self, screenshot: Screenshot) -> None:
        self._screenshot = None  # once
        if not screenshot.take(self):
            self.exit_code = 2
        self.close()

    def fail(self, error: BaseException) -> None:
        """Show an error that nobody expected; the app stays."""
        self.exit_code = 1
        self.status.say(f"{type(error).__name__}: {error}")

    def closeEvent(self, event: QCloseEvent | None) -> None:
        self._timer.stop()
        self.hide()  # at once: a device that blocks must not leave a dead window on the screen
        self.media_saver.stop()
        self.engine.stop()
        if self._recorder:
            self._close_recorder(self._recorder)
            self._recorder = None
        super().closeEvent(event)

    def _close_recorder(self, recorder: Recorder) -> None:
        said = recorder.close()
        self.pipe_closed = isinstance(recorder.error, BrokenPipeError)
        if self.pipe_closed:
            return
        for sentence in [*said, *recorder.complaints()]:
            log.warning("%s", sentence)
        if recorder.error is not None:
            self.exit_code = 2
