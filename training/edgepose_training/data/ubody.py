"""UBody: the frames of videos of fifteen scenes, in COCO-WholeBody's points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.data.coco import Person, ReadReport, read_coco_wholebody

LABELS = "keypoint_annotation.json"  # of a scene
TEST_VIDEOS = "splits/intra_scene_test_list.npy"  # beside annotations/


def read_ubody(
    annotations: str | Path,
    images_root: str | Path,
    *,
    split: str = "train",
    keep_unlabeled: bool = False,
    report: ReadReport | None = None,
) -> list[Person]:
    """UBody's `annotations/` with a folder a scene, or one scene's file; images by scene below `images_root`.

    `split`: "train" leaves out the videos of `splits/intra_scene_test_list.npy`, any other takes them alone; a single
    file without that list beside its folders is taken whole. Scenes whose frames were not extracted are left out.
    Raises EdgeposeError for files that are missing or none of UBody's, and when no person is left.
    """
    path, root = Path(annotations), Path(images_root)
    report = ReadReport() if report is None else report
    folder = path if path.is_dir() else path.parents[1]
    scenes = sorted(path.glob(f"*/{LABELS}")) if path.is_dir() else [path]
    if not scenes:
        raise EdgeposeError(f"{path}: expected a folder a scene with {LABELS} in it, as UBody has")
    people: list[Person] = []
    for labels in scenes:
        images = root / labels.parent.name
        if path.is_dir() and not images.is_dir():
            report.skip("scene without a folder of images", labels.parent.name)
            continue
        found = read_coco_wholebody(
            labels, images if images.is_dir() else root, Skeleton.load("coco_wholebody"), split=split,
            keep_unlabeled=keep_unlabeled, report=report,
        )  # fmt: skip
        people += _numbered_after(people, found)
    chosen = _of_split(people, folder.parent / TEST_VIDEOS, split)
    if not chosen:
        raise EdgeposeError(f"{path}: nobody in its split {split!r}. {report}")
    return chosen


def _of_split(people: list[Person], test_list: Path, split: str) -> list[Person]:
    if not test_list.is_file():
        return people
    try:
        tests = set(np.load(test_list).tolist())
    except (OSError, ValueError, EOFError) as error:
        raise EdgeposeError(f"{test_list}: expected numpy's file of video names ({error})") from error
    return [person for person in people if (_video(person) in tests) != (split == "train")]


def _video(person: Person) -> str:
    """The video of a frame; cuttings of one have its name before `_Trim`."""
    return person.image.parent.name.split("_Trim")[0]


def _numbered_after(before: list[Person], people: list[Person]) -> list[Person]:
    """Every scene counts its images and people anew."""
    image = max((person.image_id for person in before), default=-1) + 1
    entry = max((person.annotation_id for person in before), default=-1) + 1
    return [
        replace(person, image_id=person.image_id + image, annotation_id=person.annotation_id + entry, source="ubody")
        for person in people
    ]
