"""What every command has around its work: terminals of any encoding, one sentence for an error, exit statuses."""

from __future__ import annotations

import importlib
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgepose import EdgeposeError
from edgepose_training.command import command, output_file

ROOT = Path(__file__).parents[2]
TRAINING = ROOT / "training"
COMMANDS = sorted(path.stem for path in TRAINING.glob("*.py"))
SUBCOMMANDS = {"gpu_train": ("pack", "receive", "train", "collect", "split")}
# Every command's help in one process: importing torch once is slow enough.
ALL_HELP = """
import importlib, sys
for word in sys.argv[1:]:
    name, *more = word.split()
    try:
        importlib.import_module(name).main([*more, "--help"])
    except SystemExit as done:
        assert done.code == 0, word
convert = importlib.import_module("convert")
assert convert.main(["n\\u00e9\\u2192.pth", "-o", "n\\u00e9\\u2192.onnx"]) == 2
"""
ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_help_and_complaints_come_out_on_every_terminal(encoding: str) -> None:
    words = [f"{name} {more}".strip() for name in COMMANDS for more in ("", *SUBCOMMANDS.get(name, ()))]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHON"))}
    environment = inherited | {"PYTHONPATH": str(TRAINING)} | ENCODINGS[encoding]
    done = subprocess.run([sys.executable, "-c", ALL_HELP, *words], env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode("latin-1")
    assert done.stdout.count(b"usage: ") == len(words)
    assert done.stdout.isascii() or encoding == "cp1252"  # which has the ellipsis of some help
    assert b"--output expected a .pt file, got n" in done.stderr
    assert b"->.onnx" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_decorated(name: str) -> None:
    text = (TRAINING / f"{name}.py").read_text(encoding="utf-8")
    assert re.search(r"^@command\(.*\)\ndef main\(argv", text, re.MULTILINE)
    assert "basicConfig" not in text
    assert "except EdgeposeError" not in text or name == "export"  # which goes on without val


def raising(error: BaseException) -> int:
    @command()
    def main(_: list[str] | None) -> int:
        raise error

    return main([])


def test_errors_are_a_sentence_and_a_status(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert raising(EdgeposeError("No such thing: bring one.")) == 2
    assert capsys.readouterr().err == "No such thing: bring one.\n"
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "no" / "file").write_text("")
    assert raising(caught.value) == 2
    assert capsys.readouterr().err == f"{tmp_path}/no/file: No such file or directory\n"
    assert raising(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("bug", [ValueError("wrong"), OSError("of no file")])
def test_bugs_keep_their_traceback(bug: Exception) -> None:
    with pytest.raises(type(bug), match=str(bug)):
        raising(bug)


def test_a_pipe_that_breaks_elsewhere_is_a_bug() -> None:
    """As where a worker of a pool died."""
    with pytest.raises(BrokenPipeError):
        raising(BrokenPipeError(32, "Broken pipe"))


def test_where_a_file_was_missed_is_logged_for_us(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    @command()
    def main(_: list[str] | None) -> None:
        (tmp_path / "no" / "file").write_text("")

    with caplog.at_level(logging.DEBUG):
        assert main([]) == 2
    assert "Traceback" in caplog.text
    assert "write_text" in caplog.text


def test_the_status_is_the_commands() -> None:
    assert command()(lambda _: None)() == 0
    assert command(logging.WARNING)(lambda argv: len(argv or []))(["a", "b", "c"]) == 3


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    code = (
        "import sys\nfrom edgepose_training.command import command\n"
        "@command()\ndef main(argv=None):\n    print('x' * 100000)\n    return 0\n"
        "sys.exit(main())"
    )
    environment = os.environ | {"PYTHONPATH": str(TRAINING)}
    read, write = os.pipe()
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=write, stderr=subprocess.PIPE) as done:
        os.close(read)
        os.close(write)
        _, complaint = done.communicate(timeout=60)
    assert done.returncode == 141
    assert complaint == b"whoever read the output went away\n"


# Every option that names one file to write, of every command, with the other words that it needs.
WRITERS = [
    *(f"{name} x.pt -o" for name in ("export", "export_detector", "convert")), "grow x.pt --size s -o",
    *(f"{name} x.onnx --data . -o" for name in ("calibrate", "detect", "contact_sheet")),
    *(f"{name} x.onnx --data . --json" for name in ("evaluate", "evaluate_truncation")),
    "evaluate x.onnx --data . --results", "calibrate x.onnx --data . -o a.json --plot",
    "evaluate_detector x.onnx --beside y.onnx --data . -o",
]  # fmt: skip


@pytest.mark.parametrize("words", WRITERS)
def test_a_folder_in_place_of_a_file_is_refused_at_once(words: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    name, *arguments = words.split()
    assert importlib.import_module(name).main([*arguments, "out"]) == 2
    assert capsys.readouterr().err == "out is a folder: give the path of a file to write.\n"


def test_an_output_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EdgeposeError, match=r"cannot be written: .*file is not a folder"):
        output_file(str(tmp_path / "file" / "deeper" / "a.json"))
    assert output_file(str(tmp_path / "new" / "a.json")) == tmp_path / "new" / "a.json"
