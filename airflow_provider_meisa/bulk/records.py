"""Records out of what a DAG passes: lists of dicts, pages of them, rows with names, and tables.

No library is imported for it: tables are known by their attributes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_meisa.api.checks import kind_of
from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.input_shapes import EDGES
from airflow_provider_meisa.bulk.rows import Rows

_CHUNK = 2_000


def read_records(value: object, name: str) -> Iterator[Mapping[str, Any] | Rows]:
    """Read what a template field rendered to, or what a function returned.

    :param value: a table; or records, or lists of them; or the JSON text of a list of objects.
    :param name: what messages call it.
    :raises MeisaInputError: if it is something else.
    """
    if isinstance(value, str):
        value = _listed(value.strip(EDGES), name)
    if _is_table(value):
        yield from _rows_of_table(value)
    elif (
        isinstance(value, Mapping) or not isinstance(value, Iterable) or isinstance(value, bytes | bytearray)
    ):
        raise MeisaInputError(f"{name} is {kind_of(value)}; pass a list of dicts, or a table.")
    else:
        for item in value:
            yield from _records_in(item, name)


def _records_in(item: Any, name: str) -> Iterator[Mapping[str, Any] | Rows]:
    """Read an item of a list: a record, or a page of them."""
    if isinstance(item, Mapping):
        yield item
    elif callable(as_dict := getattr(item, "_asdict", None)):  # a named tuple, a row of SQLAlchemy
        yield as_dict()
    elif isinstance(item, list) or _is_table(item):
        yield from read_records(item, name)
    else:
        raise MeisaInputError(
            f"{name} holds {kind_of(item)}, not a record. Pass rows with names, such as a list of dicts."
        )


def _listed(text: str, name: str) -> object:
    """Read the text of a list, which a template gives unless the DAG sets ``render_template_as_native_obj``."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list):
        raise MeisaInputError(
            f"{name} is a text that is not a JSON list. If it is a Jinja template, end it with `| tojson`, or set "
            "render_template_as_native_obj=True on the DAG."
        )
    return value


def _is_table(value: object) -> bool:
    """Return whether it is a DataFrame of pandas or polars, or a table of pyarrow."""
    return any(hasattr(value, name) for name in ("itertuples", "iter_rows", "to_batches"))


def _rows_of_table(table: Any) -> Iterator[Rows]:
    columns, rows = _columns_and_rows(table)
    chunk: list[Sequence[object]] = []
    for row in rows:
        # What a DataFrame has in place of a missing value is not a number.
        chunk.append([None if isinstance(value, float) and value != value else value for value in row])  # noqa: PLR0124
        if len(chunk) == _CHUNK:
            yield Rows(columns, chunk)
            chunk = []
    yield Rows(columns, chunk)


def _columns_and_rows(table: Any) -> tuple[tuple[Any, ...], Iterator[Sequence[object]]]:
    if hasattr(table, "itertuples"):
        return tuple(table.columns), table.itertuples(index=False, name=None)
    if hasattr(table, "iter_rows"):
        return tuple(table.columns), table.iter_rows()
    return tuple(table.column_names), _rows_of_arrow(table)


def _rows_of_arrow(table: Any) -> Iterator[Sequence[object]]:
    for batch in table.to_batches(max_chunksize=_CHUNK):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
