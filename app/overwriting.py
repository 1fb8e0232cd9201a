"""What an output may not do: replace its source, another output, or what was there before."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgepose import EdgeposeError

from .media import IMAGE_SUFFIXES

Identity = tuple[int, int] | str  # device and inode; of what is not there yet its path


def refuse_overwriting(sources: Iterable[Path], outputs: Sequence[tuple[str, str]], *, overwrite: bool) -> None:
    """EdgeposeError for an output, as (option, path), that would replace something.

    Files are told apart by device and inode: a hard link and a folder that is mounted twice have several names.
    """
    taken = {identity(path) for source in sources for path in _files_of(source)}
    for option, name in outputs:
        path = Path(name)
        if name == "-" or _is_device(path):
            continue
        if identity(path) in taken:
            raise EdgeposeError(f"{option} {name}: would overwrite the source or another output; choose another place")
        if not overwrite and path.is_file():
            raise EdgeposeError(f"{option} {name}: is there already; choose another name, or add --overwrite")
        if not overwrite and path.is_dir() and any(path.iterdir()):
            raise EdgeposeError(f"{option} {name}: this folder has files in it; choose another, or add --overwrite")
        taken.add(identity(path))


def identity(path: Path) -> Identity:
    """What stays the same under every name of a file."""
    try:
        known = path.stat()
    except OSError:  # not there yet, or not to be seen
        return os.path.realpath(path)
    return (known.st_dev, known.st_ino) if known.st_ino else os.path.realpath(path)


def _files_of(source: Path) -> Iterable[Path]:
    yield source
    if source.is_dir():
        yield from (path for path in source.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    elif source.suffix.lower() in IMAGE_SUFFIXES:
        yield source.parent  # a folder to save in keeps the names of the images


def _is_device(path: Path) -> bool:
    """`/dev/null`, `/dev/stdout`, a named pipe: nothing is lost there."""
    return path.parts[:2] == ("/", "dev") or (path.exists() and not path.is_file() and not path.is_dir())
