"""The images that a COCO file lists, as they are on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edgepose import EdgeposeError
from edgepose_training.data.annotations import SkipEntry
from edgepose_training.data.label_fit import Misfit, check_size


@dataclass(frozen=True, slots=True)
class Image:
    path: Path
    size: tuple[int, int]  # W, H
    source: str
    license: str
    split: str | None


class Report(Protocol):
    """Who counts what is left out, and what is kept in doubt."""

    def skip(self, reason: str, name: str) -> None: ...
    def doubt(self, reason: str, name: str) -> None: ...


class ListedImages:
    """Images by id. Files that are missing, or of another size than the list says, are no images of it."""

    def __init__(self, document: dict[str, Any], root: Path, report: Report) -> None:
        """Raises EdgeposeError where the folder has none of them."""
        self._report = report
        self._images: dict[int, Image] = {}
        self._verdicts: dict[int, SkipEntry | None] = {}  # why an image cannot be used
        licenses = _license_names(document)
        for entry in document["images"]:
            try:
                self._images[entry["id"]] = image = _image(entry, root, licenses)
            except (KeyError, TypeError, ValueError, AttributeError):
                report.skip("image entry without id, file_name, width or height", repr(entry)[:60])
                continue
            if not image.path.is_file():
                report.skip("image file missing", entry["file_name"])
                self._verdicts[entry["id"]] = SkipEntry("person of a missing image")
        if self._images and len(self._verdicts) == len(self._images):
            raise EdgeposeError(_nowhere(next(iter(self._images.values())).path, len(self._images), root))

    def __getitem__(self, number: int) -> Image:
        """The image of an id; its header is read the first time. Raises SkipEntry for one that cannot be used."""
        if number not in self._images:
            raise SkipEntry("annotation of an image that the file does not list")
        image = self._images[number]
        if number not in self._verdicts:
            self._verdicts[number] = self._verdict(image)
        if (why := self._verdicts[number]) is not None:
            raise why.with_traceback(None)
        return image

    def _verdict(self, image: Image) -> SkipEntry | None:
        try:
            if doubt := check_size(image.path, image.size):
                self._report.doubt(doubt, image.path.name)
        except Misfit as why:
            return why
        except SkipEntry as why:
            self._report.skip(str(why), image.path.name)
            return SkipEntry("person of an unreadable image")
        return None


def _nowhere(path: Path, count: int, root: Path) -> str:
    """The sentence for a folder `root` with none of a file's `count` pictures, of which `path` is one."""
    if not root.is_dir():
        return f"{root}: expected the folder of the pictures, but there is none"
    name = path.relative_to(root)
    there = f"; {path.name} itself is there, so correct file_name in the labels" * (root / path.name).is_file()
    return f"{root}: it has none of the {count} pictures that the labels list, such as {name}{there}"


def _image(entry: Any, root: Path, licenses: dict[Any, str]) -> Image:
    size = int(entry["width"]), int(entry["height"])
    path = root / entry["file_name"].lstrip("/")  # as UBody's begin
    stated = entry.get("licence", entry.get("license", ""))
    license_class = stated if isinstance(stated, str) else licenses.get(stated, "")
    return Image(path, size, entry.get("source", ""), license_class, entry.get("split"))


def _license_names(document: dict[str, Any]) -> dict[Any, str]:
    """Names by id, as COCO's images have a number for their license."""
    listed = document.get("licenses")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    return {entry.get("id"): str(entry.get("name", "")) for entry in entries}
