"""Meisa's HTTP API in Python: client, endpoints, outcomes and errors. It does not import Airflow."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_meisa.api.bulk_enroll_response.reader import BulkEnrollResponse
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.endpoints.account import KeyInfo
    from airflow_provider_meisa.api.endpoints.contacts import Contact, Suppressions
    from airflow_provider_meisa.api.endpoints.sequences import ContactEnrollments, Enrollment, SequenceInfo
    from airflow_provider_meisa.api.errors import (
        MeisaAudienceChangedError,
        MeisaBackOffError,
        MeisaError,
        MeisaInputError,
        MeisaInvalidRequestError,
        MeisaKeyError,
        MeisaLedgerBusyError,
        MeisaLedgerError,
        MeisaNoResponseError,
        MeisaNotFoundError,
        MeisaRateLimitError,
        MeisaRedirectError,
        MeisaResponseError,
        MeisaResponseLostError,
        MeisaScopeError,
        MeisaSequenceInactiveError,
        MeisaSequenceNotFoundError,
        MeisaServerError,
        MeisaStoppedError,
        MeisaUnavailableError,
        MeisaUnreachableError,
        MeisaUnreadableResponseError,
    )
    from airflow_provider_meisa.api.models import Response
    from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
    from airflow_provider_meisa.api.settings import Settings

_PLACES = {  # the module of each public name except the errors; it is imported on first use
    "BulkEnrollResponse": "bulk_enroll_response.reader",
    "MeisaClient": "client",
    "KeyInfo": "endpoints.account",
    "Contact": "endpoints.contacts",
    "Suppressions": "endpoints.contacts",
    "ContactEnrollments": "endpoints.sequences",
    "Enrollment": "endpoints.sequences",
    "SequenceInfo": "endpoints.sequences",
    "Response": "models",
    "Outcome": "outcomes",
    "OutcomeStatus": "outcomes",
    "Settings": "settings",
}

__all__ = [
    "BulkEnrollResponse",
    "Contact",
    "ContactEnrollments",
    "Enrollment",
    "KeyInfo",
    "MeisaAudienceChangedError",
    "MeisaBackOffError",
    "MeisaClient",
    "MeisaError",
    "MeisaInputError",
    "MeisaInvalidRequestError",
    "MeisaKeyError",
    "MeisaLedgerBusyError",
    "MeisaLedgerError",
    "MeisaNoResponseError",
    "MeisaNotFoundError",
    "MeisaRateLimitError",
    "MeisaRedirectError",
    "MeisaResponseError",
    "MeisaResponseLostError",
    "MeisaScopeError",
    "MeisaSequenceInactiveError",
    "MeisaSequenceNotFoundError",
    "MeisaServerError",
    "MeisaStoppedError",
    "MeisaUnavailableError",
    "MeisaUnreachableError",
    "MeisaUnreadableResponseError",
    "Outcome",
    "OutcomeStatus",
    "Response",
    "SequenceInfo",
    "Settings",
    "Suppressions",
]


def __getattr__(name: str) -> Any:
    """Load a public name (PEP 562)."""
    if name in __all__:
        return getattr(import_module(f"{__name__}.{_PLACES.get(name, 'errors')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names and the loaded ones."""
    return sorted({*globals(), *__all__})
