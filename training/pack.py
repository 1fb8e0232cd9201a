"""Pack labelled pictures into crop shards: `python training/pack.py --data DATA --split train -o runs/shards/train`.

DATA is a folder of COCO-WholeBody or COCO as they are published, or has `annotations/SPLIT.json` and `images/`. Other
data sets, and files of other names, need `--annotations` and `--images`.

One window a person: the padded box with enough context for scaling and rotation, at most `--max-side` pixels tall
in the box's own height, so that nothing is stored that the network's input cannot show.
"""

from __future__ import annotations

import argparse
import logging
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.datasets import Person
from edgepose_training.people import DATASETS, find_files, read_people
from edgepose_training.shards import Crop, ShardWriter

log = logging.getLogger("pack")

PADDING = 1.25  # of the box, as at inference
ASPECT = 3 / 4  # W/H of the network's input


def crop_person(
    image: np.ndarray, person: Person, *, context: float = 1.6, max_side: int = 288, aspect: float = ASPECT
) -> Crop:
    """The window of `image` [H, W, 3] around a person: the padded box × `context`, clipped to the picture.

    `max_side`: the padded box is at most this tall (pixels); larger people are scaled down.
    """
    x1, y1, x2, y2 = person.bbox
    height = max(y2 - y1, (x2 - x1) / aspect) * PADDING
    half = np.array([height * aspect, height]) * context / 2
    center = np.array([x1 + x2, y1 + y2]) / 2
    size = np.array(image.shape[1::-1])
    lo = np.clip(np.floor(center - half), 0, size - 1).astype(int)
    hi = np.clip(np.ceil(center + half), lo + 1, size).astype(int)
    window = image[lo[1] : hi[1], lo[0] : hi[0]]
    factor = min(1.0, max_side / height)
    if factor < 1:
        new = np.maximum(np.round((hi - lo) * factor), 1).astype(int)
        window = cv2.resize(window, (int(new[0]), int(new[1])), interpolation=cv2.INTER_AREA)
    # Rounding gives each axis its own factor; INTER_AREA keeps pixel edges, so centres move by (f - 1) / 2.
    scale = np.array(window.shape[1::-1]) / (hi - lo)
    points = (person.keypoints - lo + 0.5) * scale - 0.5
    points[person.visible == 0] = 0
    bbox = ((person.bbox.reshape(2, 2) - lo) * scale).ravel()
    return Crop(
        window,
        bbox.astype(np.float32),
        points.astype(np.float32),
        person.visible,
        person.weights,
        person.source,
        person.licence,
    )


def _crops_of_picture(task: tuple[list[Person], dict[str, Any]]) -> list[Crop]:
    people, window = task
    image = cv2.imread(str(people[0].image), cv2.IMREAD_COLOR)
    if image is None:
        log.warning("%s: not a readable image, %d people skipped", people[0].image.name, len(people))
        return []
    return [crop_person(image, person, **window) for person in people]


def pack(
    people: list[Person],
    writer: ShardWriter,
    *,
    context: float = 1.6,
    max_side: int = 288,
    aspect: float = ASPECT,
    workers: int = 2,
    seed: int = 0,
) -> int:
    """Crop and write all people, pictures in random order (a shard is then a fair sample). Returns their number."""
    ordered = sorted(people, key=lambda person: str(person.image))
    window = {"context": context, "max_side": max_side, "aspect": aspect}
    tasks = [(list(group), window) for _, group in groupby(ordered, key=lambda person: person.image)]
    np.random.default_rng(seed).shuffle(tasks)  # type: ignore[arg-type]
    count = 0
    with ProcessPoolExecutor(workers) as pool:
        for crops in pool.map(_crops_of_picture, tasks, chunksize=32):
            for crop in crops:
                writer.write(crop)
                count += 1
    return count


def _files(args: argparse.Namespace) -> tuple[Path, Path]:
    """Labels and picture folder."""
    if args.annotations and args.images:
        return args.annotations, args.images
    if args.data is None:
        raise EdgeposeError("give the folder of the data set as --data, or its files as --annotations and --images")
    if args.annotations:
        return args.annotations, args.data / "images"
    annotations, images = find_files(args.data, args.split)
    return annotations, args.images or images


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of COCO-WholeBody, or with annotations/ and images/")
    parser.add_argument("--split", default="train", help="train, val, … (default: train)")
    parser.add_argument("--dataset", choices=DATASETS, default="coco", help="what wrote the labels (default: coco)")
    parser.add_argument("--annotations", type=Path, help="labels, where DATA does not tell: a JSON or .mat file")
    parser.add_argument("--images", type=Path, help="image folder, where DATA does not tell")
    parser.add_argument("--skeleton", help="skeleton name or TOML file (default: the data set's)")
    parser.add_argument("--licence", help="keep people of this licence class only, e.g. permissive")
    parser.add_argument("--keep-unlabelled", action="store_true", help="people without any label as well, for FPD")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the shards")
    parser.add_argument("--context", type=float, default=1.6, help="window around a person, in padded boxes")
    parser.add_argument("--aspect", type=float, default=ASPECT, help="W/H of the network's input (default: 0.75)")
    parser.add_argument("--max-side", type=int, help="largest height of a padded box in a crop, px (default: 288)")
    parser.add_argument("--part-mib", type=int, help="largest size of a shard, MiB (default: 256)")
    parser.add_argument("--format", choices=("webp", "jpg"), default="webp")
    parser.add_argument("--quality", type=int, help="of the pictures (default: 90)")
    parser.add_argument("--compact", action="store_true", help="shards that travel: gzip, and by default parts of "
                        "16 MiB, 256 px, quality 75")  # fmt: skip
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(argv)
    for name, usual, compact in (("part_mib", 256, 16), ("max_side", 288, 256), ("quality", 90, 75)):
        if getattr(args, name) is None:
            setattr(args, name, compact if args.compact else usual)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        people = read_people(
            args.dataset, *_files(args), Skeleton.load(args.skeleton or DATASETS[args.dataset]),
            split=args.split, keep_unlabelled=args.keep_unlabelled,
        )  # fmt: skip
        if args.licence:
            people = [person for person in people if person.licence == args.licence]
        with ShardWriter(
            args.output,
            part_bytes=args.part_mib << 20,
            image_format=args.format,
            quality=args.quality,
            compress=args.compact,
        ) as writer:
            window = {"context": args.context, "max_side": args.max_side, "aspect": args.aspect}
            count = pack(people, writer, workers=args.workers, **window)
    except EdgeposeError as error:
        print(error, file=sys.stderr)
        return 2
    total = sum(path.stat().st_size for path in writer.paths)
    print(f"{count} people in {len(writer.paths)} shards, {total / 2**20:.0f} MiB, in {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
