"""A real PostgreSQL of our own, for as long as the tests need it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port
from tests.support.programs import require_program


@contextmanager
def postgres_on_loopback() -> Iterator[int]:
    """Make a cluster, start it on a free port, yield the port, and stop and remove it."""
    # Debian keeps the programs of the server off the path.
    places = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), reverse=True)
    initdb = Path(require_program("initdb", *places, package="postgresql"))
    folder = Path(tempfile.mkdtemp(prefix="meisa-postgres-"))
    try:
        # PostgreSQL refuses to run as root.
        as_owner: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
            as_owner = ["runuser", "-u", "postgres", "--"]
        port, log, cluster = free_port(), folder / "log", folder / "data"
        control = [*as_owner, str(initdb.parent / "pg_ctl"), "-D", str(cluster), "-w"]
        options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
        subprocess.run(
            [
                *as_owner,
                str(initdb),
                "-D",
                str(cluster),
                "-U",
                "meisa",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        subprocess.run(
            [*control, "-l", str(log), "-o", options, "start"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )
        try:
            yield port
        finally:
            subprocess.run(
                [*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, cwd=folder
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
