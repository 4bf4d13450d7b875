"""The columns in which changed contacts differ from what Meisa has accepted, for previews and messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.bulk.column_names import shown_name
from airflow_provider_meisa.jobs.sync_contacts.values import encode

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.ledger.value_sample import Differences

_CUSTOM, _TAGS = "custom_fields", "tags"
_MOST_REPORTED = 20
_MOST_NAMED = 5


def values_by_name(item: Mapping[str, Any], mapping: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the values of a contact by name, also of those that are not sent because they are NULL.

    :param mapping: the result of `Binding.describe`.
    """
    custom = item.get(_CUSTOM, {})
    values = {name: item.get(name) for name in mapping.get("fields", ())}
    values |= {f"{_CUSTOM}.{name}": custom.get(name) for name in mapping.get(_CUSTOM, ())}
    return {name: encode(value) for name, value in {**values, _TAGS: item.get("tag_names")}.items()}


def report_differences(found: Differences, changed: int, mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many changed contacts differ in each column, for the summary.

    :param changed: the number of changed contacts. If fewer were compared, the numbers are estimates.
    :return: ``{"changed_columns": {column: number of contacts}, "compared": number of contacts}``, at most twenty
        columns, with the highest number first.
    """
    per_compared = max(changed / found.compared, 1.0) if found.compared else 0.0
    columns: dict[str, int] = {}
    for name, number in found.by_name.items():
        column = shown_name(column_of(name, mapping))
        columns[column] = max(columns.get(column, 0), round(number * per_compared))
    highest = sorted(columns.items(), key=lambda each: (-each[1], each[0]))[:_MOST_REPORTED]
    return {"changed_columns": dict(highest), "compared": found.compared}


def describe_differences(report: Mapping[str, Any], changed: int) -> str:
    """Return the columns that differ most as part of a sentence; empty if none is known."""
    about = "about " if report["compared"] < changed else ""
    columns = list(report["changed_columns"].items())
    shown = [f"{column} ({about}{number:,})" for column, number in columns[:_MOST_NAMED]]
    if len(columns) > _MOST_NAMED:
        shown.append(f"{len(columns) - _MOST_NAMED} more")
    return f", and differ in {', '.join(shown)}" if shown else ""


def column_of(name: str, mapping: Mapping[str, Any]) -> str:
    """Return the name of the column of a value, see `values_by_name`."""
    if name == _TAGS:
        tags = mapping.get(_TAGS)
        return tags if isinstance(tags, str) else _TAGS
    column: str = mapping.get("fields", {}).get(name) or name.removeprefix(f"{_CUSTOM}.")
    return column
