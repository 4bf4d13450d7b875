"""Run a Redis, if ``redis-server`` is installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def redis_on_loopback() -> Iterator[str | None]:
    """Run a Redis on a free port for a ``with`` block, and yield its URL; yield None if it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([program, *options, "--dir", folder], stdout=subprocess.PIPE, text=True) as server,
    ):
        try:
            assert server.stdout
            next(line for line in server.stdout if "Ready to accept connections" in line)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
