"""Run a sandbox in a thread of this process."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import uvicorn

from airflow_provider_meisa.sandbox.app import create_app
from airflow_provider_meisa.sandbox.connection import ConnectionProtocol
from airflow_provider_meisa.sandbox.database import Database
from airflow_provider_meisa.sandbox.endpoints import PREFIX
from airflow_provider_meisa.sandbox.extra import SandboxError
from airflow_provider_meisa.sandbox.faults import Faults, fault_from
from airflow_provider_meisa.sandbox.journal import Journal
from airflow_provider_meisa.sandbox.store import LIVE_KEY, SCOPES, TEST_KEY, Enrolling, Store
from airflow_provider_meisa.sandbox.throttle import DEFAULT_RATE_LIMITS, Throttle, parse_rate_limits
from airflow_provider_meisa.sandbox.world import World, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_TICK = 0.1  # seconds, uvicorn's own
_START_WITHIN = 30.0  # seconds


class _Server(uvicorn.Server):
    """A uvicorn server that signals when it listens, and stops at once instead of at its next tick."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()  # set when it listens or has failed
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then set ``settled``."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.settled.set()

    async def main_loop(self) -> None:
        """Tick as uvicorn does, and return as soon as ``stop`` is called."""
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            try:
                await asyncio.wait_for(self._stop.wait(), _TICK)
            except TimeoutError:
                continue
            return

    def stop(self) -> None:
        """Stop the server. Any thread may call it, any number of times."""
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)


class Sandbox:
    """A sandbox of Meisa on this machine, for a ``with`` block.

    :param database: the SQLite file for all data; by default a temporary file, removed when the sandbox stops.
    :param rate_limits: limits per key, such as ``60/minute, 1000/hour``; ``none`` for no limit.
    :param latency_ms: minimum duration of a request to the API, in milliseconds.
    :param host: the address to listen on.
    :param port: the port to listen on; 0 for a free one.
    :param allow_public: allow an address that other machines can reach.
    :param clock: returns the time for the rate limits, in seconds.
    """

    key = LIVE_KEY
    test_key = TEST_KEY

    def __init__(
        self,
        database: str | Path | None = None,
        *,
        rate_limits: str = DEFAULT_RATE_LIMITS,
        latency_ms: float = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        allow_public: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not (allow_public or _is_loopback(host)):
            raise SandboxError(
                f"The sandbox has no protection, and other machines may reach {host}: "
                "use 127.0.0.1, or set --allow-public (allow_public=True) to allow it."
            )
        if latency_ms < 0:
            raise ValueError(f"The latency is {latency_ms:g} ms: set it to 0 milliseconds or more.")
        self._throttle = Throttle(parse_rate_limits(rate_limits), clock)
        self._rate_limits = rate_limits
        self._latency = latency_ms / 1000
        self._host, self._port = host, port
        self._thread: threading.Thread | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="meisa-sandbox-") if database is None else None
        self.database = Path(database or Path(self._folder.name if self._folder else "", "sandbox.db"))

    def start(self) -> Self:
        """Start, and return once connections are accepted.

        :raises SandboxError: if the port or the database cannot be used.
        """
        listener = _listen(self._host, self._port)
        try:
            self._open_database()
        except SandboxError:
            listener.close()
            raise
        host, port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.api_url = self.url + PREFIX
        self._server = _Server(_config(self._world))
        self._thread = threading.Thread(target=self._run, args=(listener,), name="meisa-sandbox", daemon=True)
        self._thread.start()
        if not (self._server.settled.wait(_START_WITHIN) and self._server.started):
            self.stop()
            raise SandboxError("The sandbox's web server did not start. See the messages above.")
        return self

    def _open_database(self) -> None:
        self._file = Database(self.database)
        self._world = World(
            store=Store(self._file),
            journal=Journal(self._file),
            throttle=self._throttle,
            faults=Faults(),
            rate_limits=self._rate_limits,
            latency=self._latency,
        )

    def _run(self, listener: socket.socket) -> None:
        try:
            with suppress(SystemExit):  # uvicorn raises it if it did not start; start() reports that
                asyncio.run(self._server.serve([listener]))
        finally:
            self._server.settled.set()

    def stop(self) -> None:
        """Stop, and return once it has stopped; if it does not run, only remove its temporary folder."""
        if self._thread:
            self._server.stop()
            self._thread.join()
            self._file.close()
        if self._folder:
            self._folder.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Sandbox {getattr(self, 'url', 'not started')}>"

    def fault(self, kind: str, **params: Any) -> dict[str, Any]:
        """Arm a fault for all matching requests until it is cleared, or for the first ``times`` of them.

        :param kind: ``status``, ``html``, ``empty``, ``reset_before``, ``reset_after``, ``slow``, ``late``, ``huge``,
            ``redirect``, ``bulk_shape`` or ``bad_addresses``.
        :param params: ``path``, ``method``, ``times``, ``skip``, and the fault's own parameters.
        """
        return self._world.faults.arm(fault_from(kind, params))

    def clear_faults(self) -> None:
        """Disarm all faults."""
        self._world.faults.clear()

    @property
    def at_work(self) -> int:
        """The number of requests that are still to be carried out, with or without a waiting caller (``late``)."""
        return len(self._world.late)

    def add_key(self, key: str, scopes: Iterable[str] = SCOPES, environment: str = "live") -> None:
        """Add an API key, or change its scopes and environment."""
        self._world.store.put_key(key, scopes, environment)

    def put_sequence(self, slug: str, name: str | None = None, status: str = "active") -> None:
        """Add a sequence, or change its status and, if given, its name."""
        self._world.store.put_sequence(slug, name, status)

    def put_contacts(self, statuses: Mapping[str, str], environment: str = "live") -> None:
        """Add contacts or change their status.

        :param statuses: address to ``subscribed``, ``unsubscribed``, ``bounced`` or ``complained``.
        """
        self._world.store.put_contacts(statuses, environment)

    def contacts(self, environment: str = "live") -> list[dict[str, Any]]:
        """Return each upserted contact, with its whole profile."""
        return self._world.store.contacts(environment)

    def automation_events(self, environment: str = "live") -> list[dict[str, Any]]:
        """Return what an automation would have seen of the contacts, oldest first.

        :return: ``name`` (``contact_created``, ``contact_updated``, ``tag_added`` or ``tag_removed``), ``about`` (the
            fields that changed, or the tag), ``contact_id``, ``email`` and ``at`` of each.
        """
        return self._world.store.automation_events(environment)

    def seed_enrollments(
        self, slug: str, emails: Iterable[str], status: str = "active", environment: str = "live"
    ) -> None:
        """Set the status of contacts in a sequence: ``active``, ``paused``, ``completed`` or ``exited``."""
        self._world.store.seed_enrollments(
            emails, Enrolling(environment, slug, trigger_source="sandbox"), status
        )

    def enrollments(self, slug: str, environment: str = "live") -> list[dict[str, Any]]:
        """Return each contact of a sequence with its status and ``times_enrolled``."""
        return self._world.store.enrollments(slug, environment)

    def requests(self) -> list[dict[str, Any]]:
        """Return all requests to the API, oldest first."""
        return self._world.journal.entries()

    def summary(self) -> dict[str, Any]:
        """Count contacts and enrollments per environment and sequence, and requests by status."""
        return summary(self._world)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    """Bind and listen in one step, so that no other process can take a free port in between."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without the protocol TCP, asyncio leaves Nagle's algorithm on, and each response waits 40 ms for a delayed ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise SandboxError(
            f"The sandbox cannot listen on {host} port {port} ({error}): choose another port, or 0 for a free one."
        ) from error
    return listener


def _config(world: World) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(world),
        http=ConnectionProtocol,
        loop="asyncio",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
