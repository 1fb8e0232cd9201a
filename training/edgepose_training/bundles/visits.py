"""What travels to and from a GPU that is there for minutes at a time: bundles of shards, weights in chunks, curves."""

from __future__ import annotations

import logging
import os
import shutil
import zipfile
from pathlib import Path

from edgepose import EdgeposeError

log = logging.getLogger("gpu_train")


SPLITS = ("train", "val")


RUN_LOG = ("train.csv", "valid.csv", "curves.png")


def make_bundles(shards: Path, folder: Path, limit: int) -> list[Path]:
    """Group the shards below `shards`/{train,val} into folders of at most `limit` bytes, linked, not copied."""
    shutil.rmtree(folder, ignore_errors=True)
    bundles: list[list[tuple[str, Path]]] = [[]]
    room = limit
    # Validation first: every visit can then tell how good it is.
    for split in reversed(SPLITS):
        for path in sorted((shards / split).glob("*.tar*")):
            size = path.stat().st_size
            if size > limit:
                raise EdgeposeError(f"{path}: {size} bytes do not fit into a bundle of {limit}")
            if size > room:
                bundles.append([])
                room = limit
            bundles[-1].append((split, path))
            room -= size
    for number, members in enumerate(bundles):
        for split, path in members:
            target = folder / str(number) / split / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    return [folder / str(number) for number in range(len(bundles))]


def receive(folders: list[Path], work: Path) -> None:
    """Add the shards of `folders`/{train,val} to the stores in `work`; put their weights into `work`/weights."""
    from edgepose_training.bundles import chunks
    from edgepose_training.data import crop_cache
    from edgepose_training.data.shards import SUFFIXES

    for folder in folders:
        if not folder.is_dir():
            raise EdgeposeError(f"{folder}: no such bundle")
        for split in SPLITS:
            shards = sorted(p for p in (folder / split).glob("*.tar*") if p.name.endswith(SUFFIXES))
            if shards:
                crop_cache.extend(work / split, shards, workers=os.cpu_count() or 1)
        for manifest in chunks.find_manifests(folder):
            log.info("received %s", chunks.join(manifest, work / "weights"))
        for path in folder.glob("*.pt"):
            (work / "weights").mkdir(parents=True, exist_ok=True)
            shutil.copy(path, work / "weights")
            log.info("received %s", path.name)


def find_weights(name: str, work: Path) -> Path | None:
    """Where a run left off: its full state, else what was received of it."""
    candidates = (work / "runs" / name / "last.pt", work / "weights" / f"{name}.pt")
    return next((path for path in candidates if path.exists()), None)


def needed_weights(name: str, work: Path, option: str) -> Path:
    path = find_weights(name, work)
    if path is None:
        raise EdgeposeError(f"{option} {name}: neither trained here nor received; {work} has no weights of it")
    return path


def hand_out(trainer, name: str, work: Path, out: Path) -> None:  # type: ignore[no-untyped-def]
    """Weights in parts and curves in one file, ready to be taken away at any time."""
    from edgepose_training.bundles import chunks
    from edgepose_training.engine import checkpoints

    weights = work / "outgoing" / f"{name}.pt"
    checkpoints.save(weights, checkpoints.slim(trainer.state()))
    written = chunks.split(weights, out)
    run_log = out / f"{name}.run_log.zip"
    with zipfile.ZipFile(run_log, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (trainer.out / file for file in RUN_LOG):
            if path.exists():
                archive.write(path, path.name)
    log.info("%s: %d files, %.1f MiB in %s", name, len(written) + 1, weights.stat().st_size / 2**20, out)


def collect(folders: list[Path], output: Path) -> list[Path]:
    """Join the weights in `folders`, and unpack the curves beside them. Returns the checkpoints."""
    from edgepose_training.bundles import chunks

    manifests = [manifest for folder in folders for manifest in chunks.find_manifests(folder)]
    if not manifests:
        raise EdgeposeError(f"{folders[0]}: no weights in parts there")
    weights = [chunks.join(manifest, output) for manifest in manifests]
    for folder in folders:
        for archive in folder.glob("*.run_log.zip"):
            with zipfile.ZipFile(archive) as file:
                file.extractall(output / archive.name.removesuffix(".zip"))
    return weights
