"""The shapes of an input, and the errors for all others; no Airflow."""

from __future__ import annotations

import csv
import io
import sqlite3
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.input_shapes import AddressReader, addresses_from

ADA, BOB, EVE, MAX = PEOPLE = [f"hush{name}@private.example" for name in ("ada", "bob", "eve", "max")]
FRAME = pd.DataFrame({"id": [1, 2], "email": [ADA, BOB]})
TABLE = pa.table({"id": [1, 2], "email": [ADA, BOB]})
POLARS = pl.DataFrame({"id": [1, 2], "Email": [ADA, BOB]})


class Row(NamedTuple):
    id: object
    email: str


class Chosen(StrEnum):
    ADA = ADA


class DriversRow:
    """A row as some drivers give it: neither a tuple nor a sequence by its class."""

    def __init__(self, *values):
        self._values = values

    def __getitem__(self, index):
        return self._values[index]

    def __len__(self):
        return len(self._values)

    def __iter__(self):
        return iter(self._values)


class Frame:
    """A table whose columns are expressions, as Spark's are."""

    columns = ("id", "email")

    def __getitem__(self, name):
        return Column()


class Column:
    def __iter__(self):
        raise TypeError("a column is not iterable")


def sqlite_rows(sql):
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def read(value, email_column=None):
    return list(AddressReader(email_column).read(addresses_from(value)))


def refused(value, email_column=None):
    with pytest.raises(MeisaInputError) as raised:
        read(value, email_column)
    message = str(raised.value)
    assert "hush" not in message
    assert "private.example" not in message
    return message


TWO = {
    "a list": [ADA, BOB],
    "a tuple": (ADA, BOB),
    "lists of one": [[ADA], [BOB]],
    "one list": [[ADA, BOB]],
    "a text and a list": [ADA, [BOB]],
    "lists in lists": [[[ADA]], [[BOB]]],
    "generators in a generator": ((one for one in page) for page in ([ADA], [BOB])),
    "the text of lists": f"[['{ADA}'], ['{BOB}']]",
    "the text of records": f'[{{"email": "{ADA}", "id": 1}}, {{"email": "{BOB}", "id": 2}}]',
    "results of statements": [[(ADA,)], [], [(BOB,)]],
    "rows of one column": [(ADA,), (BOB,)],
    "rows of a driver": [DriversRow(ADA), DriversRow(BOB)],
    "named rows": [Row(1, ADA), Row(2, BOB)],
    "rows of SQLite": sqlite_rows(f"SELECT 1 AS id, '{ADA}' AS email UNION ALL SELECT 2, '{BOB}'"),
    "records": FRAME.to_dict("records"),
    "records of one key": [{"mail": ADA}, {"mail": BOB}],
    "records in another case": [{"id": 1, "EMail": ADA}, {"id": 2, "EMAIL": BOB}],
    "records by page": [[{"id": 1, "email": ADA}], [{"id": 2, "email": BOB}]],
    "records of a CSV": csv.DictReader(io.StringIO(f"id,email\n1,{ADA}\n2,{BOB}\n")),
    "a DataFrame": FRAME,
    "DataFrames": [FRAME[:1], FRAME[1:]],
    "a Series": FRAME["email"],
    "a categorical Series": FRAME["email"].astype("category"),
    "itertuples": FRAME.itertuples(),
    "a record array": FRAME.to_records(),
    "rows of a record array": list(FRAME.to_records()),
    "a polars DataFrame": POLARS,
    "a polars Series": POLARS["Email"],
    "polars rows": POLARS.rows(named=True),
    "an arrow table": TABLE,
    "a record batch": TABLE.to_batches()[0],
    "record batches": TABLE.to_batches(max_chunksize=1),
    "a record batch reader": TABLE.to_reader(),
    "an arrow column": TABLE["email"],
    "arrow scalars": list(TABLE["email"]),
    "arrow structs": TABLE.to_struct_array(),
    "arrow dictionaries": pa.table({"email": TABLE["email"].dictionary_encode()}),
    "arrow binaries": pa.table({"email": [ADA.encode(), BOB.encode()]}),
    "a numpy array": np.array([ADA, BOB]),
    "numpy texts": list(np.array([ADA, BOB])),
    "numpy bytes": np.array([ADA.encode(), BOB.encode()]),
    "a numpy column": np.array([[ADA], [BOB]]),
    "numpy pages": np.array_split(np.array([ADA, BOB]), 2),
    "bytes": [ADA.encode(), BOB.encode()],
    "byte arrays": [bytearray(ADA.encode()), memoryview(BOB.encode())],
    "a member of an enumeration": [Chosen.ADA, BOB],
}


@pytest.mark.parametrize("shape", TWO)
def test_what_needs_no_guessing_is_read(shape):
    found = read(TWO[shape])
    assert found == [ADA, BOB]
    assert {type(one) for one in found} == {str}


@pytest.mark.parametrize(
    ("value", "column"),
    [
        ([(1, ADA), (2, BOB)], 1),
        ([[1, ADA], [2, BOB]], 1),
        ([["Ada", ADA], ["Bob", BOB]], 1),
        ([[[1, ADA]], [[2, BOB]]], 1),
        ([[1, ADA, ["vip"]], [2, BOB, []]], 1),
        (FRAME.to_numpy(), 1),
        (FRAME.to_numpy().tolist(), 1),
        (FRAME.rename(columns={"email": "mail"}), "Mail"),
        (FRAME.rename(columns={"email": "mail"}), 1),
        (pd.concat([FRAME, FRAME], axis=1), 3),
        (TABLE.rename_columns(["id", "mail"]), "mail"),
        (POLARS.rename({"Email": "mail"}), 1),
        ([{"work": ADA, "email": None}, {"email": MAX, "work": BOB}], "work"),
        ([Row(ADA, EVE), Row(BOB, MAX)], 0),
    ],
)
def test_email_column_chooses(value, column):
    assert read(value, column) == [ADA, BOB]


@pytest.mark.parametrize(
    "value",
    [
        [ADA, None],
        [ADA, float("nan")],
        [ADA, np.float32("nan")],
        [ADA, pd.NA],
        [ADA, pd.NaT],
        [(ADA,), (None,)],
        [{"email": ADA, "id": 1}, {"email": None, "id": 2}],
        [{"email": ADA, "id": 1}, {"id": 2}],
        pd.DataFrame({"email": [ADA, None]}),
        pd.DataFrame({"email": [ADA, None]}).to_dict("records"),
        pl.DataFrame({"email": [ADA, None]}),
        pa.table({"email": [ADA, None]}),
        list(pa.array([ADA, None])),
    ],
)
def test_a_missing_value_is_a_row_without_an_address(value):
    assert read(value) == [ADA, None]


@pytest.mark.parametrize(
    "value", [[], (), iter([]), [[], []], pd.DataFrame([]), pl.DataFrame({"email": []}), np.array([])]
)
def test_an_empty_input_stays_empty(value):
    assert read(value) == []


WRONG = {
    "a number": ([ADA, 17], "row 2: a value of type int, not text"),
    "a number late": ([ADA] * 5_000 + [17], "row 5,001: a value of type int"),
    "a decimal": ([Decimal(1)], "type Decimal"),
    "a date": ([datetime(2026, 1, 1, tzinfo=UTC)], "type datetime"),
    "an object": ([object()], "type object, not text. Pass the address alone"),
    "bytes that are not text": ([b"\xff\xfe"], "row 1: bytes that are not UTF-8. Decode them"),
    "rows": ([(ADA, BOB)], "a row of 2 columns without names. Pass the address alone, or set email_column"),
    "rows of a driver": ([DriversRow(1, ADA)], "a row of 2 columns"),
    "items": ({1: ADA}.items(), "a row of 2 columns"),
    "iterrows": (FRAME.iterrows(), "a row of 2 columns"),
    "numpy rows": (FRAME.to_numpy(), "a row of 2 columns"),
    "rows as lists": ([[1, ADA], [2, BOB]], "type int"),
    "rows of texts as lists": ([["Ada", ADA], ["Bob", BOB]], "2 lists of 2 texts each, which look like rows"),
    "rows of a CSV": (csv.reader(io.StringIO(f"id,email\n1,{ADA}\n")), "look like rows"),
    "a list in a row": ([[ADA, ["vip"]]], "type list, not text. Give each address a row of its own"),
    "a column of lists": (
        pl.DataFrame({"email": [[ADA], [BOB]]}),
        "row 1, column email: a value of type list",
    ),
    "a column of structs": (
        pl.DataFrame({"email": [{"at": ADA}]}),
        "type dict, not text. Take the address out",
    ),
    "a column of numbers": (FRAME[["id"]], "row 1, column id: a value of type int"),
    "no such column": (
        FRAME[["id"]].assign(mail=ADA),
        "no column 'email' for email_column; it has: id, mail",
    ),
    "two such columns": (pd.concat([FRAME, FRAME], axis=1), "2 columns 'email' for email_column"),
    "no such key": (
        [{"id": 1, "mail": ADA}],
        "emails has no column 'email' for email_column; it has: id, mail",
    ),
    "addresses as columns": (pd.DataFrame({ADA: [1], BOB: [2]}), "instead of names there is an address"),
    "content as a column": (pd.DataFrame({"Hush, Ada: +49 1": [1], "id": [2]}), "it has: …, id"),
    "a set": ({ADA}, "is a set, which has no order"),
    "a set in a list": ([{ADA, BOB}], "a set, which has no order"),
    "a dictionary": ({"email": [ADA]}, "is a dict; pass a list of addresses, or a list of records"),
    "one text": (ADA, "is a string"),
    "bytes": (ADA.encode(), "is a bytes"),
    "nothing": (None, "of type NoneType"),
    "one value of numpy": (np.array(ADA), "a ndarray that cannot be read here"),
    "a lazy table": (POLARS.lazy(), "a LazyFrame that cannot be read here. Pass a list of addresses"),
    "a table of expressions": (Frame(), "a Frame that cannot be read here"),
    "lists without end": (eval("[" * 12 + "'x'" + "]" * 12), "too deep to read. Flatten them"),
}


@pytest.mark.filterwarnings("ignore::polars.exceptions.PerformanceWarning")
@pytest.mark.parametrize("shape", WRONG)
def test_a_wrong_shape_is_named_with_its_remedy(shape):
    value, message = WRONG[shape]
    assert message in refused(value)


@pytest.mark.parametrize(
    ("value", "column", "message"),
    [
        (FRAME, "mail", "no column 'mail' for email_column; it has: id, email"),
        (FRAME, 2, "no column 2 for email_column; it has 2"),
        ([(1, ADA)], 2, "row 1 has no column 2 for email_column"),
        ([{"id": 1}], "email", "no column 'email' for email_column; it has: id"),
        ([(1, ADA)], "email", "a row of 2 columns without names"),
    ],
)
def test_an_email_column_that_is_missing_is_named(value, column, message):
    assert message in refused(value, column)


def test_pages_of_one_length_are_not_taken_for_rows():
    assert read([[ADA, BOB], [EVE, MAX]]) == PEOPLE
    assert read([[ADA, "broken"]]) == [ADA, "broken"]
    assert read([[ADA, "broken"], [BOB, MAX]]) == [ADA, "broken", BOB, MAX]


def test_lists_that_are_read_as_one_are_logged(caplog):
    caplog.set_level("INFO")
    read([[ADA, BOB], [EVE]])
    read([ADA, BOB])
    assert [record.getMessage() for record in caplog.records] == ["emails: 2 lists read as one of 3 rows"]


@given(st.lists(st.lists(st.sampled_from(PEOPLE), max_size=30), max_size=30))
def test_pages_hold_as_many_rows_as_their_sum(pages):
    assert read(pages) == [one for page in pages for one in page]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.sampled_from(PEOPLE),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.tuples(inner, inner)
            | st.dictionaries(st.sampled_from(["id", "email"]), inner, max_size=2)
        ),
        max_leaves=20,
    ).map(lambda value: [value])
)
def test_no_value_is_dropped_or_shown(value):
    """Whatever it is: every text is read, or the input is refused without its content."""
    try:
        found = read(value)
    except MeisaInputError as error:
        assert "hush" not in str(error)  # noqa: PT017 (both ends are fine)
    else:
        assert {type(one) for one in found} <= {str, type(None)}
