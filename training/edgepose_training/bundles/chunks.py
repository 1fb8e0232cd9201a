"""Files split into chunks, for machines that return only small files.

A checkpoint goes as `<name>.000`, `.001`, … and a manifest `<name>.parts.json` with the size and SHA-256 of each. The
manifest is written last: what has one is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from edgepose import EdgeposeError

CHUNK_BYTES = 16 << 20
MANIFEST = ".parts.json"


def split(path: Path, folder: Path, chunk_bytes: int = CHUNK_BYTES) -> list[Path]:
    """Cut a file into chunks of at most `chunk_bytes`, over an earlier cut of it. Returns what was written.

    The old manifest goes first, so that a copy interrupted between two states never passes for either.
    """
    data = path.read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / (path.name + MANIFEST)
    manifest.unlink(missing_ok=True)
    for old in folder.glob(path.name + ".[0-9][0-9][0-9]"):
        old.unlink()
    entries, written = [], []
    for number, start in enumerate(range(0, max(len(data), 1), chunk_bytes)):
        chunk = data[start : start + chunk_bytes]
        target = folder / f"{path.name}.{number:03d}"
        target.write_bytes(chunk)
        entries.append({"name": target.name, "size": len(chunk), "sha256": hashlib.sha256(chunk).hexdigest()})
        written.append(target)
    temporary = manifest.with_suffix(".tmp")
    temporary.write_text(json.dumps({"file": path.name, "size": len(data), "parts": entries}, indent=1))
    os.replace(temporary, manifest)
    return [*written, manifest]


def join(manifest: Path, folder: Path) -> Path:
    """Put a file together again in `folder`. Raises EdgeposeError that names the chunk that is missing or damaged."""
    try:
        table = json.loads(manifest.read_text())
        name, entries = Path(table["file"]).name, table["parts"]
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise EdgeposeError(f"{manifest}: not a manifest of chunks ({error})") from error
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / (name + ".tmp")
    with temporary.open("wb") as file:
        for entry in entries:
            file.write(_chunk(manifest.parent / Path(entry["name"]).name, entry))
    os.replace(temporary, folder / name)
    return folder / name


def _chunk(path: Path, entry: dict[str, Any]) -> bytes:
    try:
        chunk = path.read_bytes()
    except OSError as error:
        raise EdgeposeError(f"{path}: this chunk is missing ({error.strerror})") from error
    if hashlib.sha256(chunk).hexdigest() != entry["sha256"]:
        raise EdgeposeError(f"{path}: this chunk is damaged ({len(chunk)} bytes of {entry['size']}); copy it again")
    return chunk


def find_manifests(folder: Path) -> list[Path]:
    """Manifests directly in `folder`, sorted."""
    return sorted(folder.glob("*" + MANIFEST))
