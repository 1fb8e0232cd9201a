"""What the user keeps from the window: images and recordings, under ./output/."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from edgepose import EdgeposeError

from .engine import Engine, Result
from .outputs import ImagesOutput, Recorder, VideoOutput
from .overlay import OverlayOptions, SkeletonStyle

OUTPUT_FOLDER = Path("output")


def unused(path: Path) -> Path:
    """The path, or the next one with `-2`, `-3`, …: five images of one second have five names."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free


class MediaSaver:
    """Saves as shown, but never mirrored: a file shows the world as it is. Answers with a sentence."""

    def __init__(self, engine: Engine, style: SkeletonStyle) -> None:
        self._engine, self._style = engine, style
        self._recorder: Recorder | None = None

    @property
    def recording(self) -> bool:
        return self._recorder is not None

    @property
    def failed(self) -> bool:
        """Whether the recording cannot go on; `stop` says why."""
        return self._recorder is not None and self._recorder.error is not None

    def save_image(self, result: Result, overlay: OverlayOptions) -> str:
        """The image of `result` in its own size, with the poses."""
        path = unused(OUTPUT_FOLDER / time.strftime("pose-%Y%m%d-%H%M%S.png"))
        try:
            ImagesOutput(str(path), self._style, replace(overlay, mirror=False)).write(result)
        except EdgeposeError as error:
            return str(error)
        return f"saved {path}"

    def start(self, overlay: OverlayOptions) -> None:
        """Record from now on, in the look of now."""
        path = unused(OUTPUT_FOLDER / time.strftime("recording-%Y%m%d-%H%M%S.mp4"))
        fps = self._engine.source.fps if self._engine.source else 30.0
        self._recorder = Recorder([VideoOutput(str(path), fps, self._style, replace(overlay, mirror=False))])
        self._engine.listeners.append(self._recorder)

    def stop(self) -> str:
        """Finish the recording, if there is one."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return ""
        self._engine.listeners.remove(recorder)
        return "; ".join([*recorder.close(), *recorder.complaints()])
