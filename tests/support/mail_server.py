"""An SMTP server on loopback that keeps the mails it takes."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message


class MailServer(socketserver.ThreadingTCPServer):
    """Takes every mail; `mails` are those it has taken."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.mails: list[Message] = []


class _Conversation(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        """Respond to each command of a client."""
        self._send("220 ready")
        while command := self.rfile.readline().strip().upper():
            if command == b"DATA":
                self._send("354 go")
                self.server.mails.append(message_from_bytes(b"".join(self._lines())))
            self._send("221 bye" if command == b"QUIT" else "250 done")

    def _lines(self) -> Iterator[bytes]:
        while (line := self.rfile.readline()).strip() != b".":
            yield line

    def _send(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """Run a server until the end of the block."""
    with MailServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
