"""Addresses with the id of their record: a contact whose address changes stays the same contact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from airflow_provider_meisa.api.checks import kind_of
from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.columns import address_column, columns_named
from airflow_provider_meisa.bulk.record_ids import FirstOfEach, RecordIds
from airflow_provider_meisa.bulk.rows import Rows
from airflow_provider_meisa.jobs.addresses import check
from airflow_provider_meisa.jobs.sync_contacts.values import BadValueError, text_of_id

EMAIL, ID = "email", "id"


def read_records(source: Iterable[object], email_column: str | int | None, id_column: str) -> Iterator[Any]:
    """Read rows or records: each becomes ``{"email", "id"}``, or the outcome ``invalid``.

    :param email_column: the column of the address; ``None`` for the one named ``email``.
    :param id_column: the column of the record id.
    :raises MeisaInputError: if a column is missing, or an address is not text.
    """
    places: dict[tuple[str, ...], tuple[int, int]] = {}
    number = count(1)
    for found in source:
        names, rows = _table(found)
        if names not in places:
            places[names] = _places(names, email_column, id_column)
        email, record_id = places[names]
        for row in rows:
            yield _item(row[email], row[record_id], next(number))


def read_emails(source: Iterable[object], email_column: str | int | None) -> Iterator[object]:
    """Read the addresses of rows or records, unchecked.

    :param email_column: their column; ``None`` for the one named ``email``.
    :raises MeisaInputError: if the column is missing.
    """
    places: dict[tuple[str, ...], int] = {}
    for found in source:
        names, rows = _table(found)
        if names not in places:
            places[names] = _email_place(names, email_column)
        place = places[names]
        yield from (row[place] for row in rows)


def _table(found: object) -> tuple[tuple[str, ...], Iterable[Sequence[object]]]:
    if isinstance(found, Rows):
        return tuple(map(str, found.columns)), found.rows
    if isinstance(found, Mapping):
        return tuple(map(str, found)), [tuple(found.values())]
    raise MeisaInputError(f"record_id needs rows with named columns, and found {kind_of(found)}.")


def _places(names: Sequence[str], email_column: str | int | None, id_column: str) -> tuple[int, int]:
    email = _email_place(names, email_column)
    found = columns_named(names, id_column)
    if len(found) != 1:
        number = f"{len(found)} columns" if found else "no column"
        raise MeisaInputError(
            f"The source has {number} {id_column!r} for record_id. Nothing was sent. Name one of its columns."
        )
    return email, found[0]


def _email_place(names: Sequence[str], email_column: str | int | None) -> int:
    wanted = "email" if email_column is None else email_column
    return address_column(names, wanted, source="The source", may_be_record=True)


def _item(email: object, record_id: object, number: int) -> dict[str, str] | Outcome:
    address = check(email, number)
    if isinstance(address, Outcome):
        return address
    try:
        return {EMAIL: address, ID: text_of_id(record_id)}
    except BadValueError as error:
        return Outcome(address, OutcomeStatus.INVALID, f"record id: {error}")


class OneOfEachRecord(FirstOfEach):
    """Keeps the first row of each record, and sends each address once."""

    def __init__(self, job: Any) -> None:
        super().__init__(job)
        self._addresses = RecordIds()

    def clash(self, item: Any) -> Outcome | None:
        """Return the outcome ``duplicate`` if another record with the same address came before."""
        if self._addresses.add(item[EMAIL].lower()):
            return None
        return Outcome(item[EMAIL], OutcomeStatus.DUPLICATE, "another record has this address")
