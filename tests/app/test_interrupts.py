"""A run can always be ended: by one Ctrl-C in order, by a second one at once."""

from __future__ import annotations

import array
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from doubles import write_video

from edgepose_app import display
from edgepose_app.interrupts import Interrupts

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals between processes, and pipes that can be asked")

# Half an hour in C, where Python's handlers are not called.
STUCK = """
import hashlib, threading
from edgepose_app.interrupts import Interrupts
with Interrupts():
    threading.Timer(1, lambda: print("ready", flush=True)).start()
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2**31 - 1)
"""
DEAF = """
import time
from edgepose_app.interrupts import Interrupts
with Interrupts(lambda: print("first", flush=True)):
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
"""


def start(*args: str, **options: object) -> subprocess.Popen[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *args], text=True, env=env, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize(("code", "number"), [(STUCK, signal.SIGINT), (DEAF, signal.SIGTERM)])
def test_the_second_one_ends_whatever_the_process_does(code: str, number: signal.Signals):
    process = start("-c", code, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        time.sleep(1)  # longer than what counts as one press
        assert process.poll() is None  # nobody hears the first one
        process.send_signal(number)
        assert process.wait(30) == 130


def test_two_copies_of_one_press_are_one():
    process = start("-c", DEAF, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)  # as from a terminal and its shell; never a reason to lose the files
        assert process.stdout.readline() == "first\n"
        time.sleep(1)
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert process.poll() is None
        process.kill()
        process.wait(30)


def test_handlers_are_as_before_afterwards_and_what_is_ignored_stays_so():
    before = signal.getsignal(signal.SIGINT)
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup
            assert signal.getsignal(signal.SIGINT) is not before
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)  # of the same press: the end in order goes on
    finally:
        signal.signal(signal.SIGHUP, ignored)
    assert signal.getsignal(signal.SIGINT) is before


def waiting_in(reader: int) -> int:
    """Bytes in a pipe."""
    import fcntl
    import termios

    count = array.array("i", [0])
    fcntl.ioctl(reader, termios.FIONREAD, count)
    return count[0]


def is_full(reader: int) -> Callable[[], bool]:
    """Whether a pipe has not grown for a second."""
    seen, since = 0, time.monotonic()

    def asked() -> bool:
        nonlocal seen, since
        if waiting_in(reader) != seen:
            seen, since = waiting_in(reader), time.monotonic()
        return seen > 0 and time.monotonic() - since > 1

    return asked


@pytest.mark.parametrize("face", ["headless", "window"])
def test_a_reader_who_stops_reading_does_not_keep_the_process(tmp_path: Path, constant_model: Path, face: str):
    """`edgepose-app --json - | sleep 1000`, then Ctrl-C"""
    if face == "window":
        display.clear_opencv_qt()
        if reason := _no_offscreen():
            pytest.skip(reason)
    video = write_video(tmp_path / "numbers.avi", 2000, fps=100.0)
    options = ["--source", str(video), "--model", str(constant_model), "--detector", "none", "--json", "-"]
    options += ["--headless"] if face == "headless" else []
    reader, writer = os.pipe()
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    try:
        process = start("-m", "edgepose_app", *options, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE)
    finally:
        del os.environ["QT_QPA_PLATFORM"]
        os.close(writer)
    full, deadline = is_full(reader), time.monotonic() + 90
    while not full():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    os.close(reader)
    assert process.returncode == (130 if face == "headless" else 0), stderr
    assert "--json -:" in stderr
    assert "left out: its reader is too slow" in stderr
    assert "Traceback" not in stderr
    assert "Fatal" not in stderr


def _no_offscreen() -> str:
    before = os.environ.get("QT_QPA_PLATFORM")
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    try:
        return display.why_no_window()
    finally:
        if before is None:
            del os.environ["QT_QPA_PLATFORM"]
        else:
            os.environ["QT_QPA_PLATFORM"] = before
