"""What Meisa's page *Contacts* offers: who must not be mailed."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_meisa.api.client import MeisaClient
from airflow_provider_meisa.api.errors import MeisaUnreadableAnswerError
from airflow_provider_meisa.api.models import Call

_PATH = "/contacts/api/unsubscribed-emails/"
_MAX_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Suppressions:
    """Who must not be mailed: unsubscribed, bounced or complained.

    :param as_of: when Meisa drew up the list, as it says; empty where it does not.
    :param emails: the addresses, as Meisa spells them; ``repr`` leaves them out.
    """

    as_of: str
    emails: tuple[str, ...] = field(repr=False)


def unsubscribed_emails(client: MeisaClient) -> Suppressions:
    """Read who must not be mailed: ``GET /contacts/api/unsubscribed-emails/`` (Meisa's page *Contacts*).

    :raises MeisaUnreadableAnswerError: if the answer has no list of addresses.
    :raises MeisaError: see `errors`.
    """
    as_of, emails = "", list[str]()
    for body in client.pages(Call("GET", _PATH, scope="contacts:read", max_bytes=_MAX_BYTES)):
        found = body.get("emails") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(found, list):
            raise MeisaUnreadableAnswerError(f"GET {_PATH}: the answer has no list 'emails'.", status=200)
        as_of = as_of or str(body.get("as_of") or "")
        emails += [email for email in found if isinstance(email, str)]
    return Suppressions(as_of, tuple(emails))
