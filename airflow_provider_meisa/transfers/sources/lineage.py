"""OpenLineage's datasets of sources. Only OpenLineage's provider calls this, so it is installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_meisa.operators.location import bare_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.providers.openlineage.extractors import OperatorLineage


def file_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Return the dataset of a file: ``file`` and its absolute path, or the store and the key in it.

    :param path: a local path or a URI; a connection's id, a key and a query in it are left out.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset

    store, name = store_and_name(path)
    return Dataset(namespace=store, name=name)


def store_and_name(path: str | os.PathLike[str]) -> tuple[str, str]:
    """Return where a file is, ``file`` or a store, and its absolute path or its key there."""
    uri = bare_path(path)
    local = uri.removeprefix("file://")
    if "://" not in local:
        return "file", str(Path(local).absolute())
    parts = urlsplit(uri)
    store = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{store}", parts.path.lstrip("/")


def tables_of(hook: DbApiHook, conn_id: str, sql: str) -> list[Dataset]:
    """Return the tables of a query, by the same names as the database's own operators.

    Empty if its hook does not support OpenLineage. The query itself is not reported.
    """
    found = _metadata_of(hook, conn_id, sql)
    return [] if found is None else found.inputs


def table_written(hook: DbApiHook, conn_id: str, table: str) -> list[Dataset]:
    """Return the table that a task writes, by the same name as the database's own operators; empty as above."""
    found = _metadata_of(hook, conn_id, f"INSERT INTO {table} SELECT 1")
    return [] if found is None else found.outputs


def _metadata_of(hook: DbApiHook, conn_id: str, sql: str) -> OperatorLineage[Any, Any] | None:
    from airflow.providers.openlineage.sqlparser import SQLParser

    connection = hook.get_connection(conn_id)
    database = hook.get_openlineage_database_info(connection)
    if database is None:
        return None
    parser = SQLParser(
        dialect=hook.get_openlineage_database_dialect(connection),
        default_schema=hook.get_openlineage_default_schema(),
    )
    return parser.generate_openlineage_metadata_from_sql(
        sql=sql, hook=hook, database_info=database, use_connection=False
    )
