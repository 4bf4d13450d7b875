"""OpenLineage's datasets of sources. Only OpenLineage's provider calls this, so it is installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_provider_meisa.operators.location import bare_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.common.sql.hooks.sql import DbApiHook


def file_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Return the dataset of a file: ``file`` and its absolute path, or the store and the key in it.

    :param path: a local path or a URI; a connection's id, a key and a query in it are left out.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset

    uri = bare_path(path)
    local = uri.removeprefix("file://")
    if "://" not in local:
        return Dataset(namespace="file", name=str(Path(local).absolute()))
    parts = urlsplit(uri)
    store = parts.netloc.rpartition("@")[2]
    return Dataset(namespace=f"{parts.scheme}://{store}", name=parts.path.lstrip("/"))


def tables_of(hook: DbApiHook, conn_id: str, sql: str) -> list[Dataset]:
    """Return the tables of a query, by the same names as the database's own operators.

    Empty if its hook does not support OpenLineage. The query itself is not reported.
    """
    from airflow.providers.openlineage.sqlparser import SQLParser

    connection = hook.get_connection(conn_id)
    database = hook.get_openlineage_database_info(connection)
    if database is None:
        return []
    parser = SQLParser(
        dialect=hook.get_openlineage_database_dialect(connection),
        default_schema=hook.get_openlineage_default_schema(),
    )
    found = parser.generate_openlineage_metadata_from_sql(
        sql=sql, hook=hook, database_info=database, use_connection=False
    )
    return found.inputs
