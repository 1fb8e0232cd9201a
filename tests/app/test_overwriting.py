"""Nothing that was there is lost: sources, other outputs, older files, snapshots of the same second."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from doubles import FakeEstimator, write_video
from test_cli import app

from edgepose import EdgeposeError, Poses
from edgepose_app.engine import Engine, Result
from edgepose_app.media_saver import MediaSaver
from edgepose_app.overlay import OverlayOptions, SkeletonStyle
from edgepose_app.overwriting import refuse_overwriting
from edgepose_app.sources import Frame


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "clip.mp4"
    path.write_text("precious")
    return path


def other_names(source: Path, folder: Path) -> list[str]:
    """Of one file: by another way through the folders, a symbolic link, a hard link, a link to its folder."""
    (folder / "soft.mp4").symlink_to(source)
    (folder / "hard.mp4").hardlink_to(source)
    (folder / "way").symlink_to(source.parent)
    names = [str(source), f"{source.parent}/../in/clip.mp4", str(folder / "soft.mp4"), str(folder / "hard.mp4")]
    return [*names, str(folder / "way" / "clip.mp4"), os.path.relpath(source)]


def test_the_source_is_never_replaced_under_any_name(source: Path, tmp_path: Path):
    for name in other_names(source, tmp_path):
        with pytest.raises(EdgeposeError, match="would overwrite the source"):
            refuse_overwriting([source], [("--save", name)], overwrite=True)


def test_a_folder_of_images_is_a_source_file_by_file(tmp_path: Path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.png").write_text("precious")
    (tmp_path / "b.png").hardlink_to(tmp_path / "in" / "deep" / "a.png")
    for name in ("in", "in/deep/a.png", "b.png"):
        with pytest.raises(EdgeposeError, match="would overwrite the source"):
            refuse_overwriting([tmp_path / "in"], [("--save", str(tmp_path / name))], overwrite=True)


def test_a_folder_that_is_mounted_twice(source: Path, tmp_path: Path):
    """A bind mount has no link that could be followed, only the same device and inode."""
    again = tmp_path / "again"
    again.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "--bind", source.parent, again], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(EdgeposeError, match="would overwrite the source"):
            refuse_overwriting([source], [("--save", str(again / "clip.mp4"))], overwrite=True)
    finally:
        subprocess.run(["umount", again], check=True)


def test_two_outputs_are_not_one_file(tmp_path: Path):
    there = tmp_path / "a.jsonl"
    there.touch()
    (tmp_path / "b.jsonl").hardlink_to(there)
    for one, other in ((there, tmp_path / "b.jsonl"), (tmp_path / "new", tmp_path / "." / "new")):
        with pytest.raises(EdgeposeError, match="another output"):
            refuse_overwriting([], [("--save", str(one)), ("--json", str(other))], overwrite=True)


def test_what_is_there_stays_without_overwrite(tmp_path: Path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.png").touch()
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("a.mp4", "full"):
        with pytest.raises(EdgeposeError, match="add --overwrite"):
            refuse_overwriting([], [("--save", str(tmp_path / name))], overwrite=False)
        refuse_overwriting([], [("--save", str(tmp_path / name))], overwrite=True)
    free = ["-", "/dev/null", "/dev/stdout", *(str(tmp_path / name) for name in ("empty", "new.mp4", "pipe"))]
    refuse_overwriting([], [("--save", name) for name in free], overwrite=False)


def test_the_command_keeps_and_replaces(tmp_path: Path, constant_model: Path):
    write_video(tmp_path / "clip.avi", 3)
    args = ["--source", "clip.avi", "--model", constant_model, "--detector", "none", "--headless"]
    outputs = ["--save", "a.csv", "--save", "cam_json", "--save", "first.png", "--json", "a.jsonl"]
    assert app(*args, *outputs, "--frames", 1, cwd=tmp_path).returncode == 0
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1
    before = (tmp_path / "a.csv").read_bytes()
    for output in (outputs[i : i + 2] for i in range(0, 8, 2)):
        run = app(*args, *output, "--frames", 1, cwd=tmp_path)
        assert run.returncode == 2, run.stdout
        assert "--overwrite" in run.stderr
    assert (tmp_path / "a.csv").read_bytes() == before
    run = app(*args, *outputs[:4], *outputs[6:], "--overwrite", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 3
    assert len(list((tmp_path / "cam_json").iterdir())) == 3


def test_five_snapshots_in_a_second_are_five_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgepose_app.media_saver.time.strftime", lambda form: form.replace("%Y%m%d-%H%M%S", "now"))
    saver = MediaSaver(
        Engine(FakeEstimator(), realtime=True), SkeletonStyle.of(FakeEstimator.card, FakeEstimator.skeleton)
    )
    for number in range(5):
        image = np.full((8, 8, 3), 10 * number, np.uint8)
        said = saver.save_image(Result(Frame(image, number, 0.0), Poses.empty(133), {}), OverlayOptions())
        assert said.startswith("saved output")
    found = sorted(int(cv2.imread(str(path))[0, 0, 0]) for path in (tmp_path / "output").glob("pose-now*.png"))
    assert found == [0, 10, 20, 30, 40]
