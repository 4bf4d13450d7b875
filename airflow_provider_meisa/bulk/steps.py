"""The steps of a run: data that the engine returns, and that the runner carries out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.rate_limit.limiter import Reservation, Wait

if TYPE_CHECKING:
    from airflow_provider_meisa.api.errors import MeisaError
    from airflow_provider_meisa.bulk.batching import Batch


@dataclass(frozen=True, slots=True)
class SendBatch:
    """Send this batch now, with this reservation."""

    batch: Batch
    reservation: Reservation = field(repr=False)
    is_resend: bool = False


@dataclass(frozen=True, slots=True)
class AwaitResponse:
    """Nothing can be sent until the response to a batch in flight has come."""


@dataclass(frozen=True, slots=True)
class AwaitResend(Wait):
    """A batch in doubt may be sent again after this wait: until then Meisa may still process it."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing is left to send, and every response has come.

    :param stopped_by: the error that ended the run early, or ``None``.
    """

    stopped_by: MeisaError | None = None
