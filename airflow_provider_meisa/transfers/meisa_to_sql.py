"""From Meisa back into a database: who may not be mailed, and the outcome of each contact."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, BaseOperator

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.assets.sequences import NAMESPACE
from airflow_provider_meisa.bulk.column_names import shown_name
from airflow_provider_meisa.hooks.meisa import raise_airflow_errors
from airflow_provider_meisa.operators.base import RecordOperator, TaskResult
from airflow_provider_meisa.operators.location import PathField
from airflow_provider_meisa.operators.parameters import check_names, check_parameters

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.common.compat.sdk import AirflowException, Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_meisa.api.endpoints.contacts import Suppressions
    from airflow_provider_meisa.bulk.rows import Rows
    from airflow_provider_meisa.hooks.metrics import Meter
    from airflow_provider_meisa.operators.parameters import OnNo
    from airflow_provider_meisa.transfers.sql_table import SqlTable

log = logging.getLogger("airflow.task.meisa")

_ADDRESS = "VARCHAR(320)"
_TEXT = "VARCHAR(1000)"
_UNSUBSCRIBED = {"email": _ADDRESS, "as_of": "VARCHAR(64)"}
_LOAD = {"load_id": "VARCHAR(500)", "line_number": "BIGINT"}
_OUTCOMES = {
    "address": _ADDRESS,
    "status": "VARCHAR(32)",
    "reason": _TEXT,
    "batch": "BIGINT",
    "row": "BIGINT",
}
_EVERY_FILE = ("address", "status", "reason", "batch")


class MeisaUnsubscribedToSqlOperator(RecordOperator):
    """Write into a table who may not be mailed: the addresses that have unsubscribed, bounced or complained.

    All changes are one transaction: no reader sees the table empty or half-filled, and a failed task changes nothing.
    A task that runs again writes no address twice. The table has the columns ``email``, as Meisa spells it, and
    ``as_of``, when Meisa made the list; further columns are yours.

    Works on every connection whose hook is a ``DbApiHook`` and whose database has transactions; needs
    ``airflow-provider-meisa[sql]``. The API key needs ``contacts:read``.

    Pushes ``{"meisa_conn_id", "conn_id", "table", "mode", "listed", "inserted", "as_of"}`` to XCom.

    :param table: the name of the table, such as ``marketing.unsubscribed`` (templated).
    :param conn_id: the database's Airflow Connection (templated).
    :param mode: ``replace``: afterwards the table has what Meisa lists, and nothing else. ``merge``: addresses that the
        table lacks are added, and no row is changed or removed.
    :param create_table: create the table if it does not exist, with ``email`` as its key (templated).
    :param on_empty: with ``replace``: ``success``, ``skip`` or ``fail`` if Meisa lists no address, but the table has
        some. ``success`` empties the table.
    :param meisa_conn_id: the Airflow Connection.
    """

    template_fields: Sequence[str] = ("table", "conn_id", "create_table", "meisa_conn_id")
    operator_extra_links = ()  # the URL of the list in the dashboard is not documented

    def __init__(
        self,
        *,
        table: str,
        conn_id: str,
        mode: Literal["replace", "merge"] = "replace",
        create_table: bool = False,
        on_empty: OnNo = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.table = table
        self.conn_id = conn_id
        self.mode = mode
        self.create_table = create_table
        self.on_empty = on_empty
        self._inserted: int | None = None

    def send(self, context: Context, meter: Meter) -> TaskResult:
        """Ask Meisa for the list, and write it."""
        from airflow_provider_meisa.api.endpoints.account import confirm_environment
        from airflow_provider_meisa.transfers.sources.sql import database_hook
        from airflow_provider_meisa.transfers.sql_table import open_table

        database = database_hook(self.conn_id)
        # The list of another environment would let people be mailed who must not be.
        confirm_environment(self.hook.get_conn())
        found = self.hook.unsubscribed_emails()
        with open_table(
            database, self.table, _UNSUBSCRIBED, key=("email",), create=self.create_table
        ) as table:
            table.require("email")
            failure = self._write(table, found)
        value = {
            "meisa_conn_id": self.meisa_conn_id,
            "conn_id": self.conn_id,
            "table": self.table,
            "mode": self.mode,
            "listed": len(found.emails),
            "inserted": self._inserted or 0,
            "as_of": found.as_of or None,
        }
        return TaskResult(value, failure)

    def _write(self, table: SqlTable, found: Suppressions) -> AirflowException | None:
        emails = {email.lower(): email for email in found.emails}
        if self.mode == "merge":
            for known in table.texts("email"):
                emails.pop(known.lower(), None)
        elif not emails and not table.is_empty() and (failure := self._empty()) is not None:
            return failure
        else:
            table.delete()
        rows = ((email, found.as_of or None) for email in emails.values())
        self._inserted = table.insert(tuple(_UNSUBSCRIBED), rows)
        log.info(
            "Unsubscribed: %s listed, %s written into the table %s (%s)",
            f"{len(found.emails):,}",
            f"{self._inserted:,}",
            self.table,
            self.mode,
        )
        return None

    def _empty(self) -> AirflowException | None:
        if self.on_empty == "success":
            return None
        if self.on_empty == "skip":
            return AirflowSkipException(
                f"Meisa lists no address, and the table {self.table} has some: on_empty skips this task. Nothing was "
                "changed."
            )
        return AirflowFailException(
            f"Meisa lists no address, but the table {self.table} has some. Nothing was changed. Check that the API key "
            "is of the right environment and product. If the list is empty, set on_empty='success'."
        )

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return Meisa's list as input, and the table with its new rows as output. Also called for a failed task."""
        from airflow.providers.common.compat.openlineage.facet import Dataset

        listed = Dataset(namespace=NAMESPACE, name="contacts/api/unsubscribed-emails")
        return _lineage([listed], self.conn_id, self.table, self._inserted)


class MeisaOutcomesToSqlOperator(BaseOperator):
    """Load an outcomes file into a table: a row for each of its lines, once, however often the task runs.

    The rows of an earlier load of the same file are replaced. All changes are one transaction: no reader sees the file
    half-loaded, and a failed task changes nothing. The file is streamed. No request is sent to Meisa.

    Works on every connection whose hook is a ``DbApiHook`` and whose database has transactions; needs
    ``airflow-provider-meisa[sql]``.

    The table needs the columns ``load_id``, ``address`` and ``status``. Other columns of the file, and
    ``line_number``, are written if the table has them; a warning in the log names those that it lacks.

    Pushes ``{"conn_id", "table", "outcomes_path", "load_id", "rows", "replaced", "left_out"}`` to XCom.

    :param outcomes_path: the file that ``outcomes_path`` of another task named (templated): any ``ObjectStoragePath``
        that ends in ``.jsonl`` or ``.csv``, or one of these and ``.gz``.
    :param table: the name of the table, such as ``marketing.outcomes`` (templated).
    :param conn_id: the database's Airflow Connection (templated).
    :param load_id: what identifies the load in the column ``load_id`` (templated); rows with it are replaced. By
        default the absolute path or the URI of the file.
    :param create_table: create the table if it does not exist, with the columns of the file, and ``load_id`` and
        ``line_number`` as its key (templated). Columns that were kept are ``VARCHAR(1000)``.
    """

    template_fields: Sequence[str] = ("outcomes_path", "table", "conn_id", "load_id", "create_table")
    ui_color = "#f3e8ff"

    outcomes_path = PathField()

    def __init__(
        self,
        *,
        outcomes_path: str | os.PathLike[str],
        table: str,
        conn_id: str,
        load_id: str | None = None,
        create_table: bool = False,
        **kwargs: Any,
    ) -> None:
        check_names(self, kwargs)
        super().__init__(**kwargs)
        self.outcomes_path = outcomes_path
        self.table = table
        self.conn_id = conn_id
        self.load_id = load_id
        self.create_table = create_table
        self._inserted: int | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Load the file.

        :return: what was loaded, without addresses.
        :raises AirflowFailException: for what a retry cannot fix, such as a file of another kind.
        :raises AirflowException: if the file does not exist, or the database refuses a statement.
        """
        with raise_airflow_errors():
            check_parameters(self)
            return self._load()

    def _load(self) -> dict[str, Any]:
        from airflow_provider_meisa.operators.location import locate
        from airflow_provider_meisa.transfers.sources.outcomes import read_outcomes
        from airflow_provider_meisa.transfers.sources.sql import database_hook
        from airflow_provider_meisa.transfers.sql_table import open_table

        database, load_id = database_hook(self.conn_id), self.load_id or _id_of(self.outcomes_path)
        first, lines = _peeked(read_outcomes(locate(self.outcomes_path)))
        with open_table(
            database, self.table, _types(first), key=tuple(_LOAD), create=self.create_table
        ) as table:
            table.require("load_id", "address", "status")
            replaced = table.delete("load_id", load_id)
            left_out = self._insert(table, load_id, lines)
        log.info("Outcomes: %s lines loaded into the table %s", f"{self._inserted:,}", self.table)
        return {
            "conn_id": self.conn_id,
            "table": self.table,
            "outcomes_path": str(self.outcomes_path),
            "load_id": load_id,
            "rows": self._inserted,
            "replaced": replaced,
            "left_out": left_out,
        }

    def _insert(self, table: SqlTable, load_id: str, lines: Iterable[Rows]) -> list[str]:
        from airflow_provider_meisa.transfers.sql_table import warn_of_left_out

        count, left_out, checked = 0, list[str](), set[tuple[str, ...]]()
        for some in lines:
            columns = (*_LOAD, *some.columns)
            if columns not in checked:
                checked.add(columns)
                _check_names(columns)
                left_out += warn_of_left_out(table, [name for name in columns if name not in left_out])
            numbered = ((load_id, number, *row) for number, row in enumerate(some.rows, count + 1))
            count += table.insert(columns, numbered)
        self._inserted = count
        return left_out

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return the file as input, and the table with its new rows as output. Also called for a failed task."""
        from airflow_provider_meisa.transfers.sources.lineage import file_dataset

        return _lineage([file_dataset(self.outcomes_path)], self.conn_id, self.table, self._inserted)


def _id_of(path: str) -> str:
    from airflow_provider_meisa.transfers.sources.lineage import store_and_name

    store, name = store_and_name(path)
    return name if store == "file" else f"{store}/{name}"


def _peeked(lines: Iterator[Rows]) -> tuple[tuple[str, ...], Iterator[Rows]]:
    """Read the first lines of a file; return their columns, and all lines."""
    heads = list[Any]()
    for some in lines:
        heads.append(some)
        if some.columns:
            break
    return heads[-1].columns if heads else (), chain(heads, lines)


def _types(columns: Sequence[str]) -> Mapping[str, str]:
    """Return the columns of a new table for a file with these columns."""
    _check_names((*_LOAD, *columns))
    return _LOAD | {name: _OUTCOMES.get(name, _TEXT) for name in columns or _EVERY_FILE}


def _check_names(columns: Sequence[str]) -> None:
    """Check that no column has the name of another one, in any case.

    :raises MeisaInputError: if one has.
    """
    names = [name.lower() for name in columns]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise MeisaInputError(
            f"The outcomes file has a column {shown_name(twice)}, and the table uses this name for another one. "
            "Nothing was changed. Keep the column under another name."
        )


def _lineage(
    inputs: Sequence[Dataset], conn_id: str, table: str, rows: int | None
) -> OperatorLineage[Any, Any]:
    from airflow.providers.common.compat.openlineage.facet import (
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
    )
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_meisa.transfers.sources.lineage import table_written
    from airflow_provider_meisa.transfers.sources.sql import database_hook

    outputs = [
        OutputDataset(namespace=written.namespace, name=written.name)
        for written in table_written(database_hook(conn_id), conn_id, table)
    ]
    if rows is not None:
        for output in outputs:
            output.outputFacets = {"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=rows)}
    return OperatorLineage(inputs=list(inputs), outputs=outputs)
