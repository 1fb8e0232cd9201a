"""docs/app.md is correct: its code runs, and its flags are those of the command."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import pytest

from edgepose import models
from edgepose_app.options import parser

PAGE = (Path(__file__).parents[2] / "docs" / "app.md").read_text("utf-8")
SAID_ONCE = {"--help", "--version", "--verbose", "--no-mirror"}  # as in every command, or by their other half


def test_flags():
    shown = [action for action in parser()._actions if action.help != argparse.SUPPRESS]
    flags = {flag for action in shown for flag in action.option_strings if flag.startswith("--")}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE))
    assert named - flags == set()
    assert flags - named - SAID_ONCE == set()


@pytest.mark.skipif(not models.has_default("pose"), reason="no shipped pose net")
def test_the_code_runs():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["estimator"].config == names["config"]
