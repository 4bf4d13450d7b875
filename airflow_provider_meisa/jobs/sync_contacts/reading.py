"""From rows of a source to contacts as they are sent, column by column."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import compress, islice
from operator import not_
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.column_names import shown_name
from airflow_provider_meisa.bulk.job import Alike
from airflow_provider_meisa.bulk.rows import Rows
from airflow_provider_meisa.jobs.addresses import check_column, key_of
from airflow_provider_meisa.jobs.sync_contacts.forms import contact_form, custom_fields_form, to_dict
from airflow_provider_meisa.jobs.sync_contacts.mapping import ALL, Binding, ContactMapping
from airflow_provider_meisa.jobs.sync_contacts.sizes import too_large
from airflow_provider_meisa.jobs.sync_contacts.values import (
    Faults,
    Json,
    canonical,
    converter,
    encode,
    fix_column,
    parse_json,
    tags_of,
    text_of,
    text_of_id,
)

if TYPE_CHECKING:
    from airflow_provider_meisa.jobs.sync_contacts.comparison import Comparison

log = logging.getLogger("airflow.task.meisa")

Contact = dict[str, Any]
"""What is sent of one contact: parameters of `contacts.upsert`, in one form only."""

_CHUNK = 500
_Names = TypeVar("_Names", bound=Iterable[str])


class ContactReader:
    """Reads rows as contacts, in their order, and rows that cannot be sent as ``invalid``.

    :param mapping: which column becomes what.
    :param known: see `ContactMapping.bind`.
    :param what: what messages call the source.
    :param may_be_record: see `ContactMapping.bind`.
    :param comparison: finds rows that the ledger has as they are.
    :ivar binding: what the mapping means for this source; there once its first rows are read.
    """

    def __init__(
        self,
        mapping: ContactMapping,
        *,
        known: Sequence[str] | None = None,
        what: str = "The source",
        may_be_record: bool = False,
        comparison: Comparison | None = None,
    ) -> None:
        self._mapping = mapping
        self._known = known
        self._what = what
        self._may_be_record = may_be_record
        self._comparison = comparison
        self.binding: Binding | None = None

    def read(self, source: Iterable[object]) -> Iterator[Contact | Outcome | Alike]:
        """Read a source: `Rows`, or records with a value by name. Rows that are unchanged come together.

        :raises MeisaInputError: if it gives something else, or lacks a column that the mapping names.
        """
        rest = iter(source)
        first = next(rest, None)
        if isinstance(first, Rows):
            yield from self._tables(first, rest)
        elif first is not None:
            yield from self._records(first, rest)

    def _tables(self, first: Rows, rest: Iterable[object]) -> Iterator[Contact | Outcome | Alike]:
        self._checked(first.columns)
        contacts = self._bind(first.columns)
        yield from contacts.of(first.rows)
        for rows in rest:
            if not isinstance(rows, Rows) or rows.columns != first.columns:
                raise MeisaInputError(
                    f"{self._what} changed its columns while it was read. Nothing was sent."
                )
            yield from contacts.of(rows.rows)

    def _records(self, first: object, rest: Iterator[object]) -> Iterator[Contact | Outcome | Alike]:
        """Read records, of which each may lack some keys: that is NULL. None may lack one of the mapping's."""
        chunk = [self._record(first), *map(self._record, islice(rest, _CHUNK - 1))]
        columns = self._checked(list(dict.fromkeys(name for record in chunk for name in record)))
        names = {name.casefold() for name in columns}
        columns += [name for name in self._mapping.named if name.casefold() not in names]
        missing = {name.casefold() for name in self._mapping.named}
        contacts = self._bind(columns)
        while chunk:
            found = {name.casefold() for name in self._checked(set().union(*chunk))}
            missing -= found
            self._report_unknown(found - set(map(str.casefold, columns)))
            yield from contacts.of([list(map(record.get, columns)) for record in chunk])
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

    def _bind(self, columns: Sequence[str]) -> _Contacts:
        self.binding = self._mapping.bind(
            columns, known=self._known, what=self._what, may_be_record=self._may_be_record
        )
        if self._known is None or self._mapping.custom_fields != ALL:
            self._report_unknown(self.binding.unmapped)
        elif self.binding.unmapped:
            log.warning(
                "New columns are not sent before resync is set: %s", self._shown(self.binding.unmapped)
            )
        return _Contacts(self.binding, self._comparison)

    def _report_unknown(self, names: Iterable[str]) -> None:
        """Log which columns are not sent; of records, also those that only later ones have."""
        if names := list(names):
            log.info("Columns mapped to nothing, and not sent: %s", self._shown(names))

    def _shown(self, names: Iterable[str]) -> str:
        return ", ".join(shown_name(name, may_be_record=self._may_be_record) for name in sorted(names))


class _Contacts:
    """Makes contacts of rows with the same columns, column by column."""

    def __init__(self, binding: Binding, comparison: Comparison | None) -> None:
        self._binding = binding
        self._comparison = comparison
        names = [*binding.fields, *(["custom_fields"] if binding.custom_fields else [])]
        self._form = contact_form([*names, "tag_names"])
        self._custom_fields_form = custom_fields_form(list(binding.custom_fields), nulls=binding.nulls)

    def of(self, rows: Sequence[Sequence[object]]) -> Iterator[Contact | Outcome | Alike]:
        """Return what is sent of each row, or that it is ``invalid``; those that are unchanged together."""
        for begin in range(0, len(rows), _CHUNK):
            yield from self._of_some(rows[begin : begin + _CHUNK])

    def _of_some(self, rows: Sequence[Sequence[object]]) -> Iterator[Contact | Outcome | Alike]:
        columns = list(zip(*rows, strict=True))
        faults: Faults = {}
        addresses = check_column(columns[self._binding.fields["email"]])
        fields = self._fields(columns, addresses, faults)
        contacts = list(map(self._form, *fields.values()))
        bad = _bad(addresses, faults)
        places = [place for place in range(len(rows)) if place not in bad] if bad else range(len(rows))
        if self._comparison is not None:
            is_unchanged = self._compare(self._comparison, fields, contacts, places)
            places = list(compress(places, map(not_, is_unchanged)))
        after = 0
        for place in sorted([*places, *bad]) if bad else places:
            if after < place:
                yield Alike(OutcomeStatus.UNCHANGED, fields["email"][after:place])
            if place in bad:
                yield bad[place]
            else:
                contact = to_dict(contacts[place])
                yield too_large(contact, self._binding) or contact
            after = place + 1
        if after < len(rows):
            yield Alike(OutcomeStatus.UNCHANGED, fields["email"][after:])

    @staticmethod
    def _compare(
        comparison: Comparison,
        fields: Mapping[str, Sequence[Any]],
        contacts: Sequence[Any],
        places: Sequence[int],
    ) -> list[bool]:
        """Return for each of these places whether its row is left out."""

        def of_these(values: Sequence[Any]) -> Sequence[Any]:
            return values if len(places) == len(contacts) else [values[place] for place in places]

        addresses = of_these(fields["email"])
        ids = of_these(fields["external_id"]) if "external_id" in fields else list(map(key_of, addresses))
        # Without record ids of yours, no two contacts have one address.
        others = addresses if "external_id" in fields else ()
        return comparison.unchanged(ids, map(encode, of_these(contacts)), others)

    def _fields(
        self, columns: Sequence[Sequence[object]], addresses: Sequence[object], faults: Faults
    ) -> dict[str, Sequence[Any]]:
        """Return the values of each field; ``faults`` gets the first reason of each row that is not sent."""
        binding = self._binding

        def fixed(place: int, convert: Callable[[object], Json] = canonical) -> Sequence[Json]:
            values, found = fix_column(columns[place], _converted(binding, place, convert))
            for row, reason in found.items():
                faults.setdefault(row, f"{shown_name(binding.columns[place])}: {reason}")
            return values

        fields: dict[str, Sequence[Any]] = {}
        for name, place in binding.fields.items():
            if name == "email":
                fields[name] = addresses
            elif name == "external_id":
                fields[name] = fixed(place, text_of_id)
            else:
                fields[name] = _texts(fixed(place, text_of), nulls=binding.nulls)
        if binding.custom_fields:
            values = [fixed(place) for place in binding.custom_fields.values()]
            fields["custom_fields"] = list(map(self._custom_fields_form, *values))
        # What is None is not sent: names with nulls="omit", and tags of a contact that has none.
        if isinstance(binding.tags, int):
            fields["tag_names"] = [tags or None for tags in fixed(binding.tags, tags_of)]
        else:
            fields["tag_names"] = [list(binding.tags) or None] * len(addresses)
        return fields


def _bad(addresses: Sequence[str | Outcome], faults: Faults) -> dict[int, Outcome]:
    """Return the outcomes of the rows that are not sent, by place."""
    bad = {place: Outcome(str(addresses[place]), OutcomeStatus.INVALID, why) for place, why in faults.items()}
    if set(map(type, addresses)) != {str}:
        bad |= {place: each for place, each in enumerate(addresses) if isinstance(each, Outcome)}
    return bad


def _converted(binding: Binding, place: int, convert: Callable[[object], Json]) -> Callable[[object], Json]:
    """Return what converts a column: first as ``json_columns`` and ``types`` have it."""
    if place not in binding.json_at and place not in binding.types:
        return convert
    first = parse_json if place in binding.json_at else converter(binding.types[place])
    return first if convert is canonical else lambda value: convert(first(value))


def _texts(values: Sequence[Json], *, nulls: str) -> Sequence[Json]:
    """Return the values of a name: an empty one empties it, and what is ``None`` is not sent."""
    if nulls == "omit" or None not in values:
        return values
    return ["" if value is None else value for value in values]
