"""The endpoints of Meisa's page *Sequences*: enroll, bulk enroll, list, enrollments of a contact."""

from __future__ import annotations

import difflib
import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from typing import NoReturn

from airflow_provider_meisa.api.bulk_enroll_response.reader import BulkEnrollResponse, read_bulk_response
from airflow_provider_meisa.api.checks import check_json_object, check_slug, check_switch, check_text
from airflow_provider_meisa.api.client import MeisaClient
from airflow_provider_meisa.api.endpoints.account import confirm_environment
from airflow_provider_meisa.api.enroll_response import read_enroll_response, status_of
from airflow_provider_meisa.api.errors import (
    MeisaError,
    MeisaInputError,
    MeisaInvalidRequestError,
    MeisaNotFoundError,
    MeisaResponseError,
    MeisaSequenceInactiveError,
    MeisaSequenceNotFoundError,
    MeisaUnreadableResponseError,
)
from airflow_provider_meisa.api.known_sequences import KnownSequence, KnownSequences
from airflow_provider_meisa.api.models import Request
from airflow_provider_meisa.api.outcomes import BY_US, Outcome, OutcomeStatus, possibly_ours
from airflow_provider_meisa.api.rate_limit.limiter import Reservation
from airflow_provider_meisa.api.redaction import redact

log = logging.getLogger(__name__)

ACTIVE = "active"
DEFAULT_TRIGGER_SOURCE = "airflow"
MAX_BATCH = 500

_LARGEST_PAGE = "100"  # 20 by default

_ENROLL = Request("POST", "/sequences/enroll/", scope="sequences:enroll", safe=False)
_BULK = Request("POST", "/sequences/api/bulk-enroll/", scope="sequences:enroll", safe=False)
_LIST = Request("GET", "/sequences/api/list/", scope="sequences:read")
_ENROLLMENTS = Request("GET", "/sequences/api/contact-enrollments/", scope="sequences:read")


@dataclass(frozen=True, slots=True)
class SequenceInfo:
    """A sequence in the list.

    :param slug: its id in requests.
    :param name: its name in the dashboard.
    :param status: ``active`` or another word; the list of statuses is not documented.
    :param total_enrolled: the number of enrolled contacts, if the response has it.
    """

    slug: str
    name: str
    status: str
    total_enrolled: int | None = None

    def as_json(self) -> dict[str, object]:
        """Return it as plain JSON, for XCom and trigger events."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RecentSequences:
    """Sequences as they are, or were a short while ago.

    :param sequences: of every status.
    :param age: seconds since the request for them began.
    :param is_kept: whether an earlier request has found them.
    """

    sequences: list[SequenceInfo]
    age: float
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Enrollment:
    """A contact's place in one sequence.

    :param sequence_slug: the sequence.
    :param status: ``active``, ``paused`` or another word; the list of statuses is not documented.
    """

    sequence_slug: str
    status: str


@dataclass(frozen=True, slots=True)
class ContactEnrollments:
    """The sequences of a contact.

    :param contact_exists: whether Meisa knows the address.
    :param enrollments: one entry per sequence.
    """

    contact_exists: bool
    enrollments: tuple[Enrollment, ...]


def enroll(
    client: MeisaClient,
    email: str,
    sequence_slug: str,
    *,
    metadata: Mapping[str, object] | None = None,
    trigger_source: str = DEFAULT_TRIGGER_SOURCE,
    override_unsubscribe: bool = False,
    resend: bool = True,
) -> Outcome:
    """Enroll one contact: ``POST /sequences/enroll/`` (Meisa's page *Sequences*).

    Meisa documents that it rejects a contact already in the sequence, but not the status and the words.
    `enroll_response` reads the words.

    :param email: the contact; created if Meisa does not know it.
    :param sequence_slug: an active sequence.
    :param metadata: data attached to the enrollment, plain JSON.
    :param trigger_source: the origin of the enrollment.
    :param override_unsubscribe: enroll even a suppressed contact; an error unless the settings allow it.
    :param resend: whether to send again, once and after a wait, if the response was lost. A contact that is then
        enrolled has the reason ``possibly twice``, one that is already enrolled ``possibly by this run``.
    :return: the status: ``enrolled``, ``already_enrolled``, ``suppressed``, ``invalid``, ``failed``, or
        ``unreported`` if the request was only accepted.
    :raises MeisaSequenceNotFoundError: if no sequence has this slug; the message names similar ones.
    :raises MeisaSequenceInactiveError: if the sequence is not active.
    :raises MeisaError: see `errors`.
    """
    _check_write(client, sequence_slug, override_unsubscribe=override_unsubscribe, resend=resend)
    check_text("email", email)
    check_text("trigger_source", trigger_source)
    body: dict[str, object] = {
        "email": email,
        "sequence_slug": sequence_slug,
        "trigger_source": trigger_source,
    }
    if metadata is not None and (plain := check_json_object("metadata", metadata)):
        body["metadata"] = plain
    if override_unsubscribe:
        body["override_unsubscribe"] = True
    confirm_environment(client)
    try:
        response = client.send(replace(_ENROLL, body=body), resend=resend)
    except MeisaInvalidRequestError as error:
        if status := status_of(error):
            ours = error.possibly_done and status is OutcomeStatus.ALREADY_ENROLLED
            return Outcome(email, status, BY_US if ours else error.reason)
        _explain(client, sequence_slug, error)
    except MeisaNotFoundError as error:
        _explain(client, sequence_slug, error)
    outcome = Outcome(email, *read_enroll_response(response.status, response.body))
    return possibly_ours(outcome) if response.possibly_twice else outcome


def bulk_enroll(
    client: MeisaClient,
    emails: Sequence[str],
    sequence_slug: str,
    *,
    override_unsubscribe: bool = False,
    resend: bool = True,
    reservation: Reservation | None = None,
) -> BulkEnrollResponse:
    """Enroll up to 500 contacts: ``POST /sequences/api/bulk-enroll/`` (Meisa's page *Sequences*).

    Meisa documents that it skips already enrolled and suppressed addresses, and that the response details each
    outcome, but not the shape of the response. `bulk_enroll_response` reads it.

    :param emails: 1–500 addresses without duplicates.
    :param sequence_slug: an active sequence.
    :param override_unsubscribe: enroll even suppressed contacts; an error unless the settings allow it.
    :param resend: whether to send again, once and after a wait, if the response was lost. Addresses that are then
        enrolled have the reason ``possibly twice``, already enrolled ones ``possibly by this run``.
    :param reservation: a reservation for this request.
    :return: one outcome for each address sent.
    :raises MeisaSequenceNotFoundError: if no sequence has this slug; the message names similar ones.
    :raises MeisaSequenceInactiveError: if the sequence is not active.
    :raises MeisaError: see `errors`.
    """
    try:
        _check_write(client, sequence_slug, override_unsubscribe=override_unsubscribe, resend=resend)
        _check_batch(emails)
        confirm_environment(client)
    except BaseException:
        if reservation:
            client.rate_limiter.release(reservation)
        raise
    body: dict[str, object] = {"sequence_slug": sequence_slug, "emails": list(emails)}
    if override_unsubscribe:
        body["override_unsubscribe"] = True
    try:
        response = client.send(replace(_BULK, body=body), reservation=reservation, resend=resend)
    except (MeisaInvalidRequestError, MeisaNotFoundError) as error:
        if isinstance(error, MeisaInvalidRequestError) and error.places:
            raise  # some of the addresses are the reason
        _explain(client, sequence_slug, error)
    result = read_bulk_response(emails, response.body, status=response.status)
    if not response.possibly_twice:
        return result
    return replace(result, outcomes=tuple(possibly_ours(outcome) for outcome in result.outcomes))


def list_sequences(client: MeisaClient, *, status: str = "", search: str = "") -> list[SequenceInfo]:
    """List sequences: ``GET /sequences/api/list/`` (Meisa's page *Sequences*).

    :param status: ``all`` for every status; empty for the active ones.
    :param search: part of a name.
    :raises MeisaUnreadableResponseError: if the response has no list of sequences.
    :raises MeisaError: see `errors`.
    """
    given = {"status": status, "search": search}
    query = {name: value for name, value in given.items() if check_text(name, value, may_be_empty=True)}
    return [info for page in _pages(client, query) for info in page]


def find_sequences(
    client: MeisaClient, slugs: Collection[str], *, max_age: float = 0.0
) -> list[SequenceInfo]:
    """List sequences of every status until all wanted ones are found; often one request is enough.

    :param slugs: the wanted sequences; if one does not exist, all sequences are listed.
    :param max_age: see `recent_sequences`.
    :raises MeisaUnreadableResponseError: if the response has no list of sequences.
    :raises MeisaError: see `errors`.
    """
    return recent_sequences(client, slugs, max_age=max_age).sequences


def recent_sequences(
    client: MeisaClient, slugs: Collection[str] | None = None, *, max_age: float
) -> RecentSequences:
    """Find sequences in what any user of the key has lately listed, else list them.

    That a sequence does not exist is never taken from there.

    :param slugs: those to find; ``None`` for all.
    :param max_age: how many seconds it may be since they were listed.
    :raises MeisaUnreadableResponseError: if the response has no list of sequences.
    :raises MeisaError: see `errors`.
    """
    known = KnownSequences(client.rate_limiter.store)
    kept = known.find(slugs, max_age)
    if kept is not None:
        age = time.time() - min((row.at for row in kept), default=time.time())
        return RecentSequences([SequenceInfo(*row[1:]) for row in kept], age, is_kept=True)
    began = time.time()
    wanted, found, is_all = set(slugs or ()), list[SequenceInfo](), True
    for page in _pages(client, {"status": "all"}):
        found += page
        wanted.difference_update(info.slug for info in page)
        if slugs is not None and not wanted:
            is_all = False
            break
    known.keep([KnownSequence(began, *astuple(info)) for info in found], is_all=is_all)
    return RecentSequences(found, time.time() - began, is_kept=False)


def _pages(client: MeisaClient, query: Mapping[str, str]) -> Iterator[list[SequenceInfo]]:
    return map(_sequences, client.pages(replace(_LIST, query={**query, "limit": _LARGEST_PAGE})))


def contact_enrollments(client: MeisaClient, email: str) -> ContactEnrollments:
    """List the sequences of a contact: ``GET /sequences/api/contact-enrollments/`` (page *Sequences*).

    ``contact_exists`` is documented; the names of the other fields are inferred.

    :param email: the address of the contact.
    :raises MeisaUnreadableResponseError: if the response is not a JSON object.
    :raises MeisaError: see `errors`.
    """
    check_text("email", email)
    body = client.send(replace(_ENROLLMENTS, query={"email": email})).body
    if not isinstance(body, dict):
        raise MeisaUnreadableResponseError(f"{_ENROLLMENTS}: the response is not a JSON object.", status=200)
    rows: object = next((body[name] for name in ("enrollments", "sequences", "results") if name in body), [])
    items = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return ContactEnrollments(
        contact_exists=body.get("contact_exists", bool(items)) is True,
        enrollments=tuple(Enrollment(_slug(row), _word(row, "status")) for row in items),
    )


def check_active(client: MeisaClient, slug: str, *, max_age: float = 0.0) -> SequenceInfo:
    """Check that a sequence exists and takes contacts.

    :param max_age: see `recent_sequences`; a sequence that was not active then is requested again.
    :raises MeisaInputError: if the text cannot be a slug.
    :raises MeisaSequenceNotFoundError: if no sequence has this slug; the message names similar ones.
    :raises MeisaSequenceInactiveError: if it is not active.
    :raises MeisaError: see `errors`.
    """
    check_slug(slug)
    recent = recent_sequences(client, [slug], max_age=max_age)
    if recent.is_kept and recent.sequences[0].status != ACTIVE:
        recent = recent_sequences(client, [slug], max_age=0)
    known = {info.slug: info for info in recent.sequences}
    if slug not in known:
        raise unknown_sequence(slug, known)
    if known[slug].status != ACTIVE:
        raise inactive_sequence(known[slug])
    return known[slug]


def unknown_sequence(slug: str, known: Mapping[str, object]) -> MeisaSequenceNotFoundError:
    """Make the error for a slug that no sequence has; the message names up to five similar ones."""
    close = [redact(found) for found in difflib.get_close_matches(slug, known, n=5, cutoff=0.4)]
    hint = f" Close ones: {', '.join(close)}." if close else ""
    return MeisaSequenceNotFoundError(
        f"No sequence has the slug {redact(slug)!r}.{hint} Copy the slug from the Meisa dashboard.",
        status=404,
    )


def inactive_sequence(info: SequenceInfo) -> MeisaSequenceInactiveError:
    """Make the error for a sequence that takes no contacts."""
    return MeisaSequenceInactiveError(
        f"The sequence {redact(info.slug)!r} has the status {redact(info.status)!r}; only an active one takes "
        "contacts. Activate it in the Meisa dashboard, or wait for it with MeisaSequenceSensor.",
        status=400,
    )


def _explain(client: MeisaClient, slug: str, error: MeisaResponseError) -> NoReturn:
    """Raise the error of the sequence if that is the reason of the response, else the given error."""
    try:
        check_active(client, slug)
    except (MeisaSequenceNotFoundError, MeisaSequenceInactiveError) as found:
        found.possibly_done = error.possibly_done
        raise found from error
    except MeisaError as unknown:
        log.info("Could not check whether the sequence is the reason: %s", unknown)
    raise error


def _check_write(client: MeisaClient, slug: str, *, override_unsubscribe: bool, resend: bool) -> None:
    check_slug(slug)
    check_switch("resend", resend)
    check_override(client, override_unsubscribe=override_unsubscribe)


def check_override(client: MeisaClient, *, override_unsubscribe: bool) -> None:
    """Check that the connection allows ``override_unsubscribe``, if it is set.

    :raises MeisaInputError: if it does not.
    """
    if (
        check_switch("override_unsubscribe", override_unsubscribe)
        and not client.settings.allow_override_unsubscribe
    ):
        raise MeisaInputError(
            "override_unsubscribe would mail people who unsubscribed. To allow it, set the connection's extra "
            "allow_override_unsubscribe to true. Nothing was sent."
        )


def _check_batch(emails: Sequence[str]) -> None:
    if isinstance(emails, str):
        raise MeisaInputError("emails is one text: pass a list of addresses.")
    if not 1 <= len(emails) <= MAX_BATCH:
        raise MeisaInputError(f"One call takes 1 to {MAX_BATCH} addresses, not {len(emails):,}.")
    if not all(isinstance(email, str) for email in emails):
        raise MeisaInputError("emails must hold texts only.")


def _sequences(page: object) -> list[SequenceInfo]:
    rows = page.get("results") if isinstance(page, dict) else page
    if not isinstance(rows, list):
        raise MeisaUnreadableResponseError(f"{_LIST}: the response has no list 'results'.", status=200)
    return [_sequence(row) for row in rows if isinstance(row, dict)]


def _sequence(row: Mapping[str, object]) -> SequenceInfo:
    total = row.get("total_enrolled")
    return SequenceInfo(
        _word(row, "slug"),
        _word(row, "name"),
        _word(row, "status"),
        total if isinstance(total, int) else None,
    )


def _slug(row: Mapping[str, object]) -> str:
    inner = row.get("sequence")
    if isinstance(inner, dict):
        return _word(inner, "slug")
    return _word(row, "sequence_slug") or _word(row, "slug") or _word(row, "sequence")


def _word(row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""
