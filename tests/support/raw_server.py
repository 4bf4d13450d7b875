"""A server that sends the bytes a test gives it, for behavior that a correct server does not have."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.parser import BytesParser
from typing import BinaryIO, Self, TypeAlias

_TLS_HELLO = b"\x16"


@dataclass(frozen=True)
class Received:
    """A request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Line:
    """The connection a play writes to; it is closed when the play is over."""

    def __init__(self, connection: socket.socket, over: threading.Event) -> None:
        self.connection, self._over = connection, over

    def send(self, content: bytes) -> None:
        """Send these bytes."""
        self.connection.sendall(content)

    def drip(self, content: Iterable[bytes], *, every: float) -> None:
        """Send piece after piece, with a pause between two, until the server stops."""
        for piece in content:
            self.send(piece)
            if self._over.wait(every):
                return

    def hold(self) -> None:
        """Say nothing until the server stops."""
        self._over.wait()


Play: TypeAlias = bytes | Callable[[Line], object]


class RawServer:
    """Listens on loopback for a ``with`` block.

    :param plays: one responds to one request, the last one to all that follow: bytes, after which the connection stays
        open, or a function of the `Line`.
    :param tls: speak TLS with this context.
    """

    def __init__(self, *plays: Play, tls: ssl.SSLContext | None = None) -> None:
        self._plays, self._tls = plays, tls
        self._over, self._lock = threading.Event(), threading.Lock()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.received: list[Received] = []
        self.connections = 0

    def will(self, *plays: Play) -> None:
        """Replace the plays; the requests received before count."""
        self._plays = plays

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        scheme = "https" if self._tls else "http"
        self.origin = f"{scheme}://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/api/v1"
        self._start(self._accept)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()  # wakes the listener
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with self._listener:
            while True:
                connection, _ = self._listener.accept()
                if self._over.is_set():
                    connection.close()
                    return
                self.connections += 1
                self._open.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as closing:
            closing.enter_context(connection)
            if self._tls:
                connection = closing.enter_context(self._tls.wrap_socket(connection, server_side=True))
            elif connection.recv(1, socket.MSG_PEEK) == _TLS_HELLO:
                play = self._plays[0]
                assert isinstance(play, bytes), "a client that speaks TLS gets bytes"
                connection.sendall(play)  # as a web server does on a port without TLS
                return
            stream = closing.enter_context(connection.makefile("rb"))
            while request := _read(stream):
                with self._lock:
                    self.received.append(request)
                    play = self._plays[min(len(self.received), len(self._plays)) - 1]
                if callable(play):
                    play(Line(connection, self._over))
                    return
                connection.sendall(play)


def _read(stream: BinaryIO) -> Received | None:
    first = stream.readline().decode("latin-1").split()
    if not first:
        return None
    lines = list(itertools.takewhile(lambda line: line not in (b"", b"\r\n"), stream))
    headers = {name.lower(): value for name, value in BytesParser().parsebytes(b"".join(lines)).items()}
    return Received(first[0], first[1], headers, stream.read(int(headers.get("content-length", 0))))


def respond_with(status: int, body: object = b"", **headers: object) -> bytes:
    """Write a whole response; what is neither bytes nor text becomes JSON."""
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    content = content.encode() if isinstance(content, str) else content
    named: dict[str, object] = {
        "Content-Length": len(content),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join([*lines, "", ""]).encode() + content
