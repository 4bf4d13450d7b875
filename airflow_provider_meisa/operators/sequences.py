"""Operators that enroll contacts into sequences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowSkipException

from airflow_provider_meisa.api.errors import MeisaError, MeisaInputError
from airflow_provider_meisa.api.nouns import ADDRESS
from airflow_provider_meisa.api.outcomes import BY_US, ENROLL_STATUSES, Outcome, OutcomeStatus, possibly_ours
from airflow_provider_meisa.api.redaction import mask_address
from airflow_provider_meisa.assets.sequences import meisa_sequence
from airflow_provider_meisa.bulk.input_shapes import AddressReader, addresses_from
from airflow_provider_meisa.bulk.options import OnAmbiguous
from airflow_provider_meisa.bulk.records import read_records
from airflow_provider_meisa.bulk.reporting import RESPONSE_LOST
from airflow_provider_meisa.bulk.run_ledger import RunLedger
from airflow_provider_meisa.hooks.meisa import meisa_error
from airflow_provider_meisa.hooks.metrics import Meter
from airflow_provider_meisa.jobs.addresses import check
from airflow_provider_meisa.operators.audience import AudienceOperator, enroll_job
from airflow_provider_meisa.operators.base import RecordOperator, TaskResult
from airflow_provider_meisa.operators.checkpoint_store import store_of
from airflow_provider_meisa.operators.intent import Intent
from airflow_provider_meisa.operators.ledger import LedgerMixin
from airflow_provider_meisa.operators.parameters import OnNo
from airflow_provider_meisa.operators.redacted import RedactedField, follow_references, unwrap

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_meisa.api.client import MeisaClient


class MeisaEnrollOperator(LedgerMixin, RecordOperator):
    """Enroll one contact into a sequence.

    Pushes ``{"sequence_slug", "meisa_conn_id", "address" (masked), "status", "reason"}`` to XCom, with a ledger also
    ``"ledger"``, and also when it then fails or skips.

    :param contact_email: the address of the contact (templated, never shown in the UI); Meisa creates an unknown
        contact. It is not called ``email``, because every operator has an ``email``, which Airflow notifies when the
        task fails.
    :param sequence_slug: an active sequence (templated).
    :param metadata: data attached to the enrollment, plain JSON: a dict, or a template that gives the text of an
        object (templated, never shown in the UI).
    :param trigger_source: the origin of the enrollment (templated).
    :param override_unsubscribe: enroll even a suppressed contact (templated); needs ``allow_override_unsubscribe``
        on the connection.
    :param on_already_enrolled: ``success``, ``skip`` or ``fail`` if the contact is in the sequence already.
    :param on_suppressed: ``success``, ``skip`` or ``fail`` if the contact has unsubscribed, bounced or complained.
    :param on_ambiguous: if the response is lost, ``resend`` once, after a wait, or ``fail`` without a retry of
        Airflow's. A contact that is then already enrolled counts as enrolled by this task. A retry waits as well.
    :param again_after: with ``ledger``, and then required: when the contact may be enrolled again, as a ``timedelta``
        or ``"never"``. Until then it is ``enrolled_before``, to which ``on_already_enrolled`` applies.
    :param ledger: and ``first_run``, ``accept_lost_ledger``: see `LedgerMixin`.
    :param meisa_conn_id: the Airflow Connection.
    """

    template_fields: Sequence[str] = (
        "contact_email",
        "sequence_slug",
        "metadata",
        "trigger_source",
        "override_unsubscribe",
        *LedgerMixin.template_fields,
        "meisa_conn_id",
    )
    contact_email = RedactedField(ADDRESS)
    metadata = RedactedField()

    def __init__(
        self,
        *,
        contact_email: str,
        sequence_slug: str,
        metadata: Mapping[str, Any] | None = None,
        trigger_source: str = "airflow",
        override_unsubscribe: bool = False,
        on_already_enrolled: OnNo = "success",
        on_suppressed: OnNo = "success",
        on_ambiguous: OnAmbiguous = "resend",
        again_after: timedelta | Literal["never"] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.again_after = again_after
        self.contact_email = contact_email
        self.sequence_slug = sequence_slug
        self.metadata = metadata
        self.trigger_source = trigger_source
        self.override_unsubscribe = override_unsubscribe
        self.on_already_enrolled = on_already_enrolled
        self.on_suppressed = on_suppressed
        self.on_ambiguous = on_ambiguous
        self._intent: Intent | None = None
        follow_references(self, self.contact_email, self.metadata)

    def send(self, context: Context, meter: Meter) -> TaskResult:
        """Enroll the contact."""
        outcome, ledger = check(self._address()), None
        if not isinstance(outcome, Outcome):
            client = self.hook.get_conn()
            intent = Intent(store_of(context), (self.sequence_slug, outcome), client.settings.resend_after)
            with self._ledger_of(context["ti"], client, intent) as ledger:
                outcome = self._enroll_once(client, outcome, intent, ledger)
            meter.addresses({outcome.status: 1})
            self._intent = intent
        value = {
            "sequence_slug": self.sequence_slug,
            "meisa_conn_id": self.meisa_conn_id,
            "address": mask_address(outcome.address),
            "status": outcome.status.value,
            "reason": outcome.reason,
            **({"ledger": ledger.summary} if ledger else {}),
        }
        return TaskResult(
            value, self._failure(outcome), meisa_sequence(self.sequence_slug), self._summary(outcome)
        )

    def push(self, context: Context, value: Mapping[str, Any]) -> None:
        """Push the status to XCom; only then remove the intent."""
        super().push(context, value)
        if self._intent:
            self._intent.end()

    def _address(self) -> str | None:
        """Return the only address in ``contact_email``, which may also be in a row or a record."""
        found = list(AddressReader(name="contact_email").read([unwrap(self.contact_email)]))
        if len(found) != 1:
            raise MeisaInputError(
                f"contact_email holds {len(found):,} addresses; pass one, or use MeisaBulkEnrollOperator."
            )
        return found[0]

    @contextmanager
    def _ledger_of(self, ti: Any, client: MeisaClient, intent: Intent) -> Iterator[RunLedger | None]:
        """Block other runs from the ledger of the task in the meantime, if it has one."""
        job = enroll_job(self)
        options = self.ledger_options(ti)
        if options is None:
            yield None
            return
        ledger = RunLedger(options, job, client, since=intent.since if intent.is_in_doubt else None)
        ledger.begin()
        try:
            yield ledger
        finally:
            ledger.end()

    def _enroll_once(
        self, client: MeisaClient, address: str, intent: Intent, ledger: RunLedger | None
    ) -> Outcome:
        """Enroll the contact, and store the intent for a later attempt if the response is lost."""
        if ledger is not None and (known := ledger.decide(address)) is not None:
            return known
        self._wait_for(client, intent)
        intent.begin()
        try:
            forgotten = {} if ledger is None else ledger.intend([address])
            outcome = forgotten.get(0) or self._enroll(address, resend=not intent.is_in_doubt)
        except (AirflowException, MeisaError) as raised:
            error = meisa_error(raised)
            intent.lost() if error and error.possibly_done else intent.give_up()
            if ledger is not None and error is not None:
                ledger.refused([address], error)
            raise
        if ledger is not None:
            ledger.keep([address], [outcome])
        return possibly_ours(outcome) if intent.is_in_doubt else outcome

    def _wait_for(self, client: MeisaClient, intent: Intent) -> None:
        """Wait until Meisa certainly no longer processes the request of an earlier attempt."""
        if not intent.is_in_doubt:
            return
        if self.on_ambiguous == "fail":
            raise MeisaInputError(
                "An earlier attempt ended before the response came: Meisa may have enrolled the contact. With "
                "on_ambiguous='fail' the contact is not sent again. Set on_ambiguous='resend' and clear the task."
            )
        self.log.info("%s for %.0f s", RESPONSE_LOST, intent.seconds_left)
        client.wait(intent.seconds_left)
        client.check_not_stopped()

    def _enroll(self, address: str, *, resend: bool) -> Outcome:
        return self.hook.enroll(
            address,
            self.sequence_slug,
            metadata=unwrap(self.metadata),
            trigger_source=self.trigger_source,
            override_unsubscribe=self.override_unsubscribe,
            resend=resend and self.on_ambiguous == "resend",
        )

    def _summary(self, outcome: Outcome) -> dict[str, object]:
        """Make the summary of this contact."""
        return {
            "sequence_slug": self.sequence_slug,
            "meisa_conn_id": self.meisa_conn_id,
            "total": 1,
            "counts": {status.value: int(status is outcome.status) for status in ENROLL_STATUSES},
            "complete": True,
        }

    def _failure(self, outcome: Outcome) -> AirflowException | None:
        choice = {
            OutcomeStatus.ENROLLED: "success",
            OutcomeStatus.ALREADY_ENROLLED: "success"
            if outcome.reason == BY_US
            else self.on_already_enrolled,
            OutcomeStatus.ENROLLED_BEFORE: self.on_already_enrolled,
            OutcomeStatus.SUPPRESSED: self.on_suppressed,
        }.get(outcome.status, "fail")
        message = f"{mask_address(outcome.address)} in {self.sequence_slug}: {outcome.status}" + (
            f" ({outcome.reason})" if outcome.reason else ""
        )
        if choice == "success":
            self.log.info("%s", message)
            return None
        return (
            AirflowFailException(f"{message}.") if choice == "fail" else AirflowSkipException(f"{message}.")
        )


class MeisaBulkEnrollOperator(AudienceOperator):
    """Enroll any number of contacts into a sequence, 500 per request, and report the status of each.

    :param emails: the addresses (templated, never shown in the UI): a list, another task's output, or a template
        that renders to a list. Its items may be addresses, lists of them, rows or records; it may also be a DataFrame
        or another table. An iterator is copied to a list.
    :param email_column: the column of the addresses in rows, records and tables: its name, or its number from 0. By
        default the only column, else the one named ``email``, in any case.
    :param kwargs: the parameters of `AudienceOperator`, such as ``sequence_slug``, and those of every operator.
    """

    template_fields: Sequence[str] = ("emails", *AudienceOperator.template_fields)

    emails = RedactedField(ADDRESS)

    def __init__(
        self, *, emails: Iterable[object], email_column: str | int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.emails = emails
        self.email_column = email_column
        follow_references(self, self.emails)

    def read(self, context: Context) -> list[Any]:
        """Return the addresses as a list of texts, which is kept for later reads.

        :raises MeisaInputError: if an item of ``emails`` is neither an address nor has one that can be found.
        """
        if self.reads_rows:
            records = list(read_records(unwrap(self.emails), "emails"))
            self.emails = records
            return records
        addresses = list(AddressReader(self.email_column).read(addresses_from(unwrap(self.emails))))
        self.emails = addresses
        return addresses
