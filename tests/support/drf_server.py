"""Start the Django project of `tests/drf` behind gunicorn, and nginx in front of it; look into its database."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tests.support.programs import require_program

PROJECT = Path(__file__).resolve().parent.parent / "drf"
LOOPBACK = "127.0.0.1"
KEY = "meisa_live_django"
SCOPES = ("sequences:read", "sequences:enroll", "contacts:read", "contacts:write")
KEEPALIVE = 1  # seconds until gunicorn closes an idle connection
READ_TIMEOUT = 1  # seconds that nginx waits for gunicorn
RETRY_AFTER = 2  # seconds, of the maintenance page
_DEADLINE = 30.0

Point = Literal["before", "between", "after"]
FaultKind = Literal["hold", "slow", "drop", "fail"]

_NGINX = """
{user}worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 64; }}
http {{
    log_format way "$status $uri";
    access_log {folder}/access.log way;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 16k;
    limit_req_zone $http_x_api_key zone=by_503:1m rate=60r/m;
    limit_req_zone $http_x_api_key zone=by_429:1m rate=60r/m;
    server {{
        listen {host}:{plain};
        location / {{
            if (-f {folder}/maintenance-$request_method) {{
                add_header Retry-After {retry_after} always;
                return 503;
            }}
            proxy_read_timeout {read_timeout}s;
            proxy_pass http://{host}:{backend};
        }}
    }}
    server {{
        listen {host}:{limit_503};
        location / {{
            limit_req zone=by_503;
            proxy_pass http://{host}:{backend};
        }}
    }}
    server {{
        listen {host}:{limit_429};
        location / {{
            limit_req zone=by_429;
            limit_req_status 429;
            proxy_pass http://{host}:{backend};
        }}
    }}
}}
"""


@dataclass(frozen=True)
class LoggedRequest:
    """A request that reached Django; ``status`` and ``finished_at`` are ``None`` while the work is in progress."""

    method: str
    path: str
    status: int | None
    received_at: float
    finished_at: float | None


NGINX = ("nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx")


class DrfServer:
    """The service on a loopback port, with its own database in ``folder``.

    A context manager: entering starts gunicorn (and nginx with ``with_nginx``), leaving stops them.
    """

    def __init__(self, folder: Path, *, with_nginx: bool = False) -> None:
        self.folder = folder
        self.key = KEY
        self._with_nginx = with_nginx
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        try:
            self._start_gunicorn()
            if self._with_nginx:
                self._start_nginx()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    # Where it is

    @property
    def port(self) -> int:
        """The port of gunicorn itself."""
        return self._ports["backend"]

    def url(self, way: Literal["backend", "plain", "limit_503", "limit_429"] = "backend") -> str:
        """Return the base URL: of gunicorn, or of nginx with a read timeout, or with one of its limits."""
        return f"http://{LOOPBACK}:{self._ports[way]}/api/v1"

    # What it holds

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read from the database."""
        with self._database() as database:
            return database.execute(query, values).fetchall()

    def enrollments(self, slug: str = "onboarding") -> Counter[str]:
        """Return how many enrollments each address has in a sequence, in any status."""
        return Counter(
            email
            for (email,) in self.rows(
                "SELECT contact.email FROM enrollment JOIN contact ON contact.id = enrollment.contact_id "
                "JOIN sequence ON sequence.id = enrollment.sequence_id WHERE sequence.slug = ?",
                slug,
            )
        )

    def requests(self, part: str = "") -> list[LoggedRequest]:
        """Return the requests so far whose path contains ``part``."""
        found = self.rows(
            "SELECT method, path, status, received_at, finished_at FROM request_log ORDER BY id"
        )
        return [LoggedRequest(*row) for row in found if part in row[1]]

    def proxied(self) -> list[tuple[int, str]]:
        """Return status and path of each request to which nginx has responded since the start of the server."""
        lines = (self.folder / "access.log").read_text().splitlines()
        return [(int(status), path) for status, path in (line.split(" ", 1) for line in lines)]

    # What a test prepares

    def reset(self) -> None:
        """End the work that is held, and begin with a key and the active sequence ``onboarding``."""
        self.end_faults()
        self.wait_until_idle()
        self.end_maintenance()
        self.key = KEY
        with self._database() as database:
            for table in (
                "contact_tags",
                "tag",
                "bulk_job",
                "enrollment",
                "contact",
                "sequence",
                "api_key",
                "request_log",
                "switch",
                "fault",
                "cache",
            ):
                database.execute(f"DELETE FROM {table}")
            database.execute(
                "INSERT INTO api_key (key, environment, product, scopes) VALUES (?, 'live', 'Lifecycle', ?)",
                (KEY, json.dumps(SCOPES)),
            )
        self.set(minute_rate="6000/minute", hour_rate="100000/hour")
        self.add_sequence("onboarding")

    def set(self, **switches: object) -> None:
        """Set how the service behaves; see ``DEFAULTS`` in `lifecycle.switches`."""
        self._write(
            "INSERT OR REPLACE INTO switch (name, value) VALUES (?, ?)",
            [(name, json.dumps(value)) for name, value in switches.items()],
        )

    def set_scopes(self, *scopes: str) -> None:
        """Give the key these scopes only."""
        self._write("UPDATE api_key SET scopes = ?", [(json.dumps(scopes),)])

    def use_test_key(self) -> None:
        """Make the key one of the environment ``test``."""
        self.key = "meisa_test_django"
        self._write("UPDATE api_key SET environment = 'test', key = ?", [(self.key,)])

    def add_sequence(
        self, slug: str, *, status: str = "active", steps: int = 3, ends_at_once: bool = False
    ) -> None:
        """Add a sequence; with ``ends_at_once`` its contacts are through when they are enrolled."""
        self._write(
            "INSERT INTO sequence (slug, name, status, steps, ends_at_once) VALUES (?, ?, ?, ?, ?)",
            [(slug, slug.title(), status, steps, ends_at_once)],
        )

    def change_sequence(self, slug: str = "onboarding", **changes: object) -> None:
        """Change columns of a sequence."""
        for column, value in changes.items():
            self._write(f"UPDATE sequence SET {column} = ? WHERE slug = ?", [(value, slug)])

    def add_contacts(self, emails: Iterable[str], *, status: str = "active") -> None:
        """Add contacts."""
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        self._write(
            "INSERT INTO contact (id, email, status, first_name, last_name, display_name, source, "
            "custom_fields, created_at, updated_at) VALUES (?, ?, ?, '', '', '', 'import', '{}', ?, ?)",
            [(uuid.uuid4().hex, email, status, now, now) for email in emails],
        )

    def add_enrollments(
        self, emails: Iterable[str], *, slug: str = "onboarding", status: str = "active"
    ) -> None:
        """Enroll contacts that were added, as another client might have done."""
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        self._write(
            "INSERT INTO enrollment (contact_id, sequence_id, status, metadata, trigger_source, enrolled_at) "
            "SELECT contact.id, sequence.id, ?, '{}', 'dashboard', ? FROM contact, sequence "
            "WHERE contact.email = ? AND sequence.slug = ?",
            [(status, now, email, slug) for email in emails],
        )

    def fault(
        self, kind: FaultKind, endpoint: str, point: Point, *, uses: int = 1, seconds: float = 0
    ) -> None:
        """Let the next requests to ``enroll`` or ``bulk-enroll`` meet a fault.

        ``hold`` stops the work until `release`, ``slow`` for some seconds, whatever the client does meanwhile;
        ``drop`` closes the connection and works on, ``fail`` is a 500.
        """
        self._write(
            "INSERT INTO fault (endpoint, point, kind, seconds, met, released) VALUES (?, ?, ?, ?, 0, 0)",
            [(endpoint, point, kind, seconds)] * uses,
        )

    def release(self) -> None:
        """Let all held work continue; a request that comes later may be held again."""
        self._write("UPDATE fault SET released = 1 WHERE met", [()])

    def end_faults(self) -> None:
        """Let all held work continue, and no other request meet a fault."""
        self._write("UPDATE fault SET released = 1, met = 1", [()])

    def maintain(self, *methods: Literal["GET", "POST"]) -> None:
        """Let nginx refuse requests with these methods with its maintenance page until `end_maintenance`."""
        for method in methods:
            (self.folder / f"maintenance-{method}").touch()

    def end_maintenance(self) -> None:
        """Let nginx pass all requests on."""
        for flag in self.folder.glob("maintenance-*"):
            flag.unlink()

    # What a test waits for

    def wait_until(self, condition: Callable[[], bool], what: str = "the condition") -> None:
        """Wait for something that the server does.

        :raises TimeoutError: if it has not come about after 30 s.
        """
        deadline = time.monotonic() + _DEADLINE
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"Waited {_DEADLINE:g} s for {what}.")
            time.sleep(0.01)

    def wait_until_held(self) -> None:
        """Wait until a request has met a fault."""
        self.wait_until(lambda: bool(self.rows("SELECT 1 FROM fault WHERE met")), "a request to be held")

    def wait_until_idle(self) -> None:
        """Wait until no request is at work, also none that its client has given up."""
        self.wait_until(
            lambda: not self.rows("SELECT 1 FROM request_log WHERE status IS NULL"), "the end of all requests"
        )

    # How it runs

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self.folder / "lifecycle.sqlite3", timeout=20)
        try:
            with database:
                yield database
        finally:
            database.close()

    def _write(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        with self._database() as database:
            database.executemany(statement, rows)

    def _start_gunicorn(self) -> None:
        with socket.create_server((LOOPBACK, 0), backlog=128) as listener:
            self._ports["backend"] = listener.getsockname()[1]
            command = [sys.executable, "-m", "gunicorn", "lifecycle.wsgi", "--pythonpath", str(PROJECT)]
            command += [
                "--bind",
                f"fd://{listener.fileno()}",
                "--preload",
                "--workers",
                "2",
                "--threads",
                "8",
            ]
            command += ["--keep-alive", str(KEEPALIVE), "--log-level", "error", "--no-control-socket"]
            self._start(command, "gunicorn.log", pass_fds=(listener.fileno(),))
        # The listener is there before the workers are: the first request waits for them.
        try:
            urllib.request.urlopen(f"{self.url()}/ping/", timeout=_DEADLINE).close()
        except OSError as error:
            if not isinstance(error, urllib.error.HTTPError) or error.code != HTTPStatus.FORBIDDEN:
                log = (self.folder / "gunicorn.log").read_text()
                raise RuntimeError(f"The service did not start: {error}\n{log}") from error

    def _start_nginx(self) -> None:
        nginx = require_program(*NGINX, package="nginx-light")
        ways = ("plain", "limit_503", "limit_429")
        self._ports.update(zip(ways, _free_ports(len(ways)), strict=True))
        configuration = self.folder / "nginx.conf"
        configuration.write_text(
            _NGINX.format(
                folder=self.folder,
                # A worker of a master that runs as root would be of another user, who may not see the folder.
                user="user root;\n" if os.geteuid() == 0 else "",
                host=LOOPBACK,
                read_timeout=READ_TIMEOUT,
                retry_after=RETRY_AFTER,
                **self._ports,
            )
        )
        log = str(self.folder / "nginx.log")
        command = [nginx, "-p", str(self.folder), "-c", str(configuration), "-e", log, "-g", "daemon off;"]
        process = self._start(command, "nginx.out")
        self.wait_until(
            lambda: process.poll() is not None or _is_open(self._ports["plain"]), "nginx to listen"
        )
        if process.poll() is not None:
            raise RuntimeError(f"nginx did not start: {(self.folder / 'nginx.log').read_text()}")

    def _start(
        self, command: list[str], log: str, *, pass_fds: tuple[int, ...] = ()
    ) -> subprocess.Popen[bytes]:
        environment = {
            "LIFECYCLE_DATA": str(self.folder),
            "PATH": "/usr/bin:/bin",
            "TMPDIR": str(self.folder),
        }
        with (self.folder / log).open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=self.folder,
                pass_fds=pass_fds,
            )
        self._processes.append(process)
        return process

    def _stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in found]


def _is_open(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
