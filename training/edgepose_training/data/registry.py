"""People of any data set by its name: which files hold them, and which reader reads those."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.data.aic import read_aic
from edgepose_training.data.annotations import load_json
from edgepose_training.data.coco import Person, ReadReport, read_coco_wholebody
from edgepose_training.data.point_mapping import PointMapping
from edgepose_training.data.readers import read_crowdpose, read_halpe, read_lsp, read_lspet, read_mpii
from edgepose_training.data.ubody import read_ubody


class Dataset(NamedTuple):
    """How the files of a data set are read: `reader(annotations, images, report=…, **options)`."""

    reader: Callable[..., list[Person]]
    skeleton: str  # that its points make by themselves
    options: tuple[str, ...] = ("split", "keep_unlabeled")  # that the reader takes; "skeleton": files of any points


# A new data set is a reader (see readers.py) and a row here.
DATASETS = {
    "coco": Dataset(read_coco_wholebody, "coco_wholebody", ("skeleton", "split", "category", "keep_unlabeled")),
    "aic": Dataset(read_aic, "aic14"),
    "ap10k": Dataset(read_coco_wholebody, "ap10k", ("skeleton", "split", "category", "keep_unlabeled")),
    "crowdpose": Dataset(read_crowdpose, "crowdpose14"),
    "halpe": Dataset(read_halpe, "halpe136"),
    "ubody": Dataset(read_ubody, "coco_wholebody"),
    "mpii": Dataset(read_mpii, "mpii16"),
    "lsp": Dataset(read_lsp, "lsp14", ("split",)),
    "lspet": Dataset(read_lspet, "lsp14", ()),
}
# Ours, COCO-WholeBody's and COCO's names of the labels of a split, with the folders that may hold its images.
LAYOUTS = (
    ("{split}.json", ("images",)),
    ("coco_wholebody_{split}_v1.0.json", ("{split}2017", "images/{split}2017")),
    ("person_keypoints_{split}2017.json", ("{split}2017", "images/{split}2017")),
)


def find_files(data: Path, split: str) -> tuple[Path, Path]:
    """Labels and image folder of a split of a COCO-like data set. Raises EdgeposeError that lists what was sought."""
    names = []
    for name, folders in LAYOUTS:
        labels = data / "annotations" / name.format(split=split)
        if labels.is_file():
            images = [data / folder.format(split=split) for folder in folders]
            return labels, next((folder for folder in images if folder.is_dir()), images[0])
        names.append(labels.name)
    raise EdgeposeError(f"{data}: expected a folder annotations/ with {', '.join(names[:-1])} or {names[-1]}")


def empty_images(data: Path, split: str) -> list[Path]:
    """The images without people that `annotations/negatives.json` lists for a split; none where there is no list."""
    path = data / "annotations" / "negatives.json"
    images = load_json(path)["images"] if path.is_file() else []
    return [data / "images" / image["file_name"] for image in images if image.get("split", split) == split]


def read_people(
    dataset: str,
    annotations: Path,
    images: Path,
    skeleton: Skeleton,
    *,
    split: str,
    category: str | None = None,
    keep_unlabeled: bool = False,
    points: Path | None = None,
    report: ReadReport | None = None,
) -> list[Person]:
    """People of one of `DATASETS` in the points of `skeleton`, by name or by a table `points` (see PointMapping).

    `category`: of a COCO file; `keep_unlabeled`: also people without any label, where a data set has such.
    Raises EdgeposeError where the data set has none of these points, and when no person is left.
    """
    known = DATASETS[dataset]
    own = skeleton if "skeleton" in known.options else Skeleton.load(known.skeleton)
    mapping = PointMapping.between(own, skeleton, points)
    given = {"skeleton": skeleton, "split": split, "category": category, "keep_unlabeled": keep_unlabeled}
    people = known.reader(annotations, images, report=report, **{name: given[name] for name in known.options})
    if mapping.is_identity:
        return people
    mapped = [mapping.person(person) for person in people]
    kept = [person for person in mapped if keep_unlabeled or person.visible.any()]
    if not kept:
        raise EdgeposeError(f"{annotations}: nobody has a labeled point of {skeleton.name}")
    return kept


def sample_people(people: list[Person], sources: Sequence[str] | None, limit: int | None) -> list[Person]:
    """The people of these sources, and a random sample of them if there are more than `limit`."""
    people = [person for person in people if not sources or person.source in sources]
    if not people:
        raise EdgeposeError(
            f"Nobody comes from {', '.join(sources)}: check --source." if sources else "There are no people to look at."
        )
    return [people[row] for row in np.random.default_rng(0).permutation(len(people))[:limit]] if limit else people


def of_license(people: list[Person], wanted: str | None) -> list[Person]:
    """The people of this license class; all without one. Raises EdgeposeError that names the classes that are there."""
    kept = [person for person in people if wanted in (None, person.license)]
    if not kept:
        classes = Counter(person.license for person in people)
        named = [f"{name} ({count} people)" for name, count in classes.most_common() if name]
        there = f"there are {', '.join(named)}" if named else "no image of this file states one"
        raise EdgeposeError(f"nobody has the license {wanted!r}: {there}")
    return kept


def every_nth_image(people: list[Person], n: int) -> list[Person]:
    """The people of every n-th image, from the first one on: for frames of videos, which are much alike."""
    rank = {image: place for place, image in enumerate(sorted({person.image for person in people}))}
    return [person for person in people if rank[person.image] % n == 0]
