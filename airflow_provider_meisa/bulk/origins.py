"""The origin of each outcome: the number of its row in the source, and the values that the outcomes file keeps."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_meisa.api.checks import kind_of
from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.columns import column_index, columns_named
from airflow_provider_meisa.bulk.rows import Rows

Origin = Sequence[Any]
"""The number of the row, from 1, and its kept values: plain JSON. Never in a log, a message or XCom."""


class Origins:
    """Numbers the rows of a source, and takes the values of some of their columns.

    A job gives one result for each row, in the order of the source. So the rows that it has read and not given back yet
    are a queue.

    :param keep: the names of these columns, in any case.
    """

    def __init__(self, keep: Sequence[str] = ()) -> None:
        self._keep = keep
        self._number = 0
        self._ahead: deque[tuple[Any, ...]] = deque()
        self._places: dict[tuple[str, ...], list[int | None]] = {}
        self._missing = set(keep)

    def reading(self, source: Iterable[object]) -> Iterable[object]:
        """Return the source, whose columns are looked for while it is read.

        :raises MeisaInputError: while reading, if a column is missing, or the source has no columns with names.
        """
        return self._noting(source) if self._keep else source

    def take(self) -> Origin:
        """Return the origin of the next result of the job."""
        self._number += 1
        return (self._number, *self._ahead.popleft()) if self._keep else (self._number,)

    def _noting(self, source: Iterable[object]) -> Iterator[object]:
        names: tuple[str, ...] = ()
        for found in source:
            if isinstance(found, Rows):
                names = tuple(map(str, found.columns))
                places = self._places_in(names, may_lack=False)
                self._ahead.extend(tuple(_plain(row[place]) for place in places) for row in found.rows)
            elif isinstance(found, Mapping):
                names, values = tuple(map(str, found)), tuple(found.values())
                places = self._places_in(names, may_lack=True)
                self._ahead.append(
                    tuple(None if place is None else _plain(values[place]) for place in places)
                )
            else:
                raise MeisaInputError(
                    f"keep needs rows with named columns, and found {kind_of(found)}. Nothing was sent. Pass records "
                    "or a table, or remove keep."
                )
            yield found
        if names and self._missing:
            self._place_of(min(self._missing), names)

    def _places_in(self, names: tuple[str, ...], *, may_lack: bool) -> list[Any]:
        """Return the place of each column; records may lack one that others have."""
        if names not in self._places:
            self._places[names] = [
                None if may_lack and not columns_named(names, name) else self._place_of(name, names)
                for name in self._keep
            ]
            found = zip(self._keep, self._places[names], strict=True)
            self._missing -= {name for name, place in found if place is not None}
        return self._places[names]

    def _place_of(self, name: str, names: Sequence[str]) -> int:
        return column_index(names, name, source="The source", may_be_record=True, parameter="keep")


def _plain(value: object) -> Any:
    """Return a value of a source as JSON: texts, numbers and booleans as they are, anything else as its text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        # pandas has ids as 42.0 in a column with NULL.
        return int(value) if value.is_integer() else value if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return json.dumps(value, default=str) if isinstance(value, Mapping | list | tuple) else str(value)
