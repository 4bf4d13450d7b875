"""The records in a file, for the commands that change a ledger."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.columns import column_index
from airflow_provider_meisa.bulk.ledger import Ledger, State
from airflow_provider_meisa.bulk.rows import Rows
from airflow_provider_meisa.cli.run import addresses
from airflow_provider_meisa.jobs.addresses import check
from airflow_provider_meisa.jobs.sync_contacts.values import BadValueError, text_of_id
from airflow_provider_meisa.operators.location import locate
from airflow_provider_meisa.transfers.sources.files import format_of, read_rows

ADDRESS = "address"
STANDARD_INPUT = "-"

_CHUNK = 1_000


@dataclass(slots=True)
class Selection:
    """The records of a file that a command changes.

    :param hashes: their hashes.
    :param rows: the number of rows in the file.
    :param invalid: the number of rows without a record id.
    """

    hashes: set[int] = field(default_factory=set)
    rows: int = 0
    invalid: int = 0

    @property
    def valid(self) -> int:
        """Return the number of rows with a record id."""
        return self.rows - self.invalid


def values_of(options: Namespace, kind: str) -> Iterator[object]:
    """Read the addresses or ids in a file, or on standard input.

    :param kind: what the record id is made of. For ids, the column has its name unless ``--column`` names another.
    :raises MeisaError: if the file cannot be read.
    """
    if options.path == STANDARD_INPUT:
        lines = {"path": "/dev/stdin", "format": options.format or "lines"}
        options = Namespace(**{**vars(options), **lines})
    place = locate(options.path)
    if kind == ADDRESS or format_of(place.name, options.format) == "lines":
        return addresses(options)
    wanted = options.column
    if wanted is None:
        wanted = kind.removeprefix("column ").partition(",")[0]
    rows = read_rows(
        place,
        file_format=options.format,
        email_column=str(wanted),
        encoding=options.encoding,
        delimiter=options.delimiter,
        quoting=options.quoting,
    )
    return _ids_in(rows, wanted)


def _ids_in(found: Iterable[Rows | Mapping[str, object]], wanted: str | int) -> Iterator[object]:
    places: dict[tuple[str, ...], int] = {}
    for each in found:
        names = tuple(each.columns if isinstance(each, Rows) else each)
        if names not in places:
            places[names] = column_index(
                names, wanted, source="The file", may_be_record=True, parameter="--column"
            )
        rows = each.rows if isinstance(each, Rows) else [tuple(each.values())]
        for row in rows:
            yield row[places[names]]


def select(
    ledger: Ledger,
    values: Iterable[object],
    wants: Callable[[State | None], bool],
    *,
    may_be_invalid: bool = True,
) -> Selection:
    """Find the records of a file.

    :param values: a value for each row.
    :param wants: whether a record is selected, by its state in the ledger.
    :param may_be_invalid: whether rows without a record id are counted; else there must be none.
    :raises MeisaError: if the file cannot be read, or rows have no record id.
    """
    ids_of = _READERS.get(ledger.subject["record_id"], _ids)
    found = Selection()
    rest = iter(values)
    while chunk := [ids_of(value) for value in islice(rest, _CHUNK)]:
        found.rows += len(chunk)
        found.invalid += chunk.count(())
        ids = [record_id for several in chunk for record_id in several]
        entries = zip(ledger.hash_records(ids), ledger.known_all(ids), strict=True)
        found.hashes.update(record_hash for record_hash, entry in entries if wants(entry and entry.state))
    if not found.rows:
        raise MeisaInputError(
            "Nothing was written: the file has no rows or, if it is an outcomes file, no enrolled contacts."
        )
    if found.invalid == found.rows or (found.invalid and not may_be_invalid):
        raise MeisaInputError(
            f"Rows without a valid record id, which is made of {ledger.subject['record_id']}: {found.invalid:,} of "
            f"{found.rows:,}. Nothing was written. Correct the file, or set --column."
        )
    return found


def _ids(value: object) -> tuple[str, ...]:
    try:
        return (text_of_id(value),)
    except BadValueError:
        return ()


def _address(value: object) -> tuple[str, ...]:
    address = check(value)
    return (address.lower(),) if isinstance(address, str) else ()


def _id_or_address(value: object) -> tuple[str, ...]:
    """Return both, because an id may look like an address."""
    return tuple({*_ids(value), *_address(value)})


_READERS: dict[str, Callable[[object], tuple[str, ...]]] = {
    ADDRESS: _address,
    "external_id, else address": _id_or_address,
}
