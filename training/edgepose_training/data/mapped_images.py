"""Images of any size in one flat file of bytes, which training reads at the speed of the page cache.

The file has no header: sizes are kept in an index beside it, by whoever uses it. The index is written last and
replaced at once, so a crash leaves the old index, and bytes at the end that it does not know; the next `appending`
cuts them off.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


class MappedImages(Sequence[np.ndarray]):
    """The images of a file, memory-mapped and shared by all processes. sizes: [N, 2] H, W; offsets: [N] bytes."""

    def __init__(self, path: Path, sizes: np.ndarray, offsets: np.ndarray | None = None) -> None:
        self.path, self.sizes = path, sizes
        self.offsets = offsets_of(sizes) if offsets is None else offsets
        self._pixels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, i: int) -> np.ndarray:  # type: ignore[override]  # no slices; [h, w, 3] uint8 BGR
        if self._pixels is None:  # opened in the process that reads, not inherited through a fork or pickle
            self._pixels = np.memmap(self.path, np.uint8, "r")
        h, w = (int(v) for v in self.sizes[i])  # an IndexError ends an iteration
        start = int(self.offsets[i])
        return self._pixels[start : start + h * w * 3].reshape(h, w, 3)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None}


def bytes_of(sizes: np.ndarray) -> np.ndarray:  # [N, 2] H, W -> [N]
    lengths: np.ndarray = sizes.reshape(-1, 2).prod(axis=1).astype(np.int64) * 3
    return lengths


def offsets_of(sizes: np.ndarray) -> np.ndarray:  # [N, 2] H, W -> [N]
    """Where the images begin that lie one behind the other."""
    lengths = bytes_of(sizes)
    starts: np.ndarray = np.cumsum(lengths) - lengths
    return starts


@contextmanager
def appending(path: Path, known: np.ndarray) -> Iterator[BinaryIO]:  # sizes [N, 2] of the images that count
    """The file, to write images behind those that the index knows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.truncate(path, int(bytes_of(known).sum()))
    with path.open("ab") as file:
        yield file


@contextmanager
def replacing(index: Path) -> Iterator[Path]:
    """A path to write the new index to; it takes the place of the old one if all went well."""
    temporary = index.with_suffix(f".tmp{index.suffix}")
    yield temporary
    os.replace(temporary, index)
