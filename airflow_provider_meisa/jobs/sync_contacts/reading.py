"""From rows of a source to contacts as they are sent, column by column."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.column_names import shown_name
from airflow_provider_meisa.bulk.rows import Rows
from airflow_provider_meisa.jobs.addresses import check_all
from airflow_provider_meisa.jobs.sync_contacts.mapping import ALL, Binding, ContactMapping
from airflow_provider_meisa.jobs.sync_contacts.values import (
    Faults,
    Json,
    canonical,
    converter,
    fix_column,
    parse_json,
    tags_of,
    text_of,
    text_of_id,
)

log = logging.getLogger("airflow.task.meisa")

Contact = dict[str, Any]
"""What is sent of one contact: parameters of `contacts.upsert`, in one form only."""

_CHUNK = 1_000
_Names = TypeVar("_Names", bound=Iterable[str])


class ContactReader:
    """Reads rows as contacts, in their order, and rows that cannot be sent as ``invalid``.

    :param mapping: which column becomes what.
    :param known: see `ContactMapping.bind`.
    :param what: what messages call the source.
    :param may_be_record: see `ContactMapping.bind`.
    :ivar binding: what the mapping means for this source; there once its first rows are read.
    """

    def __init__(
        self,
        mapping: ContactMapping,
        *,
        known: Sequence[str] | None = None,
        what: str = "The source",
        may_be_record: bool = False,
    ) -> None:
        self._mapping = mapping
        self._known = known
        self._what = what
        self._may_be_record = may_be_record
        self.binding: Binding | None = None

    def read(self, source: Iterable[object]) -> Iterator[Contact | Outcome]:
        """Read a source: `Rows`, or records with a value by name.

        :raises MeisaInputError: if it gives something else, or lacks a column that the mapping names.
        """
        rest = iter(source)
        first = next(rest, None)
        if isinstance(first, Rows):
            yield from self._tables(first, rest)
        elif first is not None:
            yield from self._records(first, rest)

    def _tables(self, first: Rows, rest: Iterable[object]) -> Iterator[Contact | Outcome]:
        self._checked(first.columns)
        binding = self._bind(first.columns)
        yield from contacts_of(binding, first.rows)
        for rows in rest:
            if not isinstance(rows, Rows) or rows.columns != first.columns:
                raise MeisaInputError(
                    f"{self._what} changed its columns while it was read. Nothing was sent."
                )
            yield from contacts_of(binding, rows.rows)

    def _records(self, first: object, rest: Iterator[object]) -> Iterator[Contact | Outcome]:
        """Read records, of which each may lack some keys: that is NULL. None may lack one of the mapping's."""
        chunk = [self._record(first), *map(self._record, islice(rest, _CHUNK - 1))]
        columns = self._checked(list(dict.fromkeys(name for record in chunk for name in record)))
        names = {name.casefold() for name in columns}
        columns += [name for name in self._mapping.named if name.casefold() not in names]
        missing = {name.casefold() for name in self._mapping.named}
        binding = self._bind(columns)
        while chunk:
            found = {name.casefold() for name in self._checked(set().union(*chunk))}
            missing -= found
            self._report_unknown(found - set(map(str.casefold, columns)))
            yield from contacts_of(binding, [list(map(record.get, columns)) for record in chunk])
            chunk = list(map(self._record, islice(rest, _CHUNK)))
        if missing:
            self._mapping.bind(
                [name for name in columns if name.casefold() not in missing],
                what=self._what,
                may_be_record=self._may_be_record,
            )

    def _record(self, record: object) -> Mapping[str, object]:
        if not isinstance(record, Mapping):
            raise MeisaInputError(
                f"{self._what} holds a value of type {type(record).__name__}, not a record. Pass rows with names, such "
                "as a list of dicts."
            )
        return record

    def _checked(self, names: _Names) -> _Names:
        if not all(isinstance(name, str) for name in names):
            raise MeisaInputError(f"{self._what} has a column whose name is not text. Rename it.")
        return names

    def _bind(self, columns: Sequence[str]) -> Binding:
        self.binding = self._mapping.bind(
            columns, known=self._known, what=self._what, may_be_record=self._may_be_record
        )
        if self._known is None or self._mapping.custom_fields != ALL:
            self._report_unknown(self.binding.unmapped)
        elif self.binding.unmapped:
            log.warning(
                "New columns are not sent before resync is set: %s", self._shown(self.binding.unmapped)
            )
        return self.binding

    def _report_unknown(self, names: Iterable[str]) -> None:
        """Log which columns are not sent; of records, also those that only later ones have."""
        if names := list(names):
            log.info("Columns mapped to nothing, and not sent: %s", self._shown(names))

    def _shown(self, names: Iterable[str]) -> str:
        return ", ".join(shown_name(name, may_be_record=self._may_be_record) for name in sorted(names))


def contacts_of(binding: Binding, rows: Sequence[Sequence[object]]) -> Iterator[Contact | Outcome]:
    """Return what is sent of each row, or that it is ``invalid``."""
    if not rows:
        return
    columns = list(zip(*rows, strict=True))
    faults: Faults = {}
    addresses = list(check_all(columns[binding.fields["email"]]))
    contacts = _contacts(binding, columns, addresses, faults)
    for place, (address, contact) in enumerate(zip(addresses, contacts, strict=True)):
        if isinstance(address, Outcome):
            yield address
        elif place in faults:
            yield Outcome(address, OutcomeStatus.INVALID, faults[place])
        else:
            yield contact


def _contacts(
    binding: Binding, columns: Sequence[Sequence[object]], addresses: Sequence[object], faults: Faults
) -> list[Contact]:
    """Put contacts together; ``faults`` gets the first reason of each that is not sent."""

    def fixed(place: int, convert: Callable[[object], Json] = canonical) -> Sequence[Json]:
        values, found = fix_column(columns[place], _converted(binding, place, convert))
        for row, reason in found.items():
            faults.setdefault(row, f"{shown_name(binding.columns[place])}: {reason}")
        return values

    fields: dict[str, Sequence[Json]] = {}
    for name, place in binding.fields.items():
        if name == "email":
            fields[name] = addresses
        elif name == "external_id":
            fields[name] = fixed(place, text_of_id)
        else:
            fields[name] = _texts(fixed(place, text_of), nulls=binding.nulls)
    if binding.custom_fields:
        fields["custom_fields"] = _custom_fields(
            binding, [fixed(place) for place in binding.custom_fields.values()]
        )
    if isinstance(binding.tags, int):
        fields["tag_names"] = [tags or None for tags in fixed(binding.tags, tags_of)]
    elif binding.tags:
        fields["tag_names"] = [list(binding.tags)] * len(addresses)
    contacts = [dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)]
    # None is left: of names that are not sent, and of contacts without tags.
    return [
        {name: value for name, value in contact.items() if value is not None}
        if None in contact.values()
        else contact
        for contact in contacts
    ]


def _converted(binding: Binding, place: int, convert: Callable[[object], Json]) -> Callable[[object], Json]:
    """Return what converts a column: first as ``json_columns`` and ``types`` have it."""
    if place not in binding.json_at and place not in binding.types:
        return convert
    first = parse_json if place in binding.json_at else converter(binding.types[place])
    return first if convert is canonical else lambda value: convert(first(value))


def _texts(values: Sequence[Json], *, nulls: str) -> Sequence[Json]:
    """Return the values of a name: an empty one empties it, and what is ``None`` is not sent."""
    return values if nulls == "omit" else ["" if value is None else value for value in values]


def _custom_fields(binding: Binding, columns: Sequence[Sequence[Json]]) -> list[dict[str, Json]]:
    names = list(binding.custom_fields)
    objects = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if binding.nulls == "send":
        return objects
    return [{name: value for name, value in each.items() if value is not None} for each in objects]
