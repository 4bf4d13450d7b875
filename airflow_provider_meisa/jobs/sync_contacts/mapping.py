"""Which column becomes what of a contact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_provider_meisa.api.checks import check_choice, check_text, check_texts, kind_of
from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.column_names import found_names, shown_name
from airflow_provider_meisa.jobs.sync_contacts.values import VALUE_TYPES, ValueType, tags_of

FIELDS = ("email", "external_id", "first_name", "last_name", "display_name")
"""The fields of a contact that a column can fill; ``custom_fields`` and ``tags`` are mapped on their own."""

ALL = "*"
NULLS = ("send", "omit")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactMapping:
    """Which column becomes what of a contact, as a DAG says it. Names of columns match without regard to case.

    :param fields: column by field: ``email`` and any of ``external_id``, ``first_name``, ``last_name`` and
        ``display_name``. ``None`` takes the columns that are called like the fields.
    :param custom_fields: the columns that become custom fields of the same names, as they are spelled here; ``"*"``
        takes all that are mapped to nothing else.
    :param tags: the tags that all contacts get, or the name of the column that holds those of each.
    :param json_columns: columns whose texts are JSON.
    :param types: what to make of the values of a column: ``text``, ``integer``, ``number`` or ``boolean``.
    :param nulls: whether ``NULL`` empties a field (``send``), or leaves it as it is in Meisa (``omit``).
    """

    fields: Mapping[str, str] | None = None
    custom_fields: Sequence[str] | Literal["*"] = ()
    tags: Sequence[str] | str | None = None
    json_columns: Sequence[str] = ()
    types: Mapping[str, ValueType] = field(default_factory=dict)
    nulls: Literal["send", "omit"] = "send"

    def check(self) -> None:
        """Check what a DAG has given.

        :raises MeisaInputError: if something of it cannot be a mapping.
        """
        if self.fields is not None:
            _check_fields(self.fields)
        if self.custom_fields != ALL:
            _check_once("custom_fields", check_texts("custom_fields", self.custom_fields))
        if self.tags is not None and not isinstance(self.tags, str):
            check_texts("tags", self.tags)
        _check_once("json_columns", check_texts("json_columns", self.json_columns))
        if not isinstance(self.types, Mapping):
            raise MeisaInputError(
                f"types must be a dict of columns and their types, not {kind_of(self.types)}."
            )
        for column, kind in self.types.items():
            check_text("types' column", column)
            check_choice(f"types[{shown_name(column)!r}]", kind, VALUE_TYPES)
        check_choice("nulls", self.nulls, NULLS)

    @property
    def named(self) -> list[str]:
        """The names of all columns that the mapping cannot do without."""
        names = [*(self.fields or {"email": "email"}).values()]
        names += [] if self.custom_fields == ALL else self.custom_fields
        names += [self.tags] if isinstance(self.tags, str) else []
        return names

    def bind(
        self,
        columns: Sequence[str],
        *,
        known: Sequence[str] | None = None,
        what: str = "The source",
        may_be_record: bool = False,
    ) -> Binding:
        """Find the columns of a source.

        :param columns: the names that it has.
        :param known: for ``custom_fields="*"``, the columns that an earlier run took: no others become custom fields.
        :param what: what messages call the source.
        :param may_be_record: whether a person's data may stand where the names are looked for.
        :raises MeisaInputError: if one is missing, or two have the same name.
        """
        find = _Finder(columns, what, may_be_record=may_be_record)
        chosen = self._fields_in(find)
        # In one order, whatever that of the mapping: the ledger compares the text of it all.
        fields = {name: find(chosen[name], f"fields[{name!r}]") for name in FIELDS if name in chosen}
        tags_at = find(self.tags, "tags") if isinstance(self.tags, str) else None
        taken = {*fields.values(), tags_at}
        if self.custom_fields == ALL:
            free = [name for place, name in enumerate(columns) if place not in taken]
            wanted = [
                name for name in free if known is None or name.casefold() in set(map(str.casefold, known))
            ]
            _check_once(f"{what}: custom_fields", wanted)
        else:
            wanted = list(self.custom_fields)
        custom = {name: find(name, "custom_fields") for name in sorted(wanted)}
        taken |= set(custom.values())
        types = {find(name, "types"): kind for name, kind in self.types.items()}
        json_at = {find(name, "json_columns") for name in self.json_columns}
        return Binding(
            fields=fields,
            custom_fields=custom,
            tags=_fixed_tags(self.tags) if tags_at is None else tags_at,
            types=types,
            json_at=frozenset(json_at),
            nulls=self.nulls,
            unmapped=tuple(name for place, name in enumerate(columns) if place not in taken),
            columns=tuple(columns),
        )

    def _fields_in(self, find: _Finder) -> Mapping[str, str]:
        """Return the fields that are filled, with their columns."""
        if self.fields is not None:
            return self.fields
        return {name: name for name in FIELDS if name == "email" or find.has(name)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A mapping to the columns of one source: places instead of names.

    :param fields: the place of the column of each field that is filled.
    :param custom_fields: the place of the column of each custom field, ordered by name.
    :param tags: the place of their column, or the tags of all contacts.
    :param types: what to make of the values of a column, by its place.
    :param json_at: the places of columns that hold JSON.
    :param unmapped: the names of columns that are not sent.
    :param columns: the names of all columns.
    """

    fields: Mapping[str, int]
    custom_fields: Mapping[str, int]
    tags: int | tuple[str, ...]
    types: Mapping[int, ValueType]
    json_at: frozenset[int]
    nulls: Literal["send", "omit"]
    unmapped: tuple[str, ...]
    columns: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """Return plain JSON that differs if the same row would be sent in another form; for the ledger."""
        spelled = {place: name.casefold() for place, name in enumerate(self.columns)}
        is_column = isinstance(self.tags, int)
        used = {*self.fields.values(), *self.custom_fields.values(), *([self.tags] if is_column else [])}
        return {
            "fields": {name: spelled[place] for name, place in sorted(self.fields.items())},
            "custom_fields": list(self.custom_fields),
            "tags": spelled[self.tags] if isinstance(self.tags, int) else list(self.tags),
            "types": {spelled[place]: kind for place, kind in sorted(self.types.items()) if place in used},
            "json_columns": sorted(spelled[place] for place in self.json_at & used),
            "nulls": self.nulls,
        }


class _Finder:
    """Finds columns by name, without regard to case where that is clear."""

    def __init__(self, columns: Sequence[str], what: str, *, may_be_record: bool) -> None:
        self._columns = columns
        self._what = what
        self._may_be_record = may_be_record
        self._places: dict[str, list[int]] = {}
        for place, name in enumerate(columns):
            self._places.setdefault(name.casefold(), []).append(place)

    def has(self, name: str) -> bool:
        """Return whether there is a column of this name."""
        return name.casefold() in self._places

    def __call__(self, name: str, parameter: str) -> int:
        places = self._places.get(name.casefold(), [])
        exact = [place for place in places if self._columns[place] == name]
        found = exact if len(exact) == 1 else places
        if not found:
            names = found_names(self._columns, may_be_record=self._may_be_record)
            raise MeisaInputError(
                f"{self._what} has no column {shown_name(name)!r}; {names}. Nothing was sent. Correct {parameter}."
            )
        if len(found) > 1:
            raise MeisaInputError(
                f"{self._what} has {len(found)} columns of the name {shown_name(name)!r}. Nothing was sent. Rename all "
                "but one."
            )
        return found[0]


def _fixed_tags(tags: Sequence[str] | str | None) -> tuple[str, ...]:
    """Return the tags that all contacts get, as they are sent."""
    return tuple(tags_of(list(tags)) or ()) if tags and not isinstance(tags, str) else ()


def _check_fields(fields: object) -> None:
    if not isinstance(fields, Mapping):
        raise MeisaInputError(
            f"fields must be a dict of a contact's fields and their columns, not {kind_of(fields)}."
        )
    for name, column in fields.items():
        check_choice("fields' key", name, FIELDS)
        check_text(f"fields[{name!r}]", column)
    if "email" not in fields:
        raise MeisaInputError(
            "fields has no 'email': Meisa needs the address of each contact. Name its column."
        )


def _check_once(name: str, columns: Sequence[str]) -> None:
    """See that no column is there twice: names match without regard to case."""
    seen = set[str]()
    for column in columns:
        if column.casefold() in seen:
            raise MeisaInputError(
                f"{name} has {shown_name(column)!r} twice: names match without regard to case. Keep one of them."
            )
        seen.add(column.casefold())
