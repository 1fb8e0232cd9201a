"""Images held out of training: a split of their own, nothing lost, nothing twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import split


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").mkdir()
    images = [{"id": n, "file_name": f"a/{n}.jpg", "width": 9, "height": 9, "split": "train"} for n in range(4)]
    people = [{"id": 10 * n + k, "image_id": n, "bbox": [0, 0, 9, 9]} for n in range(4) for k in range(2)]
    negatives = [{"file_name": f"empty/{n}.jpg", "split": "train"} for n in range(2)]
    for name, document in {
        "train": {"images": images, "annotations": people},
        "val": {"images": [], "annotations": []},
        "negatives": {"images": negatives},
    }.items():
        (folder / "annotations" / f"{name}.json").write_text(json.dumps(document))
    return folder


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / "annotations" / f"{name}.json").read_text())


def test_listed_images_are_a_split_of_their_own(data: Path, tmp_path: Path) -> None:
    names, out = tmp_path / "dev.txt", tmp_path / "out"
    names.write_text("a/1.jpg\na/3.jpg\nempty/0.jpg\n")
    command = ["--data", str(data), "--hold-out", str(names), "-o", str(out)]
    for _ in range(2):  # again into the same folder, too
        assert split.main(command) == 0
    train, dev = read(out, "train"), read(out, "dev")
    assert [image["file_name"] for image in dev["images"]] == ["a/1.jpg", "a/3.jpg"]
    assert {image["split"] for image in dev["images"]} == {"dev"}
    assert [entry["id"] for entry in dev["annotations"]] == [10, 11, 30, 31]
    assert [entry["id"] for entry in train["annotations"]] == [0, 1, 20, 21]
    assert [image["split"] for image in read(out, "negatives")["images"]] == ["dev", "train"]
    assert read(out, "val") == read(data, "val")
    assert (out / "images").resolve() == (data / "images").resolve()


def test_a_name_that_is_not_there_is_refused(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = tmp_path / "dev.txt"
    names.write_text("a/1.jpg\na/7.jpg\n")
    assert split.main(["--data", str(data), "--hold-out", str(names), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "1 of 2 images are not in the annotations, such as a/7.jpg.\n"


def test_names_may_have_spaces(data: Path, tmp_path: Path) -> None:
    """As those of phones and screenshots do."""
    labels = data / "annotations/train.json"
    labels.write_text(labels.read_text().replace("a/1.jpg", "a/IMG 1 (2).jpg"))
    names, out = tmp_path / "dev.txt", tmp_path / "out"
    names.write_bytes(b"a/IMG 1 (2).jpg\r\n\r\na/3.jpg ")
    assert split.main(["--data", str(data), "--hold-out", str(names), "-o", str(out)]) == 0
    assert [image["file_name"] for image in read(out, "dev")["images"]] == ["a/IMG 1 (2).jpg", "a/3.jpg"]
