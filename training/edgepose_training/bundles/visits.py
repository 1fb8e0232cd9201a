"""Visits to a GPU that is there for minutes at a time: bundles of shards out, weights in chunks and curves back."""

from __future__ import annotations

import logging
import os
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgepose import EdgeposeError, Skeleton
from edgepose_training.bundles import chunks
from edgepose_training.config import Config
from edgepose_training.data import crop_cache
from edgepose_training.data.crop_cache import CropCache
from edgepose_training.data.packing import COMPACT, COMPACT_SIDE, PADDING, pack
from edgepose_training.data.registry import find_files, of_license, read_people
from edgepose_training.data.shards import SUFFIXES, ShardWriter

if TYPE_CHECKING:  # packing needs no torch
    from edgepose_training.engine.trainer import Trainer

log = logging.getLogger("gpu_train")

SPLITS = ("train", "val")
SKELETON = "coco_wholebody"
ROUNDED = 0.02  # share of a height by which whole pixels may make it smaller
RUN_LOG_ZIPS = ("*.run_log.zip", "*.journal.zip")  # today's name, and the former
RUN_LOG = ("train.csv", "valid.csv", "curves.png")


# --- at home, before a visit


def pack_shards(data: Path, folder: Path, license_class: str | None, workers: int) -> None:
    """Compact shards of both splits in `folder`/{train,val}; a split that is there already stays."""
    for split in SPLITS:
        if list((folder / split).glob("*.tar*")):
            log.info("%s is there already", folder / split)
            continue
        people = read_people("coco", *find_files(data, split), Skeleton.load(SKELETON), split=split)
        people = of_license(people, license_class)
        with ShardWriter(folder / split, **COMPACT) as writer:
            count = pack(people, writer, workers=workers, max_side=COMPACT_SIDE)
        log.info("%d people in %d shards in %s", count, len(writer.paths), folder / split)


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


# --- on the GPU's machine


def receive(folders: list[Path], work: Path) -> None:
    """Add the shards of `folders`/{train,val} to the caches in `work`; put their weights into `work`/weights."""
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


def check_height(crops: CropCache, config: Config) -> None:
    """Raises EdgeposeError where even the tallest person is stored smaller than the input of this config is."""
    width, height = config.input_size
    across, down = (crops.bboxes[:, 2:] - crops.bboxes[:, :2]).max(0).tolist()
    tallest = max(down, across * height / width) * PADDING
    if tallest < height * (1 - ROUNDED):
        raise EdgeposeError(
            f"people in the bundles are at most {tallest:.0f} px tall, which an input of {width}×{height} would "
            "enlarge: pack with pack.py --compact --for CONFIG into the folder that gpu_train.py pack makes bundles of"
        )


def find_weights(name: str, work: Path) -> Path | None:
    """Where a run left off: its full state, else what was received of it."""
    candidates = (work / "runs" / name / "last.pt", work / "weights" / f"{name}.pt")
    return next((path for path in candidates if path.exists()), None)


def needed_weights(name: str, work: Path, option: str) -> Path:
    """Weights of a run. Raises EdgeposeError that names the `option` for a run that has none."""
    path = find_weights(name, work)
    if path is None:
        raise EdgeposeError(f"{option} {name}: neither trained here nor received; {work} has no weights of it")
    return path


def hand_out(trainer: Trainer, name: str, work: Path, out: Path) -> None:
    """Weights in chunks and curves in one file, ready to be taken away at any time."""
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


# --- at home, after a visit


def collect(folders: list[Path], output: Path) -> list[Path]:
    """Join the files in chunks in `folders`, and unpack the curves beside them. Returns the joined files."""
    manifests = [manifest for folder in folders for manifest in chunks.find_manifests(folder)]
    if not manifests:
        raise EdgeposeError(f"{folders[0]}: no *{chunks.MANIFEST} there")
    joined = [chunks.join(manifest, output) for manifest in manifests]
    for folder in folders:
        for archive in sorted(path for pattern in RUN_LOG_ZIPS for path in folder.glob(pattern)):
            with zipfile.ZipFile(archive) as file:
                file.extractall(output / archive.name.removesuffix(".zip"))
    return joined
