"""What the user keeps from the window: pictures and recordings, under ./output/."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from edgepose import EdgeposeError

from .engine import Engine, Result
from .outputs import PictureSink, Recorder, VideoSink
from .overlay import Cast, Look

OUTPUT = Path("output")


class Keeper:
    """Saves as shown, but never mirrored: a file shows the world as it is. Answers with a sentence."""

    def __init__(self, engine: Engine, cast: Cast) -> None:
        self._engine, self._cast = engine, cast
        self._recorder: Recorder | None = None

    @property
    def recording(self) -> bool:
        return self._recorder is not None

    @property
    def failed(self) -> bool:
        """Whether the recording cannot go on; `stop` says why."""
        return self._recorder is not None and self._recorder.error is not None

    def save_picture(self, result: Result, look: Look) -> str:
        """The picture of `result` in its own size, with the poses."""
        path = OUTPUT / time.strftime("pose-%Y%m%d-%H%M%S.png")
        try:
            PictureSink(str(path), self._cast, replace(look, mirror=False)).write(result)
        except EdgeposeError as error:
            return str(error)
        return f"saved {path}"

    def start(self, look: Look) -> None:
        """Record from now on, in the look of now."""
        path = OUTPUT / time.strftime("recording-%Y%m%d-%H%M%S.mp4")
        fps = self._engine.source.fps if self._engine.source else 30.0
        self._recorder = Recorder([VideoSink(str(path), fps, self._cast, replace(look, mirror=False))])
        self._engine.listeners.append(self._recorder)

    def stop(self) -> str:
        """Finish the recording, if there is one."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return ""
        self._engine.listeners.remove(recorder)
        return "; ".join(recorder.close())
