"""Live outputs: the receivers of docs/outputs.md run against them; slow and foreign clients."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from doubles import write_video
from test_cli import app
from test_kinds import IMAGE, RUN, people

from edgepose import EdgeposeError
from edgepose_app.engine import Result
from edgepose_app.outputs import Output, Recorder, open_send
from edgepose_app.sources import Frame

PAGE = (Path(__file__).parents[3] / "docs" / "outputs.md").read_text("utf-8")
RECEIVERS = dict(re.findall(r"```python\n# (\w+)\n(.*?)```", PAGE, re.DOTALL))
DEFAULT_PORTS = {"udp": "9100", "osc": "9000", "ws": "9200"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def frame(number: int, count: int = 2) -> Result:
    return Result(Frame(IMAGE, number, number / 30), people(count), {})


@contextmanager
def sending(output: Output, count: int = 2) -> Iterator[None]:
    """Frames 1, 2, … until the end of the block."""
    ended = threading.Event()

    def send() -> None:
        number = 0
        while not ended.wait(0.01):
            output.write(frame(number := number + 1, count))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        output.close()


def handshake(port: int) -> socket.socket:
    """A WebSocket client that takes only what it is made to, and answers nothing."""
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    client.sendall(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    return client


def output_for(scheme: str, port: int) -> Output:
    if scheme != "udp":
        pytest.importorskip({"osc": "pythonosc", "ws": "websockets"}[scheme])
    return open_send(f"{scheme}://:{port}", RUN)


@pytest.mark.parametrize("scheme", DEFAULT_PORTS)
def test_the_receivers_of_the_page(scheme: str):
    code = RECEIVERS[scheme]
    assert len(code.split("\n\n", 1)[1].strip().splitlines()) <= 10  # beside its imports
    port = free_port()
    assert DEFAULT_PORTS[scheme] in code
    with sending(output_for(scheme, port)):
        run = subprocess.run(
            [sys.executable, "-c", code.replace(DEFAULT_PORTS[scheme], str(port))],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    lines = [line.split() for line in run.stdout.splitlines()]
    assert {line[1] for line in lines} == {"7", "8"}  # both people
    assert {tuple(map(float, line[2:4])) for line in lines} == {(0.0, 0.0), (0.0, 1000.0)}
    assert all(float(line[4]) == pytest.approx(0.9) for line in lines)


def test_a_crowd_fits_into_a_datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        output = open_send(f"udp://:{receiver.getsockname()[1]}", RUN)
        crowd = people(60)
        crowd.bbox_scores[:] = np.linspace(0, 1, 60)
        output.write(Result(Frame(IMAGE, 0, 0.0), crowd, {}))
        ids = [person["id"] for person in json.loads(receiver.recv(65_507))["people"]]
        assert 10 < len(ids) < 60
        assert ids == list(range(67 - len(ids), 67))  # the surest, in their order
        assert "1 frame with more people than fit" in output.close()


def test_osc_in_full():
    pytest.importorskip("pythonosc")
    from pythonosc.osc_packet import OscPacket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        output = open_send(f"osc://:{receiver.getsockname()[1]}", RUN)
        output.write(frame(3, 2))
        packets = [OscPacket(receiver.recv(65_507)) for _ in range(3)]
        output.close()
    messages = [[timed.message for timed in packet.messages] for packet in packets]
    assert [(m.address, m.params[:1] + m.params[2:]) for m in messages[0]] == [("/edgepose/frame", [3, 2, 64, 48])]
    assert [m.address for m in messages[2]] == [
        f"/edgepose/{name}" for name in ("person", "body", "foot", "face", "lefthand", "righthand")
    ]
    assert messages[2][0].params == pytest.approx([3, 8, 0.5, 1, 2, 3, 4])
    assert [len(m.params) for m in messages[2][1:]] == [2 + 3 * n for n in (17, 6, 68, 21, 21)]
    assert messages[2][5].params[2:5] == pytest.approx([112, 1112, 0.9])


def test_from_the_command_to_the_receiver(tmp_path: Path, constant_model: Path):
    write_video(tmp_path / "clip.avi", 3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(60)
        options = ["--detector", "none", "--headless", "--json", "a.jsonl"]
        send = f"udp://:{receiver.getsockname()[1]}"
        run = app("--source", "clip.avi", "--model", constant_model, *options, "--send", send, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        received = [json.loads(receiver.recv(65_507)) for _ in range(3)]
    assert received == [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("scheme", ["udp", "osc"])
def test_nobody_listening_is_no_mistake(scheme: str):
    output = output_for(scheme, free_port())
    for number in range(20):
        output.write(frame(number))
    output.close()


def test_a_port_in_use_is_one_sentence():
    pytest.importorskip("websockets")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EdgeposeError, match=r"cannot listen there .* choose another host or port"):
            open_send(f"ws://:{taken.getsockname()[1]}", RUN)


def test_a_slow_client_gets_the_newest_and_holds_nobody():
    """One that takes nothing at all, one that takes its time, and the end."""
    pytest.importorskip("websockets")
    from websockets.sync.client import connect

    port = free_port()
    output = open_send(f"ws://:{port}", RUN)
    with handshake(port), connect(f"ws://127.0.0.1:{port}", max_queue=1) as slow:
        recorder = Recorder([output])
        seen = []
        for number in range(200):
            recorder(frame(number))
            time.sleep(0.005)
            if number % 20 == 19:
                seen.append(json.loads(slow.recv(timeout=30))["frame"])
        assert len(seen) == 10
        assert seen == sorted(seen)
        # What comes when it asks after 20 more frames is not the next of a queue: that would be 9 by now.
        assert seen[-1] > 60
        ended = threading.Thread(target=recorder.close, daemon=True)
        ended.start()
        with suppress(Exception):
            while True:
                slow.recv(timeout=30)
        ended.join(30)
        assert not ended.is_alive()


@pytest.mark.parametrize(
    ("origin", "welcome"), [("http://localhost:8000", True), ("https://example.com", False), ("null", False)]
)
def test_no_web_site_reads_along(origin: str, welcome: bool):
    pytest.importorskip("websockets")
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    port = free_port()
    with sending(open_send(f"ws://:{port}", RUN)):
        if welcome:
            with connect(f"ws://127.0.0.1:{port}", origin=origin) as client:  # type: ignore[arg-type]
                assert json.loads(client.recv(timeout=30))["people"]
        else:
            with pytest.raises(InvalidStatus), connect(f"ws://127.0.0.1:{port}", origin=origin):  # type: ignore[arg-type]
                pass


def test_a_client_who_leaves_holds_neither_its_thread_nor_the_end(monkeypatch: pytest.MonkeyPatch):
    """It has got a frame and the ping, and goes without an answer."""
    pytest.importorskip("websockets")
    monkeypatch.setattr("edgepose_app.outputs.websocket._PATIENCE", 600.0)
    port, before = free_port(), set(threading.enumerate())
    output = open_send(f"ws://:{port}", RUN)
    with handshake(port) as client:
        output.write(frame(0))
        got = b""
        while b'"timings_ms"' not in got:
            got += client.recv(65_536)
    ended = threading.Thread(target=output.close, daemon=True)
    ended.start()
    ended.join(60)
    assert not ended.is_alive()
    assert [thread for thread in set(threading.enumerate()) - before if not thread.daemon] == []


def test_only_this_machine_can_connect_by_default():
    pytest.importorskip("websockets")
    port = free_port()
    output = open_send(f"ws://:{port}", RUN)
    assert output._server.socket.getsockname()[0] == "127.0.0.1"  # type: ignore[attr-defined]
    output.close()
