"""Detect a mapping that differs from that of the last run: each row would count as changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.column_names import shown_name

_MOST_NAMED = 10


def check_mapping(before: Mapping[str, Any], now: Mapping[str, Any], *, resync: str | None) -> None:
    """Stop before anything is sent if the mapping has changed, unless ``resync`` is set.

    :param before: the result of `Binding.describe` in the last run.
    :param now: its result in this run.
    :param resync: the parameter of that name.
    :raises MeisaInputError: if the mapping has changed and ``resync`` is not set.
    """
    if resync is None and before != now:
        raise MeisaInputError(
            f"The mapping is another one than in the last run: {'; '.join(differences(before, now))}. Each row would "
            "count as changed, so nothing was sent. Undo the change, or set resync='all' to send all rows, or "
            "resync='record' to take those that Meisa has as they are now, without a request."
        )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describe the differences between two mappings."""
    old, new = (set(each.get("custom_fields", ())) for each in (before, now))
    found = [
        f"{word} {_named(names)}" for word, names in (("added", new - old), ("left out", old - new)) if names
    ]
    for name in ("fields", "types"):
        changed = _changed_keys(before.get(name, {}), now.get(name, {}))
        if changed:
            found.append(f"{name} of {_named(changed)}")
    return found + [name for name in ("tags", "json_columns", "nulls") if before.get(name) != now.get(name)]


def _changed_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [name for name in {**before, **now} if before.get(name) != now.get(name)]


def _named(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(_limited(shown))


def _limited(names: list[str]) -> Iterator[str]:
    yield from map(shown_name, names[:_MOST_NAMED])
    if len(names) > _MOST_NAMED:
        yield f"{len(names) - _MOST_NAMED} more"
