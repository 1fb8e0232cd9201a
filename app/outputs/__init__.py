"""Where results go: one file an output. A new kind has its file, and its line in `open`."""

from .base import Sink
from .images import PictureSink
from .jsonl import JsonLines
from .open import close_all, save_sink
from .recorder import Recorder
from .video import VideoSink

__all__ = ["JsonLines", "PictureSink", "Recorder", "Sink", "VideoSink", "close_all", "save_sink"]
