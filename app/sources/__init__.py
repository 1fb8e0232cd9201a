"""Where images come from: one file a source. A new kind has its file, and its line in `open`."""

from .base import Frame, Source
from .names import Pictures, Spec, expand, files_of, local_path, name_of
from .open import SourceOptions, open_source

__all__ = [
    "Frame",
    "Pictures",
    "Source",
    "SourceOptions",
    "Spec",
    "expand",
    "files_of",
    "local_path",
    "name_of",
    "open_source",
]
