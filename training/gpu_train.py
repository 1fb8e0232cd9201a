"""Training in pieces, on a GPU that is there for some minutes at a time and takes and gives little.

At home:      gpu_train.py pack --data DATA -o runs/gpu          compact shards, in parcels that fit one visit
On the GPU:   gpu_train.py receive PARCEL…  --work WORK          decode what came, join weights that came
              gpu_train.py train CONFIG --name NAME --work WORK --out OUT --minutes 8
At home:      gpu_train.py collect FOLDER -o runs/gpu/weights    weights and curves out of what came back

`make gpu-train` does what belongs on the GPU. A run goes on from its full state if the machine still has it, else
from weights that were received, else from nothing. docs/training.md shows whole visits.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import time
import zipfile
from pathlib import Path

from edgepose import EdgeposeError

log = logging.getLogger("gpu_train")

CONFIGS = Path(__file__).parent / "configs"
SPLITS = ("train", "val")
JOURNAL = ("train.csv", "valid.csv", "curves.png")


# --- at home, before


def make_parcels(shards: Path, folder: Path, limit: int) -> list[Path]:
    """Group the shards below `shards`/{train,val} into folders of at most `limit` bytes, linked, not copied."""
    shutil.rmtree(folder, ignore_errors=True)
    parcels: list[list[tuple[str, Path]]] = [[]]
    room = limit
    # Validation first: every visit can then tell how good it is.
    for split in reversed(SPLITS):
        for path in sorted((shards / split).glob("*.tar*")):
            size = path.stat().st_size
            if size > limit:
                raise EdgeposeError(f"{path}: {size} bytes do not fit into a parcel of {limit}")
            if size > room:
                parcels.append([])
                room = limit
            parcels[-1].append((split, path))
            room -= size
    for number, members in enumerate(parcels):
        for split, path in members:
            target = folder / str(number) / split / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    return [folder / str(number) for number in range(len(parcels))]


def pack(args: argparse.Namespace) -> None:
    from edgepose_training import pack as packing

    for split in SPLITS:
        folder = args.output / "shards" / split
        if folder.is_dir() and list(folder.glob("*.tar*")):
            log.info("%s is there already", folder)
            continue
        command = ["--data", str(args.data), "--split", split, "--compact", "--workers", str(args.workers)]
        more = ["--licence", args.licence] if args.licence else []
        if packing.main([*command, *more, "-o", str(folder)]):
            raise EdgeposeError(f"packing {split} failed; the reason stands above")
    for parcel in make_parcels(args.output / "shards", args.output / "parcels", int(args.parcel_mib * 2**20)):
        size = sum(path.stat().st_size for path in parcel.rglob("*") if path.is_file())
        print(f"{parcel}  {size / 2**20:.0f} MiB")


# --- on the GPU


def receive(folders: list[Path], work: Path) -> None:
    """Add the shards of `folders`/{train,val} to the stores in `work`; put their weights into `work`/weights."""
    from edgepose_training import parts, store
    from edgepose_training.shards import SUFFIXES

    for folder in folders:
        if not folder.is_dir():
            raise EdgeposeError(f"{folder}: no such parcel")
        for split in SPLITS:
            shards = sorted(p for p in (folder / split).glob("*.tar*") if p.name.endswith(SUFFIXES))
            if shards:
                store.extend(work / split, shards, workers=os.cpu_count() or 1)
        for manifest in parts.find_manifests(folder):
            log.info("received %s", parts.join(manifest, work / "weights"))
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


def hand_out(run, name: str, work: Path, out: Path) -> None:  # type: ignore[no-untyped-def]
    """Weights in parts and curves in one file, ready to be taken away at any time."""
    from edgepose_training import checkpoint, parts

    weights = work / "outgoing" / f"{name}.pt"
    checkpoint.save(weights, checkpoint.slim(run.state()))
    written = parts.split(weights, out)
    journal = out / f"{name}.journal.zip"
    with zipfile.ZipFile(journal, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (run.out / file for file in JOURNAL):
            if path.exists():
                archive.write(path, path.name)
    log.info("%s: %d files, %.1f MiB in %s", name, len(written) + 1, weights.stat().st_size / 2**20, out)


def train(args: argparse.Namespace) -> None:
    """One run, or the next piece of it."""
    from edgepose_training.config import Config
    from edgepose_training.distill import pick_device, until_asked
    from edgepose_training.pace import Pace
    from edgepose_training.run import Run
    from edgepose_training.store import CropStore

    began = time.monotonic()
    given = Path(args.config)
    path = given if given.suffix == ".toml" else CONFIGS / f"{args.config}.toml"
    config = Config.load(path, args.set + ["kernels=false"] * args.no_kernels)
    valid = CropStore.open(args.work / "val") if (args.work / "val" / "index.npz").exists() else None
    teacher = needed_weights(args.teacher, args.work, "--teacher") if args.teacher else None
    init = needed_weights(args.init, args.work, "--init") if args.init else None
    run = Run(
        config, CropStore.open(args.work / "train"), valid, args.work / "runs" / args.name, pick_device(args.device),
        teacher, init,
    )  # fmt: skip
    if args.minutes:
        run.pace = Pace(began + args.minutes * 60)
    left_off = find_weights(args.name, args.work)
    if left_off is not None:
        run.resume(left_off)
    if args.stop_after:
        run.stop_at = began + args.stop_after * 60
    run.after_save = lambda _: hand_out(run, args.name, args.work, args.out)
    until_asked(run)
    if run.epoch < run.config.epochs:
        log.info("%s is at epoch %d of %d; the same command goes on", args.name, run.epoch, run.config.epochs)


# --- at home, after


def collect(folders: list[Path], output: Path) -> list[Path]:
    """Join the weights in `folders`, and unpack the curves beside them. Returns the checkpoints."""
    from edgepose_training import parts

    manifests = [manifest for folder in folders for manifest in parts.find_manifests(folder)]
    if not manifests:
        raise EdgeposeError(f"{folders[0]}: no weights in parts there")
    weights = [parts.join(manifest, output) for manifest in manifests]
    for folder in folders:
        for archive in folder.glob("*.journal.zip"):
            with zipfile.ZipFile(archive) as file:
                file.extractall(output / archive.name.removesuffix(".zip"))
    return weights


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("pack", help="compact shards and parcels")
    one.add_argument("--data", type=Path, required=True, help="folder with annotations/ and images/")
    one.add_argument("-o", "--output", type=Path, default=Path("runs/gpu"))
    one.add_argument("--parcel-mib", type=float, default=48, help="largest parcel; the sources travel beside it")
    one.add_argument("--licence", help="people of this licence class only, e.g. permissive")
    one.add_argument("--workers", type=int, default=2)
    one = commands.add_parser("receive", help="decode a parcel's shards, join its weights")
    one.add_argument("folders", type=Path, nargs="+")
    one.add_argument("--work", type=Path, default=Path("runs/gpu/work"), help="what stays on the GPU's machine")
    one = commands.add_parser("train", help="one run, or the next piece of it")
    one.add_argument("config", help="TOML file, or the name of one in training/configs")
    one.add_argument("--name", required=True, help="of the run and of its weights")
    one.add_argument("--work", type=Path, default=Path("runs/gpu/work"))
    one.add_argument("--out", type=Path, required=True, help="folder that is taken back home")
    one.add_argument("--teacher", metavar="NAME", help="run or received weights to distil from")
    one.add_argument("--init", metavar="NAME", help="run or received weights to start from")
    one.add_argument("--minutes", type=float, help="choose the number of epochs to fill so long, over all pieces")
    one.add_argument("--stop-after", type=float, metavar="MINUTES", help="save, hand out and stop after so long")
    one.add_argument("--device", default="auto")
    one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one config value")
    one.add_argument("--no-kernels", action="store_true", help="all in plain torch, where the kernels do not build")
    one = commands.add_parser("collect", help="weights and curves out of what came back")
    one.add_argument("folders", type=Path, nargs="+")
    one.add_argument("-o", "--output", type=Path, default=Path("runs/gpu/weights"))
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        match args.command:
            case "pack":
                pack(args)
            case "receive":
                receive(args.folders, args.work)
            case "train":
                train(args)
            case "collect":
                for path in collect(args.folders, args.output):
                    print(path)
    except EdgeposeError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
