"""A transport that keeps the last response as it came, for those who report its shape."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.transport import Transport

if TYPE_CHECKING:
    import requests

    from airflow_provider_meisa.api.models import Request
    from airflow_provider_meisa.api.settings import Settings

_ABOUT_LIMITS = re.compile(r"retry-after|(?:x-)?rate-?limit.*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SeenResponse:
    """A response.

    :param status: the HTTP status.
    :param headers: the names of its headers about rate limits.
    :param text: its body.
    """

    status: int
    headers: tuple[str, ...]
    text: bytes = field(repr=False)

    def body(self) -> Any:
        """Return the JSON of the body.

        :raises ValueError: if it is not JSON.
        """
        return json.loads(self.text)


class RecordingTransport(Transport):
    """A transport that keeps the last response, also one of an error.

    :ivar seen: that response; ``None`` if none came.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.seen: SeenResponse | None = None

    def _read(self, request: Request, response: requests.Response) -> Any:
        self.seen = SeenResponse(response.status_code, _headers(response), b"")  # a redirect has no more
        return super()._read(request, response)

    def _text(self, request: Request, response: requests.Response) -> bytes:
        text = super()._text(request, response)
        self.seen = SeenResponse(response.status_code, _headers(response), text)
        return text


def _headers(response: requests.Response) -> tuple[str, ...]:
    return tuple(sorted(name for name in response.headers if _ABOUT_LIMITS.fullmatch(name)))
