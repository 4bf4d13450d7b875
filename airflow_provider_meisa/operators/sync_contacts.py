"""Tasks that keep contacts in step with a table: they send what is new or has changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_meisa.api.outcomes import OutcomeStatus
from airflow_provider_meisa.assets.sequences import lineage_name, meisa_contacts
from airflow_provider_meisa.links.meisa import push_no_link
from airflow_provider_meisa.operators.bulk import BulkOperator
from airflow_provider_meisa.operators.lineage import LineageMixin
from airflow_provider_meisa.operators.redacted import RedactedField, follow_references, unwrap

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Asset, Context

    from airflow_provider_meisa.bulk.options import FirstRun
    from airflow_provider_meisa.hooks.meisa import MeisaHook
    from airflow_provider_meisa.jobs.sync_contacts import SyncContactsJob


class ContactSyncOperator(LineageMixin, BulkOperator):
    """Create and update contacts, one a request: those that are new or have changed since the last run.

    What Meisa has accepted is in the ledger. A subclass says where the rows come from.

    :param ledger: the name of the ledger (templated), see `BulkOperator`.
    :param fields: the column of each field of a contact: ``email``, ``external_id``, ``first_name``, ``last_name`` and
        ``display_name``. By default the columns that are called like these fields. Names match without regard to case.
    :param custom_fields: the columns that become custom fields of the same names, or ``"*"`` for all that are mapped
        to nothing else.
    :param tags: the tags of all contacts, or the name of the column that holds those of each. Meisa only adds tags.
    :param json_columns: columns whose texts are JSON.
    :param types: what to make of the values of a column: ``text``, ``integer``, ``number`` or ``boolean``.
    :param nulls: ``send``: NULL empties a field in Meisa; ``omit``: it leaves the field as it is.
    :param source: where the contacts come from: ``api``, ``import``, ``manual``, ``signup`` or ``initial_sync``. Meisa
        keeps the first one.
    :param sync_name: what the ledger is for, if several syncs fill the same Meisa.
    :param first_run: if the ledger is empty, ``fail``, ``send`` all rows, or ``record`` them as accepted without a
        request.
    :param max_changes: most new and changed rows: ``int`` a number, ``float`` a share of the rows or of the ledger, of
        the larger, but never fewer than 1,000; ``None`` no limit. If there are more, nothing is sent.
    :param resync: after a change of the mapping, send ``all`` rows, or ``record`` those that the ledger has as
        accepted. A list of columns sends all rows as well, but fails if other columns are mapped in another way. By
        default such a change fails the task.
    :param resync_after: after how long a contact is sent again although it has not changed.
    :param stop_after: after how long the task ends with what it has sent, counted from its first attempt, such as
        ``timedelta(hours=5)``. It succeeds; the rest goes first in the next run, and ``backlog`` in the summary counts
        it.
    :param retry_refused: send contacts again that Meisa has refused within the last seven days (templated).
    :param on_older_run: whether a run for an older data interval than an earlier one may ``send``, or must ``fail``.
    :param max_invalid: most invalid rows, see `BulkOperator`.
    :param kwargs: the other parameters of `BulkOperator`, and those of every operator.
    """

    template_fields: Sequence[str] = ("retry_refused", *BulkOperator.template_fields)
    operator_extra_links = ()  # no address of a contact's page is documented

    default_first_run: FirstRun = "fail"
    source_name = "The source"
    """What messages call the source."""
    may_be_record = True
    """Whether a person's data may stand where the names of columns are looked for."""

    def __init__(
        self,
        *,
        ledger: str,
        fields: Mapping[str, str] | None = None,
        custom_fields: Sequence[str] | Literal["*"] = (),
        tags: Sequence[str] | str | None = None,
        json_columns: Sequence[str] = (),
        types: Mapping[str, str] | None = None,
        nulls: Literal["send", "omit"] = "send",
        source: str | None = None,
        sync_name: str = "contacts",
        first_run: FirstRun | None = None,
        max_changes: float | None = 0.2,
        resync: Literal["all", "record"] | Sequence[str] | None = None,
        resync_after: timedelta | None = None,
        stop_after: timedelta | None = None,
        retry_refused: bool = False,
        on_older_run: Literal["fail", "send"] = "fail",
        max_invalid: float | None = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(ledger=ledger, first_run=first_run, max_invalid=max_invalid, **kwargs)
        self.fields = fields
        self.custom_fields = custom_fields
        self.tags = tags
        self.json_columns = json_columns
        self.types = types
        self.nulls = nulls
        self.source = source
        self.sync_name = sync_name
        self.max_changes = max_changes
        self.resync = resync
        self.resync_after = resync_after
        self.stop_after = stop_after
        self.retry_refused = retry_refused
        self.on_older_run = on_older_run
        self._date = ""

    def begin(self, context: Context) -> MeisaHook:
        """Let the page *Meisa* list the task, and check every parameter; see `MeisaOperator.begin`."""
        push_no_link(context)
        return super().begin(context)

    def make_job(self) -> SyncContactsJob:
        """Return the job of sending what is new or has changed.

        :raises MeisaInputError: if the mapping cannot be used.
        """
        from airflow_provider_meisa.jobs.sync_contacts import SyncContactsJob
        from airflow_provider_meisa.jobs.sync_contacts.mapping import ContactMapping

        mapping = ContactMapping(
            fields=self.fields,
            custom_fields=self.custom_fields,
            tags=self.tags,
            json_columns=self.json_columns,
            types=self.types or {},  # type: ignore[arg-type]  # the words are checked below
            nulls=self.nulls,
        )
        mapping.check()
        return SyncContactsJob(
            mapping=mapping,
            sync_name=self.sync_name,
            source=self.source,
            retry_refused=self.retry_refused,
            resync=self.resync,
            max_changes=None if self.preview else self.max_changes,
            resync_after=self.resync_after,
            logical_date=self._date,
            on_older_run=self.on_older_run,
            what=self.source_name,
            may_be_record=self.may_be_record,
        )

    def asset(self) -> Asset:
        """Return the asset of the contacts."""
        return meisa_contacts(self.sync_name)

    def lineage_output(self) -> tuple[str, Sequence[OutcomeStatus]]:
        """Return the contacts, whose rows are those that were sent."""
        return lineage_name(self.sync_name, "contacts"), (OutcomeStatus.CREATED, OutcomeStatus.UPDATED)

    def _run(self, context: Context, cursor: dict[str, Any] | None) -> dict[str, object]:
        # The logical date of a scheduled run may be older than that of a manual run before it.
        end = context.get("data_interval_end") or context.get("logical_date")
        self._date = f"{end.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if isinstance(end, datetime) else ""
        return super()._run(context, cursor)


class MeisaSyncContactsOperator(ContactSyncOperator):
    """Create and update the contacts of a list or a table that another task gives, if they have changed.

    :param contacts: the rows (templated, never shown in the UI): a list of dicts, a DataFrame, or another task's output
        of that form.
    :param ledger: and the other parameters: see `ContactSyncOperator`.
    """

    template_fields: Sequence[str] = ("contacts", *ContactSyncOperator.template_fields)
    source_name = "contacts"

    contacts = RedactedField()

    def __init__(self, *, contacts: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.contacts = contacts
        follow_references(self, self.contacts)

    def read(self, context: Context) -> Iterable[object]:
        """Return the records.

        :raises MeisaInputError: if it is something else.
        """
        from airflow_provider_meisa.bulk.records import read_records

        return read_records(unwrap(self.contacts), "contacts")
