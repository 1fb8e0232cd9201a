"""How far a long loop has come: a bar where somebody watches, a line now and then where nobody does."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import struct
import subprocess
import sys
from pathlib import Path

import evaluate
import evaluation_fixtures as fixtures
import pack
import pytest

from edgepose_training import progress as module
from edgepose_training.progress import duration, progress

ROOT = Path(__file__).parents[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_bar_and_the_log_above_it(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    seen = []
    for item in progress(iter("abc"), "pack", 3):
        logging.getLogger("pack").warning("a word about %s", item)
        seen.append(item)
    assert seen == ["a", "b", "c"]
    assert "pack: " in terminal.getvalue()
    assert "3 [" in terminal.getvalue()


def test_elsewhere_nothing_is_said_of_what_is_short(capsys, caplog):
    assert list(progress(range(5), "pack", 5)) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err == ""
    assert caplog.text == ""


def test_elsewhere_a_line_now_and_then(monkeypatch, caplog):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    list(progress(range(10), "predict", 10))
    # Ten seconds an item, thirty between two lines.
    assert caplog.messages == [
        "predict: 2 of 10 images, 2 min left",
        "predict: 5 of 10 images, 60 s left",
        "predict: 8 of 10 images, 22 s left",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (95, "2 min"),
        (720, "12 min"),
        (3540, "59 min"),
        (11100, "3 h 05 min"),
        (90000, "25 h 00 min"),
    ],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize("what", ["pack", "evaluate", "boxes"])
def test_commands_that_take_long_say_how_far_they_are(what, tmp_path, monkeypatch, caplog):
    """On standard error through the log, whatever else the command logs."""
    monkeypatch.setattr(module, "INTERVAL", 0.0)
    data = fixtures.dataset(tmp_path / "data")
    model = fixtures.constant_model(tmp_path / "constant.onnx")
    if what == "pack":
        assert pack.main(["--data", str(data), "--split", "val", "-o", str(tmp_path / "shards")]) == 0
        assert "pack: 1 of 3 images" in caplog.text
        return
    words = [str(model), "--data", str(data), "--no-baselines", "--no-intervals"]
    if what == "boxes":
        rows = [{"image_id": n, "category_id": 1, "bbox": [5, 5, 50, 90], "score": 0.5} for n in (1, 2, 3)]
        (tmp_path / "boxes.json").write_text(json.dumps(rows))
        words += ["--boxes", str(tmp_path / "boxes.json")]
    assert evaluate.main(words) == 0
    assert "predict: 1 of 3 images" in caplog.text
    assert "figures" in caplog.text


def _drained(terminal: int) -> str:
    """All that was written into a pseudo terminal whose other end is closed."""
    shown = b""
    with contextlib.suppress(OSError):  # Linux' end of the file
        while chunk := os.read(terminal, 1 << 16):
            shown += chunk
    os.close(terminal)
    return shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo terminal is POSIX'")
def test_a_terminal_is_told_by_a_real_command(tmp_path):
    """evaluate.py under a pseudo terminal: its table on standard output is not touched by the bar."""
    import fcntl
    import pty
    import termios

    data = fixtures.dataset(tmp_path / "data")
    model = fixtures.constant_model(tmp_path / "constant.onnx")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))  # rows and columns
    command = [
        sys.executable,
        str(ROOT / "training" / "evaluate.py"),
        str(model),
        "--data",
        str(data),
        "--no-intervals",
        "--no-baselines",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, text=True, timeout=120, check=False)
    os.close(theirs)
    shown = _drained(ours)
    assert done.returncode == 0
    assert "predict" in shown
    assert "images" in shown
    assert done.stdout.startswith("4 people in 3 images of val")
    assert "predict" not in done.stdout
