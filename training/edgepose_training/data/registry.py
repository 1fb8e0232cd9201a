"""People of any data set by its name: which files hold them, and which reader reads those."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.data.coco import Person, ReadReport, load_json, read_coco_wholebody
from edgepose_training.data.readers import read_crowdpose, read_halpe, read_lsp, read_lspet, read_mpii

# Each with the skeleton that its points make by themselves.
DATASETS = {
    "coco": "coco_wholebody",
    "crowdpose": "crowdpose14",
    "halpe": "halpe136",
    "mpii": "mpii16",
    "lsp": "lsp14",
    "lspet": "lsp14",
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
            pictures = [data / folder.format(split=split) for folder in folders]
            return labels, next((folder for folder in pictures if folder.is_dir()), pictures[0])
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
    keep_unlabeled: bool = False,
    report: ReadReport | None = None,
) -> list[Person]:
    """People of one of `DATASETS` in `skeleton`. Raises EdgeposeError for points that the data set does not have.

    `keep_unlabeled`: also those without any label, where a data set has such.
    """
    if dataset == "coco":
        return read_coco_wholebody(
            annotations, images, skeleton, split=split, keep_unlabeled=keep_unlabeled, report=report
        )
    if dataset == "halpe":
        return read_halpe(annotations, images, skeleton, split=split, keep_unlabeled=keep_unlabeled, report=report)
    if skeleton.name != DATASETS[dataset]:
        raise EdgeposeError(f"{dataset} has the points of {DATASETS[dataset]}, not of {skeleton.name}")
    if dataset == "crowdpose":
        return read_crowdpose(annotations, images, split=split, keep_unlabeled=keep_unlabeled, report=report)
    if dataset == "mpii":
        return read_mpii(annotations, images, split=split, keep_unlabeled=keep_unlabeled, report=report)
    if dataset == "lsp":
        return read_lsp(annotations, images, split=split, report=report)
    return read_lspet(annotations, images, report=report)


def chosen(people: list[Person], sources: Sequence[str] | None, limit: int | None) -> list[Person]:
    """The people of these sources, and a random sample of them if there are more than `limit`."""
    people = [person for person in people if not sources or person.source in sources]
    if not people:
        raise EdgeposeError(f"Nobody comes from {', '.join(sources)}: check --source.")
    return [people[row] for row in np.random.default_rng(0).permutation(len(people))[:limit]] if limit else people
