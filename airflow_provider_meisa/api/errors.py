"""All errors of this package; each class is named for the remedy.

::

    MeisaError
    ├── MeisaInputError            nothing was sent: fix the call or the connection
    │   ├── MeisaAudienceChangedError  the addresses are not those of the earlier attempt
    │   └── MeisaLedgerError           the ledger is damaged, lost or another task's
    ├── MeisaLedgerBusyError       another run writes the ledger: try again when it has ended
    ├── MeisaNoResponseError       no response came
    │   ├── MeisaUnreachableError      the request never left: try again
    │   └── MeisaResponseLostError     it may have been carried out: check before sending again
    ├── MeisaResponseError         the response was an error
    │   ├── MeisaKeyError              401, or a 403 about the key
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

A message has method, path, status, remedy and Meisa's own text. It never has an address, a key or data of a contact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class MeisaError(Exception):
    """The base of all errors of this package."""

    possibly_done = False
    """Whether Meisa may have carried out the call, or an earlier request of the same call."""


class MeisaInputError(MeisaError, ValueError):
    """A parameter, the input or the connection cannot be used; nothing was sent."""


class MeisaAudienceChangedError(MeisaInputError):
    """The run of an earlier attempt cannot be resumed."""


class MeisaLedgerError(MeisaInputError):
    """The ledger cannot be used as it is: a part is damaged or missing, or it belongs to another task."""


class MeisaLedgerBusyError(MeisaError):
    """Another run writes the same ledger. This run stopped before it sent anything more."""


class MeisaNoResponseError(MeisaError):
    """No response came."""


class MeisaUnreachableError(MeisaNoResponseError):
    """No connection could be made, so nothing was sent. A retry is safe."""


class MeisaResponseLostError(MeisaNoResponseError):
    """The connection broke or timed out after the request may have left.

    Meisa may have carried it out, or may still process it. You can retry a read; check a write first.
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
    """401, or a 403 about the key: the API key is missing, mistyped or revoked."""


class MeisaScopeError(MeisaResponseError):
    """403: the API key may not do this.

    :param scope: the missing scope, such as ``sequences:enroll``; ``None`` if Meisa does not report a missing scope.
    """

    def __init__(self, message: str, *, status: int = 403, scope: str | None = None) -> None:
        super().__init__(message, status=status)
        self.scope = scope


class MeisaNotFoundError(MeisaResponseError):
    """404: the path does not exist."""


class MeisaSequenceNotFoundError(MeisaNotFoundError):
    """No sequence has this slug."""


class MeisaSequenceInactiveError(MeisaResponseError):
    """The sequence exists but takes no contacts: its status is not ``active``."""


class MeisaInvalidRequestError(MeisaResponseError):
    """400, 409 or 422: Meisa does not accept these fields.

    :param reason: the text of the response, with addresses and keys taken out.
    :param fields: the request's fields that the response names.
    :param texts: each sentence of the reason, in full.
    :param places: the positions of the addresses in a bulk request that the response names, each with a reason.
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

    :param retry_after: seconds to wait, as Meisa asks; ``None`` if it does not.
    """

    def __init__(self, message: str, *, status: int, retry_after: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class MeisaRateLimitError(MeisaBackOffError):
    """429: the key's rate limit is reached.

    :param retry_after: seconds to wait, as Meisa asks; ``None`` if it does not.
    """

    def __init__(self, message: str, *, status: int = 429, retry_after: float | None = None) -> None:
        super().__init__(message, status=status, retry_after=retry_after)


class MeisaUnavailableError(MeisaBackOffError):
    """503: Meisa, or a proxy before it, takes no requests for now.

    :param retry_after: seconds to wait, as Meisa asks; ``None`` if it does not.
    """

    def __init__(self, message: str, *, status: int = 503, retry_after: float | None = None) -> None:
        super().__init__(message, status=status, retry_after=retry_after)


class MeisaRedirectError(MeisaResponseError):
    """3xx: the base URL redirects to another place. The key was not sent there."""


class MeisaServerError(MeisaResponseError):
    """5xx except 503: Meisa, or a proxy before it, failed. Meisa may still process the request."""

    possibly_done = True


class MeisaUnreadableResponseError(MeisaError):
    """The response does not look like Meisa's: HTML, not JSON, empty, too large, or with endless pages.

    A 403 that is not JSON is one as well: a firewall or proxy stopped the request.

    :param status: the HTTP status.
    """

    def __init__(self, message: str, *, status: int, possibly_done: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.possibly_done = possibly_done


_GATEWAY = {408, 421, 425, 502, 504}


def may_be_resent(error: BaseException) -> bool:
    """Return whether a write that failed with this error may be sent again in the same attempt, after a wait."""
    return isinstance(error, MeisaResponseLostError) or (
        isinstance(error, MeisaServerError) and error.status in _GATEWAY
    )
