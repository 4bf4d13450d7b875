"""A list of sequences in pages, as Django REST Framework gives it, whose links may lead anywhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

KEY = "meisa_live_paging"


class PagingServer:
    """What the server has, and what it was asked.

    :ivar rows: every entry of the list.
    :ivar link: makes the link to the next page of its query.
    :ivar style: ``offset``, ``page`` or ``cursor``: what a link holds.
    :ivar asked: the query of each request for the list.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.rows = [
            {"slug": f"sequence-{n}", "name": f"Sequence {n}", "status": "active"} for n in range(150)
        ]
        self.link: Callable[[str], object] = lambda query: f"{url}/sequences/api/list/?{query}"
        self.style = "offset"
        self.asked: list[dict[str, str]] = []

    def page(self, query: dict[str, str]) -> dict[str, object]:
        """Return one page, of 20 entries or up to 100."""
        self.asked.append(query)
        size = min(int(query.get("limit", 20)), 100)
        begin = int(query.get("offset", 0))
        if self.style != "offset":
            begin = size * int(query.get(self.style, 0))
        end = begin + size
        value = end if self.style == "offset" else end // size
        following = urlencode({**query, self.style: str(value)})
        more = self.link(following) if end < len(self.rows) else None
        return {"count": len(self.rows), "next": more, "previous": None, "results": self.rows[begin:end]}


@contextmanager
def paging_server() -> Iterator[PagingServer]:
    """Run the server on loopback."""

    class Handler(BaseHTTPRequestHandler):
        """Gives the list, and enrolls whoever is sent."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            target = urlsplit(self.path)
            if target.path.endswith("/sequences/api/list/"):
                body: object = server.page(dict(parse_qsl(target.query)))
            else:
                body = {"environment": "live", "scopes": ["sequences:read", "sequences:enroll"]}
            self.reply(body)

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.reply({"results": [{"email": email, "status": "enrolled"} for email in sent["emails"]]})

        def reply(self, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = PagingServer(f"http://127.0.0.1:{http.server_port}/proxied/api/v1")
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
