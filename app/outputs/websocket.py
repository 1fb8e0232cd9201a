"""Results over WebSocket: a server that browsers and programs connect to."""

from __future__ import annotations

import logging
import re
import socket
import threading
from contextlib import suppress
from typing import Any

from edgepose import EdgeposeError

from ..engine import Result
from .address import host_and_port
from .base import ReaderOutput, RunInfo
from .jsonl import record_line

log = logging.getLogger(__name__)

PORT = 9200
_SEND_BUFFER = 32 * 1024  # bytes: what waits in the system's buffers grows old there
_GOODBYE = 0.5  # s for clients to hear that it is over
_PATIENCE = 30.0  # s for a client to take one frame
# A page of any web site may connect to a server on this machine, and its visitor's camera is none of its business:
# pages from here may, and programs, which name no origin.
_ORIGINS = [None, re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")]


class WebSocketOutput(ReaderOutput):
    """The line of `--json` as one text message a frame, to everybody who is connected.

    A client gets the next frame when it has taken the last one, and then the newest there is: a ping follows every
    frame, and its answer says that the frame was taken. A client that is slow or gone disturbs nobody.
    """

    SCHEMES = ("ws",)

    def __init__(self, address: str) -> None:
        self.name = f"--send {address}"
        host, port = host_and_port(address, PORT)
        try:
            from websockets.sync.server import serve
        except ModuleNotFoundError as error:
            raise EdgeposeError(
                f"--send {address}: WebSocket needs websockets: pip install 'edgepose[send]'"
            ) from error
        logging.getLogger("websockets").setLevel(logging.CRITICAL)  # a client that leaves is no fault
        self._line = ""
        self._number = 0  # of the newest line; 0: none yet
        self._ended = False
        self._clients: set[Any] = set()
        self._changed = threading.Condition()
        try:
            self._server = serve(
                self._serve, host, port, origins=_ORIGINS, compression=None, open_timeout=2, close_timeout=_GOODBYE
            )
        except OSError as error:
            raise EdgeposeError(
                f"--send {address}: cannot listen there ({error.strerror}); choose another host or port"
            ) from error
        threading.Thread(target=self._server.serve_forever, name="edgepose-websocket", daemon=True).start()

    @classmethod
    def open(cls, address: str, _run: RunInfo) -> WebSocketOutput:
        return cls(address)

    def write(self, result: Result) -> None:
        line = record_line(result)
        with self._changed:
            self._line, self._number = line, self._number + 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Writing never waits."""

    def close(self) -> str:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._clients, _GOODBYE)
            left = [*self._clients]
        for client in left:  # it takes nothing: its thread waits in `send`, and Python would wait for the thread
            with suppress(OSError):
                client.socket.shutdown(socket.SHUT_RDWR)
        self._server.shutdown()
        return ""

    def _serve(self, client: Any) -> None:
        """In a thread of its own, for each client."""
        from websockets.exceptions import ConnectionClosed

        with self._changed:
            self._clients.add(client)
        try:
            self._feed(client)
        except (ConnectionClosed, OSError):  # its right
            return
        finally:
            with self._changed:
                self._clients.discard(client)
                self._changed.notify_all()

    def _feed(self, client: Any) -> None:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        seen = 0
        while (newest := self._after(seen)) is not None:
            seen, line = newest
            client.send(line)
            if not client.ping(ack_on_close=True).wait(_PATIENCE):
                log.info("%s: a client takes nothing any more", self.name)
                return

    def _after(self, seen: int) -> tuple[int, str] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._number > seen or self._ended)
            return (self._number, self._line) if self._number > seen else None
