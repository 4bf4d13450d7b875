"""``python -m airflow_provider_meisa.sandbox``: run a sandbox in the terminal until you stop it."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from typing import TYPE_CHECKING

from airflow_provider_meisa import __version__
from airflow_provider_meisa.sandbox.extra import SandboxError, missing_extra
from airflow_provider_meisa.sandbox.throttle import DEFAULT_RATE_LIMITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_meisa.sandbox.server import Sandbox


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sandbox until SIGINT or SIGTERM and return the exit status."""
    options = _parser().parse_args(arguments)
    problem = missing_extra()
    if problem is None:
        try:
            _serve(options)
        except (SandboxError, ValueError) as error:
            problem = str(error)
    if problem is not None:
        print(f"meisa-sandbox: {problem}", file=sys.stderr)
    return 0 if problem is None else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="meisa-sandbox",
        description="Run a sandbox of Meisa on your own machine: it has the documented API and sends no e-mail. "
        "Its API keys are meisa_live_sandbox and meisa_test_sandbox.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--database", help="SQLite file for all data (default: a temporary file)")
    parser.add_argument(
        "--rate-limits",
        default=DEFAULT_RATE_LIMITS,
        metavar="LIMITS",
        help='limits per key, such as "60/minute, 1000/hour"; "none" for no limit (default "%(default)s")',
    )
    parser.add_argument(
        "--latency", type=float, default=0, metavar="MS", help="minimum duration of a request in milliseconds"
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="KEY=SCOPE,...",
        help="another API key and its scopes; without =, it has all scopes; a key that starts with meisa_test_ is "
        "a test key; repeatable",
    )
    parser.add_argument(
        "--allow-public", action="store_true", help="allow an address that other machines can reach"
    )
    return parser


def _serve(options: argparse.Namespace) -> None:
    from airflow_provider_meisa.sandbox.server import Sandbox  # needs the extra

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Sandbox(
        options.database,
        rate_limits=options.rate_limits,
        latency_ms=options.latency,
        host=options.host,
        port=options.port,
        allow_public=options.allow_public,
    ) as sandbox:
        for text in options.key:
            _add_key(sandbox, text)
        print(sandbox.url, flush=True)
        print(_words(sandbox, temporary=options.database is None), flush=True)
        stop.wait()


def _words(sandbox: Sandbox, *, temporary: bool) -> str:
    kept = (
        " (temporary: removed when the sandbox stops; pass --database FILE to keep it)" if temporary else ""
    )
    return (
        f"Database: {sandbox.database}{kept}\n"
        f"Base URL (host) of the Airflow connection: {sandbox.api_url}\n"
        "Stop with Ctrl+C."
    )


def _add_key(sandbox: Sandbox, text: str) -> None:
    """Add a key given as ``KEY=SCOPE,...``."""
    key, equals, scopes = text.partition("=")
    environment = "test" if key.startswith("meisa_test_") else "live"
    if equals:
        sandbox.add_key(key, [scope.strip() for scope in scopes.split(",") if scope.strip()], environment)
    else:
        sandbox.add_key(key, environment=environment)


if __name__ == "__main__":
    sys.exit(main())
