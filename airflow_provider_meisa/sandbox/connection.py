"""The TCP connection under a request, for faults that break it."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

SCOPE_KEY = "meisa_sandbox.transport"
_NO_LINGER = struct.pack("ii", 1, 0)


class ConnectionProtocol(H11Protocol):
    """uvicorn's HTTP protocol, which also passes the connection to the application."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Add the connection to the scope of each of its requests."""
        super().connection_made(transport)
        self.app = _with_transport(self.app, transport)


def _with_transport(app: ASGI3Application, transport: asyncio.Transport) -> ASGI3Application:
    async def respond(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        cast("MutableMapping[str, Any]", scope)[SCOPE_KEY] = transport
        await app(scope, receive, send)

    return respond


def is_gone(scope: MutableMapping[str, Any]) -> bool:
    """Return whether the caller has closed the connection."""
    return bool(scope[SCOPE_KEY].is_closing())


async def reset(scope: MutableMapping[str, Any]) -> None:
    """Reset the connection, and return once it is closed."""
    transport: asyncio.Transport = scope[SCOPE_KEY]
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
    await asyncio.sleep(0)  # the loop closes it in its next iteration; a response after that is dropped
