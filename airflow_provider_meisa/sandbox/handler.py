"""Handle one request to the API."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from airflow_provider_meisa.sandbox.connection import is_gone, reset
from airflow_provider_meisa.sandbox.endpoints import AdmittedRequest, Endpoint, endpoint_at
from airflow_provider_meisa.sandbox.journal import arrival_of
from airflow_provider_meisa.sandbox.responses import RefusedError, SandboxResponse
from airflow_provider_meisa.sandbox.shapes import Shape, refused_addresses, shaped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_meisa.sandbox.faults import Fault
    from airflow_provider_meisa.sandbox.store import Key
    from airflow_provider_meisa.sandbox.world import World

_MEGABYTE = 1_000_000
_NOWHERE = Response(status_code=HTTPStatus.NO_CONTENT)  # for a connection that is closed

_HTML = """<!doctype html>
<html><head><title>{status} {phrase}</title></head>
<body><center><h1>{status} {phrase}</h1></center><hr><center>nginx</center></body></html>
"""


async def handle(world: World, request: Request) -> Response:
    """Record a request, carry it out with the fault armed for it, and respond."""
    body = await request.body()
    given = request.headers.get("X-API-Key", "")
    key = world.store.key(given)
    environment = key.environment if key else ""
    path = request.url.path
    number = world.journal.open(arrival_of(request.method, path, given, environment, body))
    await asyncio.sleep(world.latency / 2)
    fault = world.faults.take(request.method, path)
    response = None if _is(fault, "reset_before") else await _carry_out(world, request, body, fault)
    await asyncio.sleep(
        world.latency / 2 + (fault.params["seconds"] if fault and fault.kind == "slow" else 0)
    )
    is_lost = _is(fault, "reset_before", "reset_after")
    status = response.status_code if response else None
    world.journal.close(number, status, answered=not (is_lost or is_gone(request.scope)))
    if is_lost:
        await reset(request.scope)
    return response or _NOWHERE


def _is(fault: Fault | None, *kinds: str) -> bool:
    return fault is not None and fault.kind in kinds


async def _carry_out(world: World, request: Request, body: bytes, fault: Fault | None) -> Response:
    """Carry out the request and return its response, in another shape if a fault sets one."""
    if fault and (instead := _instead(fault)):  # as a proxy in front would: not throttled, not carried out
        return instead
    endpoint, contact_id = endpoint_at(request.url.path)
    if endpoint is None:
        return _no_such_path(request)
    try:
        key = _admit(world, request, endpoint)
    except RefusedError as error:
        return _written(error.reply, body, fault)
    if fault and fault.kind == "late":
        return await _do_late(
            world, request, body, fault, _Work(endpoint, key, contact_id, world.store.last_enrollment())
        )
    return _do(world, request, body, fault, _Work(endpoint, key, contact_id))


async def _do_late(world: World, request: Request, body: bytes, fault: Fault, work: _Work) -> Response:
    """Insert later what was looked up before, as a server does without a transaction.

    The caller gets a proxy's response at once, or the real one when the work is done, if it still waits.
    """

    async def do() -> Response:
        await asyncio.sleep(fault.params["seconds"])
        return _do(world, request, body, fault, work)

    task = asyncio.create_task(do())
    world.late.add(task)
    task.add_done_callback(world.late.discard)
    if status := fault.params["status"]:
        return _page(status)
    return await asyncio.shield(task)


def _page(status: int, headers: Mapping[str, str] | None = None) -> Response:
    page = _HTML.format(status=status, phrase=_phrase(status))
    return Response(page, status, headers, "text/html")


def _instead(fault: Fault) -> Response | None:
    """Return the response of a fault that replaces the real one, or None."""
    params = fault.params
    match fault.kind:
        case "status":
            return Response(
                _text(params["body"], params["status"]),
                params["status"],
                params["headers"],
                params["content_type"] or None,
            )
        case "html":
            return _page(params["status"], params["headers"])
        case "empty":
            return Response(None, params["status"], params["headers"])
        case "redirect":
            return Response(None, params["status"], {"Location": params["location"]})
        case "huge":
            return _huge(params["megabytes"], params["status"], chunked=params["chunked"])
    return None


def _text(body: Any, status: int) -> str:
    if isinstance(body, str):
        return body
    return json.dumps({"detail": f"{_phrase(status)}."} if body is None else body)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _huge(megabytes: int, status: int, *, chunked: bool) -> Response:
    """Return a JSON body of that many megabytes; a chunked one has no Content-Length."""
    if chunked:
        return StreamingResponse(_filler(megabytes), status, media_type="application/json")
    return Response(b"".join(_filler(megabytes)), status, media_type="application/json")


def _filler(megabytes: int) -> Iterator[bytes]:
    yield b'{"results": ["'
    for _ in range(megabytes):
        yield b"x" * _MEGABYTE
    yield b'"]}'


@dataclass(frozen=True)
class _Work:
    """The endpoint and key of an admitted request, the contact that its path names; ``as_of`` as in `Enrolling`."""

    endpoint: Endpoint
    key: Key
    contact_id: str
    as_of: int | None = None


def _do(world: World, request: Request, body: bytes, fault: Fault | None, work: _Work) -> Response:
    content_type = request.headers.get("Content-Type", "")
    call = AdmittedRequest(
        world.store,
        work.key,
        request.query_params,
        content_type,
        body,
        work.as_of,
        work.contact_id,
        request.headers.get("Host", ""),
    )
    try:
        _refuse_bad_addresses(body, fault)
        reply = work.endpoint.respond(call)
    except RefusedError as error:
        reply = error.reply
    return _written(reply, body, fault)


def _refuse_bad_addresses(body: bytes, fault: Fault | None) -> None:
    """Refuse a whole bulk request because of some of its addresses."""
    if fault is None or fault.kind != "bad_addresses":
        return
    try:
        emails = [email for email in json.loads(body)["emails"] if isinstance(email, str)]
    except (ValueError, TypeError, KeyError):
        return
    if refused := refused_addresses(emails, fault.params["addresses"], fault.params["form"]):
        raise RefusedError(400, refused)


def _written(reply: SandboxResponse, body: bytes, fault: Fault | None) -> Response:
    # In ASCII, because a lone surrogate in the request cannot be encoded in UTF-8.
    content = json.dumps(_body(reply, body, fault))
    return Response(content, reply.status, dict(reply.headers), "application/json")


def _body(reply: SandboxResponse, sent: bytes, fault: Fault | None) -> Mapping[str, Any]:
    if fault is None or fault.kind != "bulk_shape" or reply.outcomes is None:
        return reply.body
    return shaped(json.loads(sent)["sequence_slug"], reply.outcomes, Shape(**fault.params))


def _no_such_path(request: Request) -> Response:
    """Redirect to the path with its slash, as Django does for every method, or respond with 404 (inferred)."""
    path = f"{request.url.path}/"
    if endpoint_at(path)[0] is None:
        return Response("<h1>Not Found</h1>", HTTPStatus.NOT_FOUND, media_type="text/html")
    query = f"?{request.url.query}" if request.url.query else ""
    return Response(None, HTTPStatus.MOVED_PERMANENTLY, {"Location": path + query})


def _admit(world: World, request: Request, endpoint: Endpoint) -> Key:
    """Check key, scope, rate limits and method, in the order of Django REST Framework (inferred)."""
    given = request.headers.get("X-API-Key", "")
    key = world.store.key(given)
    if key is None:
        detail = "Invalid API key." if given else "Authentication credentials were not provided."
        raise RefusedError(401, {"detail": detail}, {"WWW-Authenticate": "X-API-Key"})
    if endpoint.scope and endpoint.scope not in key.scopes:
        raise RefusedError(403, {"detail": f"This API key lacks the scope {endpoint.scope}."})
    wait = math.ceil(world.throttle.admit(given))
    if wait > 0:
        detail = f"Request was throttled. Expected available in {wait} second{'s' if wait > 1 else ''}."
        raise RefusedError(429, {"detail": detail}, {"Retry-After": str(wait)})
    if request.method != endpoint.method:
        raise RefusedError(
            405, {"detail": f'Method "{request.method}" not allowed.'}, {"Allow": endpoint.method}
        )
    return key
