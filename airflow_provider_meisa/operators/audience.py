"""The base of all operators that enroll many contacts into a sequence."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import OutcomeStatus
from airflow_provider_meisa.assets.sequences import lineage_name, meisa_sequence
from airflow_provider_meisa.operators.bulk import BulkOperator
from airflow_provider_meisa.operators.lineage import LineageMixin

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Asset, Context

    from airflow_provider_meisa.jobs.enroll import EnrollJob


log = logging.getLogger("airflow.task.meisa")

_ON_A_SCHEDULE = (
    "scheduled",
    "backfill",
    "asset_triggered",
    "dataset_triggered",
)  # the last one before Airflow 3


class AudienceOperator(LineageMixin, BulkOperator):
    """Enroll an audience into a sequence, 500 addresses per request; a subclass reads the addresses.

    Addresses are trimmed and checked, and duplicates removed, first.

    :param sequence_slug: an active sequence (templated).
    :param override_unsubscribe: enroll even suppressed contacts (templated); needs ``allow_override_unsubscribe``
        on the connection.
    :param skip_suppressed: ask Meisa first for the suppressed addresses, and leave them out (templated); needs
        ``contacts:read``.
    :param again_after: with ``ledger``, and then required: when a contact may be enrolled again, as a ``timedelta`` or
        ``"never"``. Until then the contact is ``enrolled_before``.
    :param record_id: with ``ledger``: the column that identifies a contact, such as ``user_id``. By default the address
        does, and a contact whose address changes is a new one.
    :param kwargs: the parameters of `BulkOperator`, and those of every operator.
    """

    template_fields: Sequence[str] = (
        "sequence_slug",
        "override_unsubscribe",
        "skip_suppressed",
        *BulkOperator.template_fields,
    )

    email_column: str | int | None = None
    """The column of the addresses, if a subclass has such a parameter."""

    def __init__(
        self,
        *,
        sequence_slug: str,
        override_unsubscribe: bool = False,
        skip_suppressed: bool = False,
        again_after: timedelta | Literal["never"] | None = None,
        record_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.again_after = again_after
        self.record_id = record_id
        self.sequence_slug = sequence_slug
        self.override_unsubscribe = override_unsubscribe
        self.skip_suppressed = skip_suppressed

    def make_job(self) -> EnrollJob:
        """Return the job that enrolls into the sequence."""
        if self.record_id is not None and self.ledger is None:
            raise MeisaInputError(
                "record_id needs a ledger. Set ledger and again_after, or remove record_id."
            )
        if self.reads_rows and isinstance(self.email_column, int):
            parameter = "keep" if self.record_id is None else "record_id"
            raise MeisaInputError(
                f"{parameter} needs columns with names. Set email_column to the name of a column."
            )
        job = enroll_job(self, skip_suppressed=self.skip_suppressed)
        return replace(
            job, id_column=self.record_id, email_column=self.email_column, reads_rows=self.reads_rows
        )

    @property
    def reads_rows(self) -> bool:
        """Return whether `read` returns rows with all their columns, and not only the addresses."""
        return self.record_id is not None or bool(self.keep)

    def execute(self, context: Context) -> dict[str, object]:
        """Do the job and return the summary; see `BulkOperator.execute`."""
        self._warn_without_ledger(context)
        return super().execute(context)

    def _warn_without_ledger(self, context: Context) -> None:
        run = context.get("dag_run") if hasattr(context, "get") else None
        if self.ledger is None and not self.preview and getattr(run, "run_type", "") in _ON_A_SCHEDULE:
            log.warning(
                "This task runs on a schedule without a ledger: Meisa would enroll a contact again who has finished "
                "the sequence. Set ledger and again_after, or select each contact once."
            )

    def asset(self) -> Asset:
        """Return the asset of the sequence."""
        return meisa_sequence(self.sequence_slug)

    def lineage_output(self) -> tuple[str, Sequence[OutcomeStatus]]:
        """Return the sequence, whose rows are the enrolled."""
        return lineage_name(self.sequence_slug), (OutcomeStatus.ENROLLED,)


def enroll_job(task: Any, *, skip_suppressed: bool = False) -> EnrollJob:
    """Make the job of a task that enrolls.

    :raises MeisaInputError: if ``ledger`` and ``again_after`` are not both given, or both left out.
    """
    from airflow_provider_meisa.jobs.enroll import EnrollJob

    if (task.ledger is None) is not (task.again_after is None):
        raise MeisaInputError(
            "ledger and again_after belong together. Set again_after to 'never' or to a timedelta, after which a "
            "contact may be enrolled again; or remove both."
        )
    return EnrollJob(
        task.sequence_slug,
        override_unsubscribe=task.override_unsubscribe,
        skip_suppressed=skip_suppressed,
        again_after=task.again_after or "never",
    )
