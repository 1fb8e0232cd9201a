"""Which outputs there are: every class in this folder that names endings or schemes. A new one is one file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any
from urllib.parse import urlsplit

from edgepose import EdgeposeError

from .base import Output, RunInfo, SaveKind, SendKind
from .open import open_output


def open_save(path: str, run: RunInfo) -> Output:
    """What `--save PATH` asks for: by the longest ending that some class knows, else a video, an image or a folder."""
    name = path.rstrip("/\\").lower()
    fitting = [ending for ending in save_kinds() if name.endswith(ending)]
    if fitting:
        return save_kinds()[max(fitting, key=len)].open(path, run)
    if name.endswith(".json"):
        raise EdgeposeError(
            f"--save {path}: say which JSON: {path[:-5]}.jsonl is a line a frame, {path[:-5]}.coco.json are "
            f"COCO-WholeBody results, {path[:-5]}_json is a folder as OpenPose writes it"
        )
    try:
        return open_output(path, run)
    except EdgeposeError as error:
        others = ", ".join(save_kinds())
        raise EdgeposeError(f"{error}; or {others}") if "unknown ending" in str(error) else error from None


def open_send(address: str, run: RunInfo) -> Output:
    """What `--send ADDRESS` asks for: `udp`, `osc://192.168.1.20:9000`, …"""
    scheme = urlsplit(address).scheme if "://" in address else address
    if scheme.lower() not in send_kinds():
        known = ", ".join(f"{scheme}://" for scheme in send_kinds())
        raise EdgeposeError(f"--send {address}: unknown kind of address; use {known}")
    return send_kinds()[scheme.lower()].open(address, run)


@cache
def save_kinds() -> dict[str, SaveKind]:
    """Ending of a path → the class that writes such files."""
    return {ending: kind for kind in _classes() for ending in getattr(kind, "ENDINGS", ())}


@cache
def send_kinds() -> dict[str, SendKind]:
    """Scheme of an address → the class that sends there."""
    return {scheme: kind for kind in _classes() for scheme in getattr(kind, "SCHEMES", ())}


def _classes() -> Iterator[Any]:
    for found in iter_modules(sys.modules[str(__package__)].__path__):
        module = import_module(f"{__package__}.{found.name}")
        yield from (value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__)
