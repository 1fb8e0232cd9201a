"""Passwords in addresses appear in no message, file or log."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from test_cli import app

from edgepose import EdgeposeError
from edgepose_app.options import AppOptions
from edgepose_app.redaction import SafeFormatter, without_secrets
from edgepose_app.sources import name_of, open_source
from edgepose_app.sources.video import why_not_opened

SECRETS = [
    "rtsp://admin:hunter2@10.0.0.7/stream",
    "rtsp://admin:hunter2@10.0.0.7:554/stream?channel=1",
    "rtsp://admin:p@hunter2@10.0.0.7/stream",
    "rtsp://admin:p/hunter2@10.0.0.7/stream",
    "rtsp://admin:1/hunter2@10.0.0.7/stream",
    "rtsp://admin:p@x/hunter2@10.0.0.7/stream",
    "rtsp://admin:p?hunter2#@10.0.0.7/stream",
    "rtsp://admin:p'hunter2\"<>@10.0.0.7/stream",
    "http://hunter2@10.0.0.7/stream",
    "http://10.0.0.7/stream?user=a&password=hunter2",
    "http://10.0.0.7/stream?channel=1;pwd=hunter2&x=2",
    "http://10.0.0.7/stream?access_token=hunter2",
    "http:/admin:hunter2@10.0.0.7/stream",
]


@pytest.mark.parametrize("address", SECRETS)
def test_the_password_goes_and_the_machine_stays(address: str):
    shown = without_secrets(f"{address}: no video stream there, and {address} again")
    assert "hunter2" not in shown
    assert shown.count("10.0.0.7") == 2
    assert shown.endswith(" again")


@pytest.mark.parametrize(
    "text",
    [
        "http://10.0.0.7:8080/stream?channel=1",
        "rtsp://[fe80::1]:554/a",
        "http://example.com/@somebody/clip.mp4",
        "a@b.c: no address",
        "C:/clips/a.mp4",
        "12:30: nothing",
    ],
)
def test_what_holds_no_secret_is_shown_as_it_is(text: str):
    assert without_secrets(text) == text


def test_the_log_and_its_tracebacks():
    try:
        raise ValueError(SECRETS[0])
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "a", 1, "failed at %s", (SECRETS[1],), sys.exc_info())
    said = SafeFormatter("%(message)s").format(record)
    assert "hunter2" not in said
    assert "Traceback" in said


@pytest.mark.parametrize("flag", [["--source"], []])
@pytest.mark.parametrize("address", ["http://admin:hunter2@127.0.0.1:9/x", "http://admin:hunter2@127.0.0.1:9/x.mp4"])
def test_the_command_does_not_say_it(tmp_path: Path, constant_model: Path, flag: list[str], address: str):
    run = app(*flag, address, "--model", constant_model, "--headless", "--verbose", cwd=tmp_path)
    assert run.returncode == 2
    assert "hunter2" not in run.stdout + run.stderr
    assert "127.0.0.1" in run.stderr or ".mp4" in run.stderr


def test_nor_does_the_parser(capsys: pytest.CaptureFixture[str]):
    for arguments in (["--camera", "0", SECRETS[0]], ["--size", SECRETS[0]], ["--threads", SECRETS[0]]):
        with pytest.raises(SystemExit):
            AppOptions.parse(arguments)
    assert "hunter2" not in capsys.readouterr().err


@pytest.mark.parametrize("address", SECRETS)
def test_nor_do_the_names_and_faults_of_sources(address: str):
    assert "hunter2" not in name_of(address)
    assert "hunter2" not in why_not_opened(address, OSError(f"no route to {address}"))


@pytest.mark.parametrize("end", ["/x", "/x.mp4"])
def test_nor_do_sources_that_cannot_be_opened(end: str):
    with pytest.raises(EdgeposeError) as caught:
        open_source(f"http://admin:hunter2@127.0.0.1:9{end}")
    assert "hunter2" not in str(caught.value)


def test_a_stream_is_named_without_it(stream):
    source = open_source(stream.url.replace("http://", "http://admin:hunter2@"))
    source.close()
    assert "hunter2" not in source.name + source.description
    assert "127.0.0.1" in source.name
