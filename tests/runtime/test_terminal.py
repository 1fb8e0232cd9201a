"""What a terminal that is not UTF-8 shows."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TEXT = "1280×720 → a · b…"
# Python would make UTF-8 of the C locale by itself, but not in every environment.
ENVIRONMENTS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "utf-8": {"PYTHONIOENCODING": "utf-8"},
}


def say(text: str, *, before: str = "", env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """In a process of its own, on both streams."""
    code = f"import sys\n{before}\nfor s in (sys.stdout, sys.stderr): print({text!a}, file=s)"
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONIOENCODING", "PYTHONUTF8")}
    return subprocess.run([sys.executable, "-c", code], env={**clean, **env}, capture_output=True, check=False)


SAFE = "from edgepose.terminal import safe_output\nsafe_output()"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ascii", b"1280x720 -> a - b..."),
        ("cp1252", "1280×720 -> a · b…".encode("cp1252")),
        ("C", b"1280x720 -> a - b..."),
        ("utf-8", TEXT.encode()),
    ],
)
def test_only_what_the_encoding_lacks_is_spelled(name: str, expected: bytes) -> None:
    run = say(TEXT, before=SAFE, env=ENVIRONMENTS[name])
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == expected
    assert run.stderr.strip() == expected


def test_without_it_the_same_text_is_an_error() -> None:
    run = say(TEXT, env=ENVIRONMENTS["ascii"])
    assert b"UnicodeEncodeError" in run.stderr


def test_names_that_nobody_can_spell_are_escaped() -> None:
    """A file name of another script, and one that is no valid UTF-8."""
    run = say("日.png \udce4.png", before=SAFE, env=ENVIRONMENTS["ascii"])
    assert run.stdout.strip() == rb"\u65e5.png \udce4.png"


def test_a_process_without_a_console() -> None:
    run = say("", before=f"sys.stdout = sys.stderr = None\n{SAFE}\nsys.exit(0)", env={})
    assert run.returncode == 0
