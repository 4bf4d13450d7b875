"""Sources that are not a plain list: some can be read without guessing, the others must stop the task."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from tests.chaos.cases import FAULTS

_PAGE = 7


def _pages(raws):
    return [raws[first : first + _PAGE] for first in range(0, len(raws), _PAGE)]


def _frame(raws, column):
    return pd.DataFrame({"id": range(len(raws)), column: raws})


READABLE = {
    "bulk": [
        lambda raws: {"emails": _pages(raws)},
        lambda raws: {"emails": [[(raw,) for raw in page] for page in _pages(raws)]},
        lambda raws: {"emails": [raw.encode() for raw in raws]},
        lambda raws: {"emails": _frame(raws, "Email").to_dict("records")},
        lambda raws: {"emails": _frame(raws, "mail"), "email_column": "mail"},
        lambda raws: {"emails": pa.table({"id": raws, "email": raws}).to_batches(max_chunksize=_PAGE)},
        lambda raws: {"emails": list(enumerate(raws)), "email_column": 1},
    ],
    "sql": [
        "SELECT id, email FROM contacts ORDER BY id",
        "SELECT email AS EMAIL, id FROM contacts ORDER BY id",
        "SELECT id, CAST(email AS BLOB) AS email FROM contacts ORDER BY id",
        "SELECT email AS address FROM contacts ORDER BY id",
    ],
}
"""What can be read: parameters made of the values, or the query that finds them."""

WRONG = {
    "bulk": [
        lambda raws: {"emails": [*raws, 17]},
        lambda raws: {"emails": list(enumerate(raws))},
        lambda raws: {"emails": [["Ada", raw] for raw in raws]},
        lambda raws: {"emails": {"email": raws}},
        lambda raws: {"emails": _frame(raws, "mail").to_dict("records")},
        lambda raws: {"emails": _frame(raws, "email")[["id"]]},
        lambda raws: {"emails": [set(raws)]},
    ],
    "sql": [
        "SELECT id FROM contacts ORDER BY id",
        "SELECT id, email AS mail FROM contacts ORDER BY id",
        "SELECT email AS work, email AS home FROM contacts ORDER BY id",
        "SELECT iif(id < (SELECT max(id) FROM contacts), email, 17) AS email FROM contacts ORDER BY id",
    ],
}
"""Shapes that must stop the task."""


def is_readable(case):
    """Return whether the source of a run can be read without guessing."""
    return case.scenario != "wrong shape" or not _number(case) % 2


def shape_of(case):
    """Return the shape of a run's source: each occurs with some fault."""
    shapes = (READABLE if is_readable(case) else WRONG)[case.operator]
    return shapes[_number(case) // 2 % len(shapes)]


def _number(case):
    return list(FAULTS).index(case.fault)
