"""Where images come from: one file a source. A new kind has its file, and its line in `open`."""

from .base import Frame, Source
from .open import local_path, open_source

__all__ = ["Frame", "Source", "local_path", "open_source"]
