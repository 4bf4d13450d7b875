"""A real Redis of our own, for as long as a test needs it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port
from tests.support.programs import require_program


@contextmanager
def redis_on_loopback(folder: Path) -> Iterator[str]:
    """Start redis-server on a free port, yield its URL, and stop it."""
    program = require_program("redis-server", package="redis-server")
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with subprocess.Popen(
        [program, *options, "--dir", str(folder)], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout
            for line in server.stdout:
                if "Ready to accept connections" in line:
                    break
            else:
                raise AssertionError("redis-server ended before it was ready")
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
