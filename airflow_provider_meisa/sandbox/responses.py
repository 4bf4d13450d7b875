"""Responses, before they become HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_meisa.sandbox.outcomes import Outcome


@dataclass(frozen=True)
class SandboxResponse:
    """A status with a JSON body.

    :param outcomes: those of a bulk request, so that the response can be written in another shape.
    """

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    outcomes: tuple[Outcome, ...] | None = None


class RefusedError(Exception):
    """The request is refused; ``reply`` is the response."""

    def __init__(
        self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"refused with {status}")
        self.reply = SandboxResponse(status, body, headers or {})
