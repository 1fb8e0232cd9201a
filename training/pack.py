"""Pack labeled images into crop shards: `python training/pack.py --data DATA --split train -o runs/shards/train`.

DATA is a folder with COCO-WholeBody or COCO as published, or with `annotations/SPLIT.json` and `images/`. Other data
sets, and other file names, need `--annotations` and `--images`.

Each person gets one window: the padded box with enough context for scaling and rotation, scaled so that the box is at
most `--max-side` pixels tall; more resolution than the network's input can use is not stored. `--for CONFIG` takes
window, size and skeleton from a recipe.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.command import command
from edgepose_training.config import Config
from edgepose_training.data.coco import Person
from edgepose_training.data.packing import ASPECT, COMPACT, COMPACT_SIDE, CONTEXT, USUAL, USUAL_SIDE, pack
from edgepose_training.data.registry import DATASETS, every_nth_image, find_files, of_license, read_people
from edgepose_training.data.shard_folder import PackedSet, ShardFolder


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


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of COCO-WholeBody, or with annotations/ and images/")
    parser.add_argument("--split", default="train", help="train, val, … (default: train)")
    parser.add_argument("--dataset", choices=DATASETS, default="coco", help="what wrote the labels (default: coco)")
    parser.add_argument("--annotations", type=Path, help="labels, where DATA does not tell: a JSON or .mat file")
    parser.add_argument("--images", type=Path, help="image folder, where DATA does not tell")
    parser.add_argument("--skeleton", help="skeleton name or TOML file (default: the recipe's, else the data set's)")
    parser.add_argument("--points", type=Path, help="TOML table of which points of the data set are the skeleton's, "
                        "where names do not tell (docs/data.md)")  # fmt: skip
    parser.add_argument("--category", help="name or id of the category to read, where the labels have several")
    parser.add_argument("--license", help="keep people of this license class only, e.g. permissive")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th image, of video frames")
    parser.add_argument("--keep-unlabeled", action="store_true", help="people without any label as well, for FPD")
    parser.add_argument("--licence", dest="license", help=argparse.SUPPRESS)  # as they were spelled before
    parser.add_argument("--keep-unlabelled", dest="keep_unlabeled", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the shards")
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--append", action="store_true", help="add to the shards in --output")
    there.add_argument("--overwrite", action="store_true", help="replace the shards in --output")
    parser.add_argument("--for", dest="recipe", metavar="CONFIG", help="recipe that will train: its skeleton, aspect, "
                        "resolution and context")  # fmt: skip
    parser.add_argument("--context", type=float, help=f"window around a person, in padded boxes (default: {CONTEXT})")
    parser.add_argument("--aspect", type=float, help=f"W/H of the network's input (default: {ASPECT})")
    parser.add_argument("--max-side", type=int, help=f"largest height of a padded box in a crop, px (default: "
                        f"{USUAL_SIDE})")  # fmt: skip
    parser.add_argument("--part-mib", type=int, help="largest size of a shard, MiB (default: 256)")
    parser.add_argument("--format", choices=("webp", "jpg"), default="webp")
    parser.add_argument("--quality", type=int, help="of the images (default: 90)")
    parser.add_argument("--compact", action="store_true", help="shards that travel: gzip, and by default parts of "
                        "16 MiB, 256 px, quality 75")  # fmt: skip
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(argv)
    if args.every < 1:
        parser.error(f"--every expected 1 or more, got {args.every}")
    return args


def _window(args: argparse.Namespace, config: Config | None) -> dict[str, Any]:
    """Context, side and aspect of the crops: as given, else what the recipe needs, else the usual ones."""
    window = {"context": CONTEXT, "max_side": COMPACT_SIDE if args.compact else USUAL_SIDE, "aspect": ASPECT}
    if config is not None:
        from edgepose_training.data.window import window_for  # torch, which packing needs not

        window |= window_for(config)
    given = {"context": args.context, "max_side": args.max_side, "aspect": args.aspect}
    return window | {name: value for name, value in given.items() if value is not None}


def _people(args: argparse.Namespace, skeleton: Skeleton) -> list[Person]:
    people = read_people(
        args.dataset, *_files(args), skeleton, split=args.split, category=args.category,
        keep_unlabeled=args.keep_unlabeled, points=args.points,
    )  # fmt: skip
    return every_nth_image(of_license(people, args.license), args.every)


@command()
def main(argv: list[str] | None = None) -> int:
    args = _parse(argv)
    options = dict(COMPACT if args.compact else USUAL)
    if args.part_mib is not None:
        options |= {"part_bytes": args.part_mib << 20}
    if args.quality is not None:
        options |= {"quality": args.quality}
    config = Config.load(args.recipe) if args.recipe else None
    skeleton = Skeleton.load(args.skeleton or (config.skeleton if config else DATASETS[args.dataset].skeleton))
    window = _window(args, config)
    folder = ShardFolder(args.output, skeleton, append=args.append, overwrite=args.overwrite)
    people = _people(args, skeleton)
    with folder.writing(image_format=args.format, **options) as writer:
        count = pack(people, writer, workers=args.workers, **window)
        if not count:
            raise EdgeposeError(f"none of the {len(people)} people could be cut out of their images")
    sources = Counter(person.source or args.dataset for person in people)
    labels = str(args.annotations or args.data)
    folder.record(PackedSet(args.dataset, labels, count, dict(sources), **window))
    total = sum(path.stat().st_size for path in writer.paths)
    print(f"{count} people in {len(writer.paths)} shards, {total / 2**20:.0f} MiB, in {args.output}: "
          + ", ".join(f"{number} of {name}" for name, number in sources.most_common()))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
