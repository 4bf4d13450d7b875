"""The processes of an Airflow, on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from home import Home
from lines import Line


@contextmanager
def running(line: Line, home: Home) -> Iterator[None]:
    """Run the processes of an Airflow for a ``with`` block."""
    names = [*(["api-server", "dag-processor"] if line.number >= (3, 0) else []), "scheduler", "triggerer"]
    processes = []
    try:
        for name in names:
            with (home.folder / f"{name}.log").open("ab") as log:
                processes.append(
                    subprocess.Popen(
                        [home.environment.airflow, name],
                        env=home.env(),
                        cwd=home.folder,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process, and kill the rest of its session."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == process.pid:
                os.kill(int(stat.parent.name), signal.SIGKILL)
    process.wait(timeout=20)


def settings(line: Line, url: str) -> dict[str, str]:
    """Return the variables that make Airflow's processes find each other, on loopback."""
    port = url.rpartition(":")[2]
    return {
        # Airflow 2 allows no other executor on SQLite.
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor" if line.number >= (3, 0) else "SequentialExecutor",
        "AIRFLOW__CORE__PARALLELISM": "3",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": "nothing secret in a home for a matrix",
        "AIRFLOW__API_AUTH__JWT_SECRET": "nothing secret in a home for a matrix",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
    }


def free_port() -> int:
    """Find a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
