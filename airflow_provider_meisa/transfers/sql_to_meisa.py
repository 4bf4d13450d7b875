"""From a database's table into a sequence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_meisa.operators.audience import AudienceOperator
from airflow_provider_meisa.operators.private import PrivateField, revealed

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_meisa.transfers.staged_copy import StagedCopy


class SqlToMeisaOperator(AudienceOperator):
    """Enroll the contacts that a query finds, however many, and account for each of them.

    Works on every connection whose hook is a ``DbApiHook``; needs ``airflow-provider-meisa[sql]``. Rows are streamed:
    with a server-side cursor on PostgreSQL, an unbuffered one on MySQL. The query only reads: nothing that it
    changes is committed.

    Before the first request all rows are copied to a file, so that the database is free again soon, and a retry
    reads the same addresses in the same order although the table has changed. **The copy holds addresses in
    clear**, in a file of mode 0600 in a folder of mode 0700 where it is local. It is removed when everybody has a
    verdict, and a copy in the default folder at the latest when a week has passed. A query that was changed, or
    renders differently, is run again.

    :param sql: one query (templated; a name that ends in ``.sql`` is read as a file). Put addresses into
        ``parameters``: the query is shown in the UI.
    :param conn_id: the database's Airflow Connection (templated).
    :param email_column: the column that holds the address: its name or its number from 0.
    :param parameters: values for the query's placeholders, in the driver's style (templated, never shown in the UI).
    :param staging_path: the folder for the copy, a local path or an ``ObjectStoragePath`` URI (templated); by default
        a private one on the worker's own host. Workers on several hosts need one that they share.
    :param sequence_slug: and the other parameters: see `AudienceOperator`.
    """

    template_fields: Sequence[str] = (
        "sql",
        "conn_id",
        "parameters",
        "staging_path",
        *AudienceOperator.template_fields,
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}

    parameters = PrivateField()

    def __init__(
        self,
        *,
        sql: str,
        conn_id: str,
        email_column: str | int = 0,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        staging_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.conn_id = conn_id
        self.email_column = email_column
        self.parameters = parameters
        self.staging_path = staging_path

    def read(self, context: Context) -> Iterator[object]:
        """Yield the addresses: of the query at first, of its copy whenever the run reads again.

        Nothing happens before the first is asked for.

        :raises MeisaInputError: if the connection is no database, or the query or the column cannot be used.
        :raises MeisaUnreachableError: if the database refuses, or the copy cannot be written or read.
        """
        from airflow_provider_meisa.transfers.query import database_hook, one_statement, read_column

        copy, parameters = self._copy(context), revealed(self.parameters)
        sql = one_statement(self.sql)
        query = [sql, self.conn_id, self.email_column, parameters]
        rows = copy.rows_of(query)
        if rows is None:
            values = read_column(database_hook(self.conn_id), sql, parameters, self.email_column)
            rows = copy.write(query, values)
            self.log.info("The query gave %s rows", f"{rows:,}")
        else:
            self.log.info("Reading %s rows of the copy that this run has staged, not the query", f"{rows:,}")
        yield from copy.read()

    def finished(self, context: Context) -> None:
        """Remove the staged copy: every address has its verdict, and a further run shall ask the database.

        Call it once the enrollment is complete, after the checkpoint says so: without its copy a run that must
        resume would read a table that may have changed.
        """
        self._copy(context).drop()

    def _copy(self, context: Context) -> StagedCopy:
        from airflow_provider_meisa.transfers.staged_copy import StagedCopy

        ti = context["ti"]
        return StagedCopy(self.staging_path, (ti.dag_id, ti.run_id, ti.task_id, ti.map_index))
