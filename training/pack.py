"""Pack labeled images into crop shards: `python training/pack.py --data DATA --split train -o runs/shards/train`.

DATA is a folder with COCO-WholeBody or COCO as published, or with `annotations/SPLIT.json` and `images/`. Other data
sets, and other file names, need `--annotations` and `--images`.

Each person gets one window: the padded box with enough context for scaling and rotation, scaled so that the box is at
most `--max-side` pixels tall; more resolution than the network's input can use is not stored.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.command import command
from edgepose_training.data.packing import ASPECT, COMPACT, COMPACT_SIDE, USUAL, USUAL_SIDE, pack
from edgepose_training.data.registry import DATASETS, find_files, read_people
from edgepose_training.data.shards import ShardWriter


def _files(args: argparse.Namespace) -> tuple[Path, Path]:
    """Labels and image folder."""
    if args.annotations and args.images:
        return args.annotations, args.images
    if args.data is None:
        raise EdgeposeError("give the folder of the data set as --data, or its files as --annotations and --images")
    if args.annotations:
        return args.annotations, args.data / "images"
    annotations, images = find_files(args.data, args.split)
    return annotations, args.images or images


@command()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of COCO-WholeBody, or with annotations/ and images/")
    parser.add_argument("--split", default="train", help="train, val, … (default: train)")
    parser.add_argument("--dataset", choices=DATASETS, default="coco", help="what wrote the labels (default: coco)")
    parser.add_argument("--annotations", type=Path, help="labels, where DATA does not tell: a JSON or .mat file")
    parser.add_argument("--images", type=Path, help="image folder, where DATA does not tell")
    parser.add_argument("--skeleton", help="skeleton name or TOML file (default: the data set's)")
    parser.add_argument("--license", help="keep people of this license class only, e.g. permissive")
    parser.add_argument("--keep-unlabeled", action="store_true", help="people without any label as well, for FPD")
    parser.add_argument("--licence", dest="license", help=argparse.SUPPRESS)  # as they were spelled before
    parser.add_argument("--keep-unlabelled", dest="keep_unlabeled", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the shards")
    parser.add_argument("--context", type=float, default=1.6, help="window around a person, in padded boxes")
    parser.add_argument("--aspect", type=float, default=ASPECT, help="W/H of the network's input (default: 0.75)")
    parser.add_argument("--max-side", type=int, help="largest height of a padded box in a crop, px (default: 288)")
    parser.add_argument("--part-mib", type=int, help="largest size of a shard, MiB (default: 256)")
    parser.add_argument("--format", choices=("webp", "jpg"), default="webp")
    parser.add_argument("--quality", type=int, help="of the images (default: 90)")
    parser.add_argument("--compact", action="store_true", help="shards that travel: gzip, and by default parts of "
                        "16 MiB, 256 px, quality 75")  # fmt: skip
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(argv)
    options, side = (COMPACT, COMPACT_SIDE) if args.compact else (USUAL, USUAL_SIDE)
    if args.part_mib is not None:
        options = options | {"part_bytes": args.part_mib << 20}
    if args.quality is not None:
        options = options | {"quality": args.quality}
    people = read_people(
        args.dataset, *_files(args), Skeleton.load(args.skeleton or DATASETS[args.dataset].skeleton),
        split=args.split, keep_unlabeled=args.keep_unlabeled,
    )  # fmt: skip
    if args.license:
        people = [person for person in people if person.license == args.license]
    with ShardWriter(args.output, image_format=args.format, **options) as writer:
        window = {"context": args.context, "max_side": args.max_side or side, "aspect": args.aspect}
        count = pack(people, writer, workers=args.workers, **window)
    total = sum(path.stat().st_size for path in writer.paths)
    print(f"{count} people in {len(writer.paths)} shards, {total / 2**20:.0f} MiB, in {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
