"""Everything that can go wrong between us and Meisa, cut by what the reader must do.

::

    MeisaError
    ├── MeisaInputError            nothing was sent: fix the call or the connection
    │   ├── MeisaAudienceChangedError  the addresses are not those of the earlier try
    │   └── MeisaLedgerError           the ledger is damaged, lost or another task's
    ├── MeisaLedgerBusyError       another run writes the ledger: try again when it has ended
    ├── MeisaNoResponseError       no response came
    │   ├── MeisaUnreachableError      the request never left: try again
    │   └── MeisaResponseLostError     it may have been carried out: check before sending again
    ├── MeisaResponseError         the response was an error
    │   ├── MeisaKeyError              401, or a 403 that says so: the key
    │   ├── MeisaScopeError            403: what the key may not do, such as for lack of a scope
    │   ├── MeisaNotFoundError         404: the path
    │   │   └── MeisaSequenceNotFoundError     the slug
    │   ├── MeisaSequenceInactiveError the sequence must be activated in the dashboard
    │   ├── MeisaInvalidRequestError   400, 409, 422: the fields
    │   ├── MeisaBackOffError          not carried out: wait
    │   │   ├── MeisaRateLimitError        429: the key's rate limits
    │   │   └── MeisaUnavailableError      503: maintenance, or too many requests for a proxy
    │   ├── MeisaRedirectError         3xx: the base URL
    │   └── MeisaServerError           5xx: try again later
    ├── MeisaStoppedError          the task was stopped; nothing was sent
    └── MeisaUnreadableResponseError the response cannot be read: a proxy, a firewall, or another service

A message carries method, path, status, what to do and what Meisa said; never an address, a key or what was sent of a
contact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class MeisaError(Exception):
    """Anything that went wrong while talking to Meisa."""

    possibly_done = False
    """Whether Meisa may have carried the call out, or an earlier request of the same call."""


class MeisaInputError(MeisaError, ValueError):
    """What was asked cannot be sent as it is; nothing was sent."""


class MeisaAudienceChangedError(MeisaInputError):
    """What an earlier try has begun cannot be resumed."""


class MeisaLedgerError(MeisaInputError):
    """The ledger cannot be used as it is: a part is damaged or missing, or it belongs to another task."""


class MeisaLedgerBusyError(MeisaError):
    """Another run writes the same ledger. This one has stopped before it sent anything more."""


class MeisaNoResponseError(MeisaError):
    """No response came."""


class MeisaUnreachableError(MeisaNoResponseError):
    """No connection could be made, so nothing was sent. Trying again is safe."""


class MeisaResponseLostError(MeisaNoResponseError):
    """The connection broke or timed out after the request may have left.

    Meisa may have carried it out, or may still be at work on it. A read can be retried; a write must be checked first.
    """

    possibly_done = True


class MeisaStoppedError(MeisaError):
    """The task was stopped before the request was sent."""


class MeisaResponseError(MeisaError):
    """Meisa responded with an error.

    :param status: the HTTP status.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class MeisaKeyError(MeisaResponseError):
    """401, or a 403 that says so: the API key is missing, mistyped or revoked."""


class MeisaScopeError(MeisaResponseError):
    """403: the API key may not do this.

    :param scope: the missing scope, such as ``sequences:enroll``; ``None`` where Meisa does not say that one is.
    """

    def __init__(self, message: str, *, status: int = 403, scope: str | None = None) -> None:
        super().__init__(message, status=status)
        self.scope = scope


class MeisaNotFoundError(MeisaResponseError):
    """404: there is nothing at this path."""


class MeisaSequenceNotFoundError(MeisaNotFoundError):
    """No sequence has this slug."""


class MeisaSequenceInactiveError(MeisaResponseError):
    """The sequence exists but takes no contacts: its status is not ``active``."""


class MeisaInvalidRequestError(MeisaResponseError):
    """400, 409 or 422: Meisa does not accept these fields.

    :param reason: the text of the response, with addresses and keys taken out.
    :param fields: the request's fields that the response names.
    :param texts: each sentence of the reason, none of them cut short.
    :param places: of a bulk request, the places of the addresses that the response names, each with a reason.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        reason: str = "",
        fields: tuple[str, ...] = (),
        texts: tuple[str, ...] = (),
        places: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(message, status=status)
        self.reason = reason
        self.fields = fields
        self.texts = texts
        self.places = dict(places or {})


class MeisaBackOffError(MeisaResponseError):
    """The request was not carried out, and may be sent again after a wait.

    :param retry_after: seconds Meisa asks us to wait, or ``None`` where it does not say.
    """

    def __init__(self, message: str, *, status: int, retry_after: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class MeisaRateLimitError(MeisaBackOffError):
    """429: the key's rate limit is reached.

    :param retry_after: seconds Meisa asks us to wait, or ``None`` where it does not say.
    """

    def __init__(self, message: str, *, status: int = 429, retry_after: float | None = None) -> None:
        super().__init__(message, status=status, retry_after=retry_after)


class MeisaUnavailableError(MeisaBackOffError):
    """503: Meisa, or a proxy before it, takes no requests for now.

    :param retry_after: seconds Meisa asks us to wait, or ``None`` where it does not say.
    """

    def __init__(self, message: str, *, status: int = 503, retry_after: float | None = None) -> None:
        super().__init__(message, status=status, retry_after=retry_after)


class MeisaRedirectError(MeisaResponseError):
    """3xx: the base URL points somewhere that sends us elsewhere. The key was not sent there."""


class MeisaServerError(MeisaResponseError):
    """5xx but 503: Meisa, or a proxy before it, failed. Meisa may still be at work on the request."""

    possibly_done = True


class MeisaUnreadableResponseError(MeisaError):
    """The response is not one of Meisa's: HTML, not JSON, empty or too large, or its pages have no end.

    A 403 that is not JSON is one, too: a firewall or proxy has stopped the request.

    :param status: the HTTP status it came with.
    """

    def __init__(self, message: str, *, status: int, possibly_done: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.possibly_done = possibly_done


_GATEWAY = {408, 421, 425, 502, 504}


def may_be_resent(error: BaseException) -> bool:
    """Say whether a write that met this error may be sent again in the same attempt, after a while."""
    return isinstance(error, MeisaResponseLostError) or (
        isinstance(error, MeisaServerError) and error.status in _GATEWAY
    )
