"""From a database's table into a sequence, or to contacts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_meisa.operators.audience import AudienceOperator
from airflow_provider_meisa.operators.redacted import RedactedField, follow_references, unwrap
from airflow_provider_meisa.operators.sync_contacts import ContactSyncOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.common.compat.sdk import Context


class SqlToMeisaSequenceOperator(AudienceOperator):
    """Enroll any number of contacts of a query, and report the status of each.

    Supports every connection whose hook is a ``DbApiHook``; needs ``airflow-provider-meisa[sql]``. Rows are streamed:
    with a server-side cursor on PostgreSQL, an unbuffered one on MySQL. Changes by the query are not committed.

    The rows are read once, before the first request. So the database is free again soon, and a retry sends the same
    addresses even if the table has changed: see ``staging_path``.

    :param sql: one query (templated; a name that ends in ``.sql`` is read as a file). Put addresses into
        ``parameters``: the query is shown in the UI.
    :param conn_id: the database's Airflow Connection (templated).
    :param email_column: the column of the addresses: its name, in any case, or its number from 0. By default
        the only column, else the one named ``email``.
    :param parameters: values for the query's placeholders, in the driver's style (templated, never shown in the UI).
    :param sequence_slug: see `AudienceOperator`, as for the other parameters.
    """

    template_fields: Sequence[str] = ("sql", "conn_id", "parameters", *AudienceOperator.template_fields)
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}

    parameters = RedactedField()

    def __init__(
        self,
        *,
        sql: str,
        conn_id: str,
        email_column: str | int | None = None,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.conn_id = conn_id
        self.email_column = email_column
        self.parameters = parameters
        follow_references(self, self.parameters)

    def read(self, context: Context) -> Iterable[object]:
        """Return the values in the column of the addresses.

        :raises MeisaInputError: if the connection is not a database, the database refuses the query, or the column
            cannot be used.
        :raises MeisaUnreachableError: if the database cannot be reached, or the query fails otherwise.
        """
        from airflow_provider_meisa.transfers.sources.sql import (
            database_hook,
            one_statement,
            read_column,
            read_rows,
        )

        hook, parameters = database_hook(self.conn_id), unwrap(self.parameters)
        if self.reads_rows:
            return read_rows(hook, one_statement(self.sql), parameters)
        return read_column(hook, one_statement(self.sql), parameters, self.email_column)

    def lineage_inputs(self) -> list[Dataset]:
        """Return the tables of the query."""
        from airflow_provider_meisa.transfers.sources.lineage import tables_of
        from airflow_provider_meisa.transfers.sources.sql import database_hook

        return tables_of(database_hook(self.conn_id), self.conn_id, self.sql)


class SqlToMeisaContactsOperator(ContactSyncOperator):
    """Keep contacts in step with what a query finds: send the rows that are new or have changed.

    Works on every connection whose hook is a ``DbApiHook``; needs ``airflow-provider-meisa[sql]``. Rows are streamed
    and compared with the ledger as they come; only what is sent is written to a plan. Select the whole table each
    time, one row for each contact: what has not changed takes no request.

    :param sql: one query (templated; a name that ends in ``.sql`` is read as a file). Put personal data into
        ``parameters``: the query is shown in the UI.
    :param conn_id: the database's Airflow Connection (templated).
    :param parameters: values for the query's placeholders, in the driver's style (templated, never shown in the UI).
    :param ledger: and the other parameters: see `ContactSyncOperator`.
    """

    template_fields: Sequence[str] = ("sql", "conn_id", "parameters", *ContactSyncOperator.template_fields)
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}
    source_name = "The query's result"
    may_be_record = False

    parameters = RedactedField()

    def __init__(
        self,
        *,
        sql: str,
        conn_id: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.conn_id = conn_id
        self.parameters = parameters
        follow_references(self, self.parameters)

    def read(self, context: Context) -> Iterable[object]:
        """Return the rows, as the database gives them.

        :raises MeisaInputError: if the connection is not a database, or the database refuses the query.
        :raises MeisaUnreachableError: if the database cannot be reached, or the query fails otherwise.
        """
        from airflow_provider_meisa.transfers.sources.sql import database_hook, one_statement, read_rows

        return read_rows(database_hook(self.conn_id), one_statement(self.sql), unwrap(self.parameters))

    def lineage_inputs(self) -> list[Dataset]:
        """Return the tables of the query."""
        from airflow_provider_meisa.transfers.sources.lineage import tables_of
        from airflow_provider_meisa.transfers.sources.sql import database_hook

        return tables_of(database_hook(self.conn_id), self.conn_id, self.sql)
