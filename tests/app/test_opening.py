"""Sources that take long, hang or fail while they are opened."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from doubles import FakeEstimator, encode_number

from edgepose_app.engine import Engine, EngineState
from edgepose_app.opening import Opening
from edgepose_app.sources import Frame, Source, name_of
from edgepose_app.status import age_of, trouble


class Still(Source):
    """The same image for ever."""

    name = "still"
    live = True

    def __init__(self) -> None:
        super().__init__()
        self.closed = threading.Event()

    def read(self) -> Frame | None:
        self.stopped.wait(0.01)
        return None if self.stopped.is_set() else Frame(encode_number(1), 0, 0.0)

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def hanging() -> Iterator[str]:
    """The address of a server that takes the connection and never answers."""
    server = socket.create_server(("127.0.0.1", 0))
    yield f"http://somebody:secret@127.0.0.1:{server.getsockname()[1]}/hang"
    server.close()


def wait_until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_who_comes_after_the_opening_was_abandoned_is_closed():
    may_open, source = threading.Event(), Still()
    opening = Opening(lambda: (may_open.wait(20) and source) or source)
    assert not opening.wait(0)
    opening.abandon()
    may_open.set()
    assert source.closed.wait(20)


def test_who_came_before_the_opening_was_abandoned_is_closed_too():
    source = Still()
    opening = Opening(lambda: source)
    assert opening.wait(20)
    opening.abandon()
    assert source.closed.is_set()


def test_an_opening_tells_what_went_wrong():
    def opener() -> Source:
        raise OSError("no such thing")

    with pytest.raises(OSError, match="no such thing"):
        Opening(opener).take()


def test_another_source_does_not_wait_for_one_that_hangs():
    hangs, late = threading.Event(), Still()
    engine = Engine(FakeEstimator(), realtime=True)
    engine.open(lambda: (hangs.wait(60) and late) or late, "slow.example")
    assert (engine.state, engine.message) == (EngineState.OPENING, "opening slow.example…")
    assert trouble(engine, 0.2) == "Opening slow.example…"
    assert trouble(engine, 4.2) == "Opening slow.example… 4 s"
    second = Still()
    engine.open(lambda: second)
    wait_until(lambda: engine.state is EngineState.RUNNING)
    assert not hangs.is_set()
    assert engine.source is second
    hangs.set()  # the first one arrives after all
    assert late.closed.wait(20)
    assert engine.source is second
    engine.stop()
    assert second.closed.wait(20)


def test_a_source_whose_read_hangs_does_not_hold_the_next_one_or_the_end():
    hangs = threading.Event()

    class Stuck(Still):
        def read(self) -> Frame | None:
            hangs.wait(60)
            return None

    engine = Engine(FakeEstimator(), realtime=True)
    engine.open(Stuck)
    wait_until(lambda: engine.state is EngineState.RUNNING)
    second = Still()
    engine.open(lambda: second)
    wait_until(lambda: engine.source is second)
    engine.open(Stuck)
    wait_until(lambda: isinstance(engine.source, Stuck))
    engine.stop()
    assert not hangs.is_set()
    hangs.set()


def test_nothing_of_the_old_source_remains_after_a_failed_opening():
    def opener() -> Source:
        raise OSError("no such thing")

    engine = Engine(FakeEstimator(), realtime=True)
    engine.open(Still)
    assert engine.take(20) is not None
    engine.open(opener)
    wait_until(lambda: engine.state is EngineState.FAILED)
    assert engine.source is None
    assert engine.take(0.3) is None
    engine.stop()


def test_names_hold_no_password():
    assert name_of(0) == "camera 0"
    assert name_of("demo") == "demo"
    assert name_of("/videos/clip.mp4") == "clip.mp4"
    assert name_of("rtsp://admin:pass@10.0.0.5:554/live?token=abc") == "rtsp://***@10.0.0.5:554/live?token=***"


def test_ages_are_said_in_a_unit_that_fits():
    assert [age_of(ms) for ms in (25.2, 998, 3140, 61_000)] == ["25 ms old", "998 ms old", "3.1 s old", "1 min old"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_a_run_whose_address_hangs(tmp_path: Path, constant_model: Path, hanging: str):
    process = subprocess.Popen(
        [sys.executable, "-m", "edgepose_app", "--source", hanging, "--model", str(constant_model), "--headless"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert said == f"edgepose-app: opening {name_of(hanging)}…\n"
    assert process.returncode == 130, rest
    assert "secret" not in said + rest
    assert "Traceback" not in rest
