"""Run Airflow with the sandbox and the example DAGs in a temporary home, until you press Ctrl+C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

from playground import AIRFLOW, environment, fill_sandbox, fill_users, fill_warehouse, sandbox


def main() -> int:
    """Start Airflow and the sandbox, print their URLs, and stop both at the end."""
    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryDirectory(prefix="meisa-ui-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        with sandbox(home) as url:
            fill_sandbox(url, fill_warehouse(home, contacts=3000))
            fill_users(home, url, users=2000)
            port = free_port()
            print(f"Airflow:  http://127.0.0.1:{port}  (ready in about a minute; no login)")
            print(f"Sandbox:  {url}")
            print("Press Ctrl+C to stop both.", flush=True)
            return run_airflow(home, environment(home, url), port)


def run_airflow(home: Path, env: dict[str, str], port: int) -> int:
    """Run `airflow standalone` on a port until it ends or is interrupted."""
    base = f"http://127.0.0.1:{port}"
    env |= {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": base,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{base}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__PARALLELISM": "4",
    }
    with (home / "standalone.log").open("w") as log:
        process = subprocess.Popen(
            [AIRFLOW, "standalone"], env=env, stdout=log, stderr=log, start_new_session=True
        )
        try:
            code = process.wait()
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)
            return 0
    print(
        f"Airflow ended with exit code {code}. The end of its log:\n{(home / 'standalone.log').read_text()[-4000:]}"
    )
    return 1


def free_port() -> int:
    """Find a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
