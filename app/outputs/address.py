"""Where live results are sent: an address as it is typed, on this machine unless it says otherwise."""

from __future__ import annotations

import errno
import socket
from urllib.parse import urlsplit

from edgepose import EdgeposeError

LOOPBACK = "127.0.0.1"
_TOO_LONG = {errno.EMSGSIZE, 10040}  # the second one is that of Windows


def host_and_port(address: str, default_port: int) -> tuple[str, int]:
    """Of `udp`, `udp://:9000`, `udp://192.168.1.20:9000`, `udp://[::1]:9000`; EdgeposeError for what is none."""
    try:
        parts = urlsplit(address if "://" in address else f"{address}://")
        host, port = parts.hostname or LOOPBACK, parts.port or default_port
    except ValueError as error:
        raise EdgeposeError(f"--send {address}: expected an address like udp://127.0.0.1:9000 ({error})") from error
    if parts.path.strip("/") or parts.query or "@" in parts.netloc:
        raise EdgeposeError(f"--send {address}: expected a host and a port and nothing else, like udp://127.0.0.1:9000")
    return host, port


class Datagrams:
    """A socket that sends and never waits. What the network refuses is counted, for it may be back in a moment."""

    def __init__(self, address: str, default_port: int) -> None:
        host, port = host_and_port(address, default_port)
        try:
            family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            raise EdgeposeError(f"--send {address}: there is no machine of that name ({error.strerror})") from error
        self._to = where
        self._socket = socket.socket(family, kind)
        self._socket.setblocking(False)
        self.refused = 0
        self.reason = ""

    def send(self, data: bytes) -> bool:
        """Whether it left. MessageTooLong for more than a datagram holds."""
        try:
            self._socket.sendto(data, self._to)
        except OSError as error:
            if error.errno in _TOO_LONG:
                raise MessageTooLong from error
            self.refused += 1
            self.reason = error.strerror or str(error)
            return False
        return True

    def close(self) -> str:
        """What to tell about it."""
        self._socket.close()
        return f"{self.refused} messages could not be sent ({self.reason})" if self.refused else ""


class MessageTooLong(Exception):
    """A datagram that the system does not take: 64 KiB at most, 9 KiB on macOS."""
