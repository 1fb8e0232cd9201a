"""Where results go: one file an output. A new kind has its file, and its line in `open`."""

from .base import Output, ReaderOutput, RunInfo
from .images import ImagesOutput
from .jsonl import JsonlOutput, open_jsonl
from .kinds import open_save, open_send
from .open import close_all, open_output
from .recorder import Recorder
from .video import VideoOutput

__all__ = [
    "ImagesOutput",
    "JsonlOutput",
    "Output",
    "ReaderOutput",
    "Recorder",
    "RunInfo",
    "VideoOutput",
    "close_all",
    "open_jsonl",
    "open_output",
    "open_save",
    "open_send",
]
