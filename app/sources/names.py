"""What people type for a source: paths in every usual way, patterns, folders, addresses, cameras."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from edgepose import EdgeposeError

from ..media import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from ..redaction import without_secrets
from .folder import natural_key

_PRINTF = re.compile(r"%(0\d+)?d")


@dataclass(frozen=True)
class Pictures:
    """Image files that belong together, in order."""

    name: str
    files: tuple[Path, ...]
    sequence: bool  # frames of one video, as the pattern `frame_%04d.png` says

    def __str__(self) -> str:
        return self.name


Spec = int | str | Pictures  # one source: a camera's number; a path, an address, "demo" or "-"; or images


def is_address(spec: str) -> bool:
    """Whether this is a URL of something that is no local file."""
    return "://" in spec and not spec.startswith("file://")


def local_path(spec: Spec) -> Path | None:
    """The file or folder that `spec` names; None for cameras, addresses, "demo", "-", images, and nothing at all.

    As it is typed, where that exists; else without what shells, file managers and browsers put around it: quotes,
    blanks, `~`, `file://` with its percent signs.
    """
    if not isinstance(spec, str) or spec in ("demo", "-") or not spec.strip() or is_address(spec):
        return None
    bare = spec.strip()
    bare = bare[1:-1] if len(bare) > 2 and bare[0] == bare[-1] and bare[0] in "\"'" else bare
    found = [spec, bare, os.path.expanduser(bare)]
    if bare.startswith("file:"):
        rest = bare.removeprefix("file://").removeprefix("file:")
        found = [*found, url2pathname(urlsplit(bare).path), os.path.expanduser(rest)]
    paths = [Path(name) for name in found]
    return next((path for path in paths if exists(path)), paths[3] if bare.startswith("file:") else paths[-1])


def files_of(spec: Spec) -> list[Path]:
    """The files or the folder that a source reads."""
    if isinstance(spec, Pictures):
        return list(spec.files)
    path = local_path(spec)
    return [] if path is None else [path]


def name_of(spec: Spec) -> str:
    """What to call a source, open or not: of a path its last part, an address without what opens it."""
    if isinstance(spec, int):
        return f"camera {spec}"
    if spec == "-":
        return "standard input"
    if isinstance(spec, Pictures) or is_address(spec):
        return without_secrets(str(spec))
    return Path(spec).name or spec


def camera_of(path: Path) -> int | None:
    """The number of the camera whose device `path` is (`/dev/video0`, or a link to it)."""
    match = re.fullmatch(r"/dev/video(\d+)", str(path.resolve() if _is_link(path) else path))
    return int(match[1]) if match else None


def expand(typed: Sequence[Spec]) -> list[Spec]:
    """The single sources of what was typed: patterns and folders of videos are many; neighboring images are one."""
    specs: list[Spec] = []
    images: list[Path] = []
    for spec in typed:
        path = local_path(spec)
        if path is not None and path.suffix.lower() in IMAGE_SUFFIXES and exists(path) and path.is_file():
            images.append(path)
        else:
            specs += [*_together(images), *(_many(spec, path) if isinstance(spec, str) and path else [spec])]
            images = []
    return [*specs, *_together(images)]


def _many(spec: str, path: Path) -> list[Spec]:
    """The sources of a folder or a pattern; what is neither is left to whoever opens it."""
    if exists(path):
        return _in_folder(path) if path.is_dir() else [spec]
    if _PRINTF.search(path.name):
        return [_numbered(path)]
    if not glob.has_magic(str(path)):
        return [spec]
    files = sorted(map(Path, glob.glob(str(path), recursive=True)), key=natural_key)
    images = tuple(file for file in files if file.suffix.lower() in IMAGE_SUFFIXES)
    found: list[Spec] = [Pictures(path.name, images, False)] if images else []
    found += [str(file) for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    if not found:
        raise EdgeposeError(f"{path}: no image and no video has such a name")
    return found


def _in_folder(path: Path) -> list[Spec]:
    """Its images as one source, and each of its videos; itself where it has neither, which its opening says."""
    files = sorted((file for file in path.rglob("*") if file.is_file()), key=natural_key)
    videos: list[Spec] = [str(file) for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    images = any(file.suffix.lower() in IMAGE_SUFFIXES for file in files)
    return [str(path), *videos] if images or not videos else videos


def _numbered(path: Path) -> Pictures:
    """`frame_%04d.png`: the files that a printf pattern names, by number."""
    pattern = _PRINTF.sub("\0", path.name)
    regex = re.compile(re.escape(pattern).replace(re.escape("\0"), r"(\d+)"))
    files = path.parent.glob("*") if path.parent.is_dir() else ()
    matches = [(match, file) for file in files if (match := regex.fullmatch(file.name))]
    numbered = [([int(number) for number in match.groups()], file) for match, file in matches]
    if not numbered:
        raise EdgeposeError(f"{path}: no file has such a name")
    return Pictures(path.name, tuple(file for _, file in sorted(numbered)), True)


def _together(images: Sequence[Path]) -> list[Spec]:
    if len(images) < 2:
        return [str(path) for path in images]
    return [Pictures(f"{images[0].name} … {images[-1].name}", tuple(images), False)]


def exists(path: Path) -> bool:
    """Whether it is there; a name that no file can have is not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except (OSError, ValueError):
        return False
