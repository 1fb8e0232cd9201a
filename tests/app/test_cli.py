"""The command in its own process, as a user runs it: its files, its one-sentence errors, its demo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from doubles import NUM_KEYPOINTS, read_clip, write_clip, write_video

from edgepose import EdgeposeError
from edgepose_app import cli, run_outputs
from edgepose_app.context import make_context
from edgepose_app.interrupts import ENDINGS
from edgepose_app.options import AppOptions
from edgepose_app.run_outputs import open_outputs


def app(*args: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}
    return subprocess.run(
        [sys.executable, "-m", "edgepose_app", *map(str, args)],
        cwd=cwd,
        env={**clean, "OMP_NUM_THREADS": "1", **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def checked_record(line: str, size: tuple[int, int]) -> dict[str, Any]:
    """A line of JSONL, after everything that issue and documentation promise of it."""
    record: dict[str, Any] = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert isinstance(record["frame"], int)
    assert record["time"] >= 0
    assert record["size"] == list(size)
    assert {"detect", "crop", "network", "decode", "track", "pose"} <= set(record["timings_ms"])
    for person in record["people"]:
        assert set(person) == {"id", "bbox", "score", "keypoints"}
        assert len(person["bbox"]) == 4
        assert 0 <= person["score"] <= 1
        assert np.shape(person["keypoints"]) == (NUM_KEYPOINTS, 3)
    return record


def test_a_video_headless(tmp_path: Path, constant_model: Path):
    video = write_video(tmp_path / "numbers.avi", 12)
    run = app(
        "--source",
        video,
        "--model",
        constant_model,
        "--detector",
        "none",  # a real one sees nobody there
        "--headless",
        "--json",
        "out.jsonl",
        "--save",
        "seen.mp4",
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    records = [checked_record(line, (480, 120)) for line in lines]
    assert [record["frame"] for record in records] == list(range(12))
    assert all("file" not in record for record in records)
    assert [record["people"][0]["id"] for record in records] == [records[0]["people"][0]["id"]] * 12
    saved = cv2.VideoCapture(str(tmp_path / "seen.mp4"))
    assert saved.get(cv2.CAP_PROP_FRAME_COUNT) == 12
    saved.release()
    assert "12 frames" in run.stdout
    assert "p95" in run.stdout
    assert "edgepose-app:" not in run.stderr  # progress, on a slow machine, but no complaint


def test_a_folder_headless(tmp_path: Path, constant_model: Path):
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "in" / "a.png"), noise)
    cv2.imwrite(str(tmp_path / "in" / "c.png"), noise[..., 0].astype(np.uint16) * 257)
    (tmp_path / "in" / "b.png").write_text("broken")
    run = app("--source", "in", "--model", constant_model, "--headless", "--json", "-", "--save", "seen", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    records = [checked_record(line, (90, 60)) for line in run.stdout.splitlines()]
    assert [record["file"] for record in records] == ["a.png", "c.png"]
    assert all(person["id"] == -1 for record in records for person in record["people"])
    assert "b.png: skipped" in run.stderr
    assert "skipped 1 file " in run.stderr
    assert sorted(path.name for path in (tmp_path / "seen").iterdir()) == ["a.png", "c.png"]


def test_the_pixels_of_the_decoder_arrive_in_the_file(tmp_path: Path, constant_model: Path):
    # 192 × 256 with one person who fills it. The box that the tracker makes of the first look is not ours to
    # predict, but the net answers points on a line at 45° in the crop, whatever the crop: so does the file.
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((256, 192, 3), np.uint8))
    args = ("--source", "a.png", "--model", constant_model, "--detector", "none", "--headless", "--json", "-")
    run = app(*args, cwd=tmp_path)
    (record,) = [checked_record(line, (192, 256)) for line in run.stdout.splitlines()]
    (person,) = record["people"]
    x, y, score = np.array(person["keypoints"]).T
    np.testing.assert_allclose(np.diff(x), np.diff(y), atol=0.02)
    assert np.all(np.diff(x) > 0)
    np.testing.assert_allclose(score, 0.9, atol=1e-4)


def test_several_sources_each_with_its_outputs(tmp_path: Path, constant_model: Path):
    """One that fails is named, and the rest is done."""
    for place, frames in (("a.mp4", 3), ("deep/a.mp4", 4), ("deep/b.mkv", 5)):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        write_clip(tmp_path / place, [number / 10 for number in range(frames)], sound=0.3)
    (tmp_path / "bad.mp4").write_text("no video")
    (tmp_path / "worse.mp4").touch()
    cv2.imwrite(str(tmp_path / "p1.png"), np.zeros((60, 90, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "p2.png"), np.zeros((60, 90, 3), np.uint8))
    outputs = ["--save", "seen", "--save", "pose_json", "--save-raw", "raw", "--json", "points"]
    outputs += ["--headless", "--model", constant_model]
    run = app("bad.mp4", "a.mp4", "worse.mp4", "deep", "p*.png", *outputs, "--detector", "none", cwd=tmp_path)
    assert run.returncode == 2
    assert "bad.mp4: no video that can be read" in run.stderr
    assert "worse.mp4: the file is empty" in run.stderr
    assert "2 of 6 sources failed; the others are done" in run.stderr
    for name, frames in (("a", 3), ("a-2", 4), ("b", 5)):
        records = (tmp_path / "points" / f"{name}.jsonl").read_text().splitlines()
        times = [json.loads(record)["time"] for record in records]
        assert len(times) == frames
        for folder in ("seen", "raw"):
            np.testing.assert_allclose(read_clip(tmp_path / folder / f"{name}.mp4")[1], times, atol=0.001)
        numbers, _ = read_clip(tmp_path / "raw" / f"{name}.mp4")
        assert numbers == list(range(frames))  # line n is frame n
        assert len(list((tmp_path / "pose_json" / f"{name}_json").glob("*_keypoints.json"))) == frames
    assert len((tmp_path / "points" / "images.jsonl").read_text().splitlines()) == 2
    assert sorted(path.name for path in (tmp_path / "seen" / "images").iterdir()) == ["p1.png", "p2.png"]


@pytest.mark.parametrize(("flag", "place"), [("--save", "seen.mp4"), ("--save-raw", "raw.mp4"), ("--json", "-")])
def test_several_sources_in_one_output_are_refused(tmp_path: Path, constant_model: Path, flag: str, place: str):
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, [0.0])
    run = app("a.mp4", "b.mp4", "--headless", "--model", constant_model, flag, place, cwd=tmp_path)
    assert run.returncode == 2
    assert f"{flag} {place}: there are several sources; name a folder" in run.stderr


def test_no_source_is_overwritten_by_another_ones_output(tmp_path: Path, constant_model: Path):
    (tmp_path / "deep").mkdir()
    clips = [write_clip(tmp_path / name, [0.0]) for name in ("a.mp4", "deep/a.mp4", "deep/b.mp4")]
    before = [clip.read_bytes() for clip in clips]
    other = tmp_path / "other" / "a.mp4"  # another name of the second one, for the first one's output
    other.parent.mkdir()
    os.link(clips[1], other)
    for folder in ("deep", "other"):
        save = ["--save", folder, "--overwrite"]
        run = app(*clips, "--headless", "--model", constant_model, "--detector", "none", *save, cwd=tmp_path)
        assert run.returncode == 2
        assert "would overwrite a source" in run.stderr
        assert [clip.read_bytes() for clip in clips] == before
        assert (tmp_path / folder / "a-2.mp4").exists()


def test_no_source_that_follows_in_the_window_is_overwritten(tmp_path: Path, constant_model: Path):
    clips = [str(write_clip(tmp_path / name, [0.0])) for name in ("a.mp4", "b.mp4", "c.mp4")]
    model = ["--model", str(constant_model), "--detector", "none"]
    context = make_context(AppOptions.parse([*clips, *model, "--overwrite"]))
    for clip in clips:
        with pytest.raises(EdgeposeError, match="would overwrite the source"):
            open_outputs(replace(context, options=replace(context.options, save=(clip,))), live=True)
    context.source.close()


def test_images_are_not_saved_over_themselves(tmp_path: Path, constant_model: Path):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.full((60, 90, 3), 77, np.uint8))
    for flag in ("--save", "--save-raw"):
        run = app("a.png", "b.png", "--headless", "--model", constant_model, flag, ".", cwd=tmp_path)
        assert run.returncode == 2
        assert "would overwrite the source" in run.stderr
    assert (cv2.imread(str(tmp_path / "b.png")) == 77).all()


def test_black_and_raw(tmp_path: Path, constant_model: Path):
    """The skeleton on nothing but black; the images as they came."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((256, 192, 3), (10, 90, 200), np.uint8))
    outputs = ["--save", "seen.png", "--save-raw", "raw.png", "--black", "--headless", "--model", constant_model]
    run = app("a.png", *outputs, "--detector", "none", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert (cv2.imread(str(tmp_path / "raw.png")) == (10, 90, 200)).all()
    seen = cv2.imread(str(tmp_path / "seen.png"))
    assert (seen == 0).all(axis=2).mean() > 0.5
    assert seen.any()


def test_images_need_no_pyav(tmp_path: Path, constant_model: Path):
    """The runtime extra has none: an image is looked at, and a video is one sentence, read or written."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((60, 90, 3), np.uint8))
    (tmp_path / "a.mp4").touch()
    code = "import sys; sys.modules['av'] = None; from edgepose_app.cli import main; sys.exit(main(sys.argv[1:]))"

    def run(*args: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *args, "--headless", "--detector", "none", "--model", constant_model]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(list(map(str, command)), cwd=tmp_path, env=env, capture_output=True, text=True)

    image = run("a.png", "--json", "-")
    assert image.returncode == 0, image.stderr
    checked_record(image.stdout, (90, 60))
    for args in (["a.mp4"], ["a.png", "--save", "b.mp4"]):
        video = run(*args)
        assert video.returncode == 2
        assert "pip install 'edgepose[app]'" in video.stderr
        assert "Traceback" not in video.stderr


def test_list_cameras(tmp_path: Path):
    run = app("--list-cameras", cwd=tmp_path)
    assert run.returncode == 0
    assert run.stdout.strip()


def test_the_demo_headless(tmp_path: Path, constant_model: Path):
    pytest.importorskip("matplotlib", reason="the demo's photograph comes with matplotlib")
    run = app("--source", "demo", "--model", constant_model, "--detector", "none", "--duration", "2", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "no display here" in run.stderr
    assert "60 frames" in run.stdout
    assert "jitter in the photograph" in run.stdout
    video = cv2.VideoCapture(str(tmp_path / "output" / "demo.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 60
    video.release()
    table = (tmp_path / "output" / "demo_timings.txt").read_text()
    for word in ("network", "decode", "p99", "jitter"):
        assert word in table
    assert "output/demo.mp4" in run.stdout
    assert "output/demo_timings.txt" in run.stdout


def test_frames_limits_a_run(tmp_path: Path, constant_model: Path):
    video = write_video(tmp_path / "numbers.avi", 12)
    args = ("--source", video, "--model", constant_model, "--headless", "--json", "-")
    assert len(app(*args, "--frames", 5, cwd=tmp_path).stdout.splitlines()) == 5
    assert len(app(*args, "--duration", 0.2, cwd=tmp_path).stdout.splitlines()) == 5  # 25 fps


@pytest.fixture
def mistakes(tmp_path: Path, constant_model: Path) -> dict[str, tuple[list[object], str]]:
    """What is typed, and what must be said about it."""
    onnx = pytest.importorskip("onnx")
    from onnx import helper

    (tmp_path / "text.onnx").write_text("I am no model")
    (tmp_path / "text.mp4").write_text("I am no video")
    (tmp_path / "text.png").write_text("I am no image")
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "small.png"), np.zeros((8, 8, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((8, 8, 3), np.uint8))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["input"], ["output"])],
        "other",
        [value("input", onnx.TensorProto.FLOAT, ["N", 3, 256, 192])],
        [value("output", onnx.TensorProto.FLOAT, ["N", 3, 256, 192])],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "other.onnx")
    good = ["--model", constant_model]
    return {
        "path": (["--source", "nowhere.mp4", *good], "nowhere.mp4: there is no such file"),
        "number as source": (["--source", "0", *good], "did you mean --camera 0?"),
        "camera": (["--camera", "77", *good], "camera 77: there is no such camera"),
        "stream": (["--source", "http://127.0.0.1:9/x", *good], "no video stream there"),
        "no video": (["--source", "text.mp4", *good], "no video that can be read"),
        "no images": (["--source", "empty", *good], "no images in this folder"),
        "no image": (["--source", "text.png", *good], "text.png: no image that can be read"),
        "no such model": (["--source", "demo", "--model", "nowhere.onnx"], "nowhere.onnx"),
        "no onnx": (["--source", "demo", "--model", "text.onnx"], "text.onnx"),
        "no simcc": (["--source", "demo", "--model", "other.onnx"], "other.onnx"),
        "no detector": (["--source", "demo", *good, "--detector", "text.onnx"], "text.onnx"),
        "screenshot": (["--source", "demo", *good, "--screenshot", "a.png"], "--screenshot shows the window"),
        "ending": (["--source", "demo", *good, "--save", "a.xyz"], "unknown ending .xyz"),
        "source over itself": (["--source", "small.png", *good, "--save", "small.png"], "overwrite the source"),
        "images over themselves": (["pictures", *good, "--save", "pictures"], "overwrite the source"),
        "image into its folder": (["--source", "small.png", *good, "--save", "./"], "overwrite the source"),
        "one file for two": (["--source", "demo", *good, "--save", "a.mp4", "--json", "a.mp4"], "another output"),
        "nothing": (["--source", "", *good], "the source is empty"),
        "one image of many": (["--source", "demo", *good, "--save", "b.png"], "is one image, and demo has more"),
        "there already": (["--source", "demo", *good, "--json", "text.png"], "is there already; choose another name"),
        "folder in use": (["--source", "demo", *good, "--save", "."], "this folder has files in it"),
        "place": (["--source", "demo", *good, "--json", "text.png/a.jsonl"], "text.png"),
    }


def test_mistakes_get_one_sentence(tmp_path: Path, mistakes: dict[str, tuple[list[object], str]]):
    for what, (args, sentence) in mistakes.items():
        run = app(*args, "--headless", cwd=tmp_path)
        assert run.returncode == 2, (what, run.stderr)
        assert sentence in run.stderr, (what, run.stderr)
        assert "Traceback" not in run.stderr, (what, run.stderr)
        others = [line for line in run.stderr.splitlines() if "skipped" not in line]
        assert len(others) == 1, (what, run.stderr)


def test_cuda_without_a_gpu(tmp_path: Path, constant_model: Path):
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU here")
    run = app("--source", "demo", "--model", constant_model, "--device", "cuda", "--headless", cwd=tmp_path)
    assert run.returncode == 2
    assert "CUDA" in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_nonsense_options_are_refused(tmp_path: Path):
    run = app("--max-people", "0", cwd=tmp_path)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("options", [[], ["--flip-test"]])
def test_the_flip_test_reaches_the_net(constant_model: Path, options: list[str]):
    pytest.importorskip("matplotlib", reason="the demo's photograph comes with matplotlib")
    args = ["--source", "demo", "--detector", "none", "--model", str(constant_model), *options]
    context = make_context(AppOptions.parse(args))
    context.source.close()
    assert context.estimator._net.flip_test == bool(options)


@pytest.mark.parametrize("number", ENDINGS)
def test_ctrl_c_and_a_polite_kill_finish_the_files(tmp_path: Path, constant_model: Path, number: signal.Signals):
    pytest.importorskip("matplotlib", reason="the demo's photograph comes with matplotlib")
    args = ["--source", "demo", "--model", constant_model, "--headless", "--duration", "3600", "--json", "out.jsonl"]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgepose_app", *map(str, args)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    out = tmp_path / "out.jsonl"
    deadline = time.monotonic() + 60
    while (not out.exists() or out.stat().st_size == 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "wrote output/demo.mp4" in stdout
    video = cv2.VideoCapture(str(tmp_path / "output" / "demo.mp4"))
    assert video.read()[0]
    video.release()
    for line in out.read_text().splitlines():
        checked_record(line, (960, 720))


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no terminals that hang up here")
@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_ends_a_run_but_not_under_nohup(tmp_path: Path, constant_model: Path, ignored: bool):
    """The terminal goes first, then comes SIGHUP: whatever is printed fails, the files are finished all the same."""
    pytest.importorskip("matplotlib", reason="the demo's photograph comes with matplotlib")
    ours, theirs = os.openpty()
    args = ["--source", "demo", "--model", constant_model, "--headless", "--save", "seen.mp4", "--json", "out.jsonl"]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgepose_app", *map(str, args), "--frames", "150" if ignored else "1000000"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=theirs, stderr=theirs, stdin=theirs,
        preexec_fn=(lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) if ignored else None,
    )  # fmt: skip
    os.close(theirs)
    out = tmp_path / "out.jsonl"
    deadline = time.monotonic() + 60
    while (not out.exists() or out.stat().st_size == 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    assert process.wait(120) == (0 if ignored else 130)
    lines = out.read_text().splitlines()
    assert len(lines) == 150 if ignored else lines
    assert len(read_clip(tmp_path / "seen.mp4", decode=False)[1]) == len(lines)


def test_a_failing_decoder_fails_the_app(
    tmp_path: Path, constant_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """There is one decoder: without it nothing comes out, and the app says so instead of showing nothing."""
    import edgepose.ops

    def broken(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("simcc_decode was taken away")

    monkeypatch.setattr(edgepose.ops, "simcc_decode", broken)
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("a.png", np.zeros((256, 192, 3), np.uint8))
    model = ["--model", str(constant_model), "--detector", "none"]
    status = cli.main(["--source", "a.png", *model, "--headless", "--json", "out.jsonl"])
    assert status == 1
    assert "simcc_decode was taken away" in capsys.readouterr().err
    assert (tmp_path / "out.jsonl").read_text() == ""


def test_a_closed_standard_output_does_not_cost_the_video(tmp_path: Path, constant_model: Path):
    """`edgepose-app --save seen.mp4 | true`"""
    video = write_video(tmp_path / "numbers.avi", 12)
    args = ["--source", video, "--model", constant_model, "--detector", "none", "--headless", "--save", "seen.mp4"]
    read, write = os.pipe()
    os.close(read)
    try:
        run = subprocess.run(
            [sys.executable, "-m", "edgepose_app", *map(str, args)],
            cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=write, stderr=subprocess.PIPE, timeout=120,
        )  # fmt: skip
    finally:
        os.close(write)
    assert run.returncode == 0, run.stderr
    saved = cv2.VideoCapture(str(tmp_path / "seen.mp4"))
    assert saved.get(cv2.CAP_PROP_FRAME_COUNT) == 12
    saved.release()


def test_an_output_that_cannot_be_opened_closes_the_others(constant_model: Path, monkeypatch: pytest.MonkeyPatch):
    class Opened:
        closed = False

        def close(self) -> str:
            self.closed = True
            return ""

    opened = Opened()
    monkeypatch.setattr(run_outputs, "open_save", lambda *_: opened)
    args = ["--source", "demo", "--model", str(constant_model), "--detector", "none"]
    args += ["--save", "seen.mp4", "--json", "/dev/null/a.jsonl"]
    context = make_context(AppOptions.parse(args))
    with pytest.raises(EdgeposeError, match="choose another place"):
        open_outputs(context, live=False)
    context.source.close()
    assert opened.closed


def test_a_file_smoothed_as_a_whole(tmp_path: Path, constant_model: Path):
    video = write_video(tmp_path / "numbers.avi", 12)
    model = ["--model", constant_model, "--detector", "none", "--headless"]
    run = app("--source", video, *model, "--smooth", "offline", "--json", "out.jsonl", "--save", "o.mp4", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [record["frame"] for record in records] == list(range(12))
    for person in (person for record in records for person in record["people"]):
        assert np.shape(person["keypoints"]) == (NUM_KEYPOINTS, 3)
        assert np.shape(person["smoothed"]) == (NUM_KEYPOINTS, 2)
    assert sum(len(record["people"]) for record in records) >= 10
    assert (tmp_path / "o.mp4").stat().st_size > 0


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes of POSIX")
@pytest.mark.parametrize("spec", ["-", "pipe.mkv"])
def test_what_can_be_read_only_once_is_not_smoothed_as_a_whole(tmp_path: Path, constant_model: Path, spec: str):
    video = write_clip(tmp_path / "a.mkv", [0.0, 0.1, 0.2])
    os.mkfifo(tmp_path / "pipe.mkv")
    command = [sys.executable, "-m", "edgepose_app", spec, "--headless", "--detector", "none", "--json", "-"]

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        with video.open("rb") as clip, subprocess.Popen(["sh", "-c", "cat a.mkv > pipe.mkv"], cwd=tmp_path) as writer:
            done = subprocess.run(
                [*command, "--model", str(constant_model), *args],
                cwd=tmp_path, stdin=clip, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            writer.kill()
        return done

    once = run()
    assert once.returncode == 0, once.stderr
    assert len(once.stdout.splitlines()) == 3
    twice = run("--smooth", "offline")
    assert twice.returncode == 2
    assert "can be read once only" in twice.stderr


def test_what_has_no_course_is_not_smoothed_as_a_whole(tmp_path: Path, constant_model: Path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((90, 90, 3), np.uint8))
    run = app("--source", "a.png", "--model", constant_model, "--headless", "--smooth", "offline", cwd=tmp_path)
    assert run.returncode == 2
    assert "--smooth offline is for videos and --sequence folders" in run.stderr
