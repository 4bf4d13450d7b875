"""A bulk endpoint with almost no cost, in a process of its own: it responds that every address is enrolled.

``python echo_server.py [SECONDS]`` listens on a free port of 127.0.0.1, prints its base URL and ends with its
standard input. Every response comes SECONDS late. It names each address, as the sandbox's does. It is made from the
request's bytes with one ``replace``, so that the measured time is the client's.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_LIST = b'{"results":[{"slug":"reactivation","name":"Reactivation","status":"active"}]}'
_REPLY = b'{"sequence_slug":"reactivation","enrolled":%d,"results":[{"email":"%s","status":"enrolled"}]}'


class Echo(asyncio.Protocol):
    """HTTP/1.1 with ``Content-Length``, and nothing else of it."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection to respond on."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Respond once a request is complete; a client sends the next one only then."""
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if blank and len(body) >= _length_of(head):
            self._received = b""
            response = _HEAD % len(_LIST) + _LIST if head.startswith(b"GET") else response_to(body)
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, response)  # type: ignore[attr-defined]


def response_to(body: bytes) -> bytes:
    """Return the response to ``{"…": "…", "emails": ["a", "b"]}`` without reading the JSON."""
    emails = body[body.index(b"[") + 2 : body.rindex(b"]") - 1]
    entries = emails.replace(b'", "', b'","status":"enrolled"},{"email":"')
    reply = _REPLY % (emails.count(b'", "') + 1, entries)
    return _HEAD % len(reply) + reply


def _length_of(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)


async def serve(latency: float) -> None:
    """Listen until the standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Echo(latency), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@contextlib.contextmanager
def echo_server(latency: float = 0.0) -> Iterator[str]:
    """Run it for a ``with`` block and yield its base URL."""
    command = [sys.executable, str(Path(__file__)), str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.communicate(timeout=10)


if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    asyncio.run(serve(float(sys.argv[1]) if sys.argv[1:] else 0.0))
