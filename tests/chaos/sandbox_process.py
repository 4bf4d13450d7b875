"""The sandbox in a process of its own, so that a try that dies takes nothing of it along."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from urllib.parse import quote, urlsplit

from airflow_provider_meisa.sandbox.server import Sandbox
from airflow_provider_meisa.sandbox.store import SCOPES


class SandboxProcess:
    """A sandbox in another process, for a ``with`` block.

    :param key: an API key that it knows.
    :param arguments: of `Sandbox`.
    """

    def __init__(self, key, **arguments):
        self._key, self._arguments = key, arguments

    def __enter__(self):
        ours, theirs = socket.socketpair()
        self._pid = os.fork()
        if not self._pid:
            ours.close()
            self._serve(theirs)
        theirs.close()
        self._line = ours
        self.url = ours.recv(1000).decode()
        return self

    def _serve(self, line):
        try:
            with Sandbox(**self._arguments) as sandbox:
                sandbox.add_key(self._key, SCOPES)
                line.sendall(sandbox.url.encode())
                while line.recv(1):  # until the other side hangs up
                    while sandbox.at_work:
                        time.sleep(0.005)
                    line.sendall(b".")
        finally:
            os._exit(0)

    def __exit__(self, *_exception):
        self._line.close()
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def wait_until_idle(self):
        """Wait until no abandoned request is to be carried out any more."""
        self._line.sendall(b"?")
        self._line.recv(1)

    def fault(self, **fault):
        """Arm a fault."""
        self._ask("POST", "/_sandbox/faults", fault)

    def clear_faults(self):
        """Disarm all faults."""
        self._ask("DELETE", "/_sandbox/faults")

    def unsubscribe(self, emails):
        """Let these contacts have unsubscribed."""
        self._ask("POST", "/_sandbox/contacts", [{"email": e, "status": "unsubscribed"} for e in emails])

    def seed(self, slug, emails, status="active"):
        """Let these contacts be in the sequence already, or have been."""
        sent = {"sequence_slug": slug, "emails": emails, "status": status}
        self._ask("POST", "/_sandbox/enrollments", sent)

    def enrollments(self, slug):
        """Return each contact of a sequence."""
        return self._ask("GET", f"/_sandbox/enrollments?sequence_slug={quote(slug)}")

    def contacts(self):
        """Return each contact."""
        return self._ask("GET", "/_sandbox/contacts")

    def requests(self):
        """Return what came in, oldest first."""
        return self._ask("GET", "/_sandbox/requests")

    def _ask(self, method, path, body=None):
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        connection.request(method, path, body=json.dumps(body), headers={"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        assert response.status < 300, content
        return json.loads(content) if content else None
