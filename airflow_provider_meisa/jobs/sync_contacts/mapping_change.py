"""Detect a mapping that differs from that of the last run: each row would count as changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.column_names import shown_name

_MOST_NAMED = 10


def check_mapping(
    before: Mapping[str, Any], now: Mapping[str, Any], *, resync: str | Sequence[str] | None
) -> None:
    """Stop before anything is sent if the mapping has changed, unless ``resync`` is set.

    :param before: the result of `Binding.describe` in the last run.
    :param now: its result in this run.
    :param resync: the parameter of that name.
    :raises MeisaInputError: if the mapping has changed and ``resync`` is not set, or names other columns.
    """
    if before == now or isinstance(resync, str):
        return
    meant = set(map(str.casefold, resync or ()))
    others = sorted(changed_columns(before, now) - meant)
    if resync and others:
        raise MeisaInputError(
            f"The mapping has also changed for {_named(others)}, which resync does not name. Nothing was sent. Undo "
            "that change, or add these names to resync."
        )
    if not resync:
        raise MeisaInputError(
            f"The mapping is another one than in the last run: {'; '.join(differences(before, now))}. Each row would "
            "count as changed, so nothing was sent. Undo the change, or set resync='all' to send all rows, or "
            "resync='record' to take those that Meisa has as they are now, without a request."
        )


def changed_columns(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """Return the names of the columns that are mapped in another way, and of other parameters that have changed."""
    old, new = (_uses(each) for each in (before, now))
    others = {name for name in ("tags", "nulls") if before.get(name) != now.get(name)}
    return {name.casefold() for name in {*old, *new} if old.get(name) != new.get(name)} | others


def _uses(mapping: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what each column is used for."""
    uses: dict[str, list[str]] = {}
    for name in mapping.get("custom_fields", ()):
        uses.setdefault(name.casefold(), []).append(f"custom field {name}")
    for name, column in mapping.get("fields", {}).items():
        uses.setdefault(column, []).append(name)
    for column, kind in mapping.get("types", {}).items():
        uses.setdefault(column, []).append(kind)
    for column in mapping.get("json_columns", ()):
        uses.setdefault(column, []).append("JSON")
    return uses


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
