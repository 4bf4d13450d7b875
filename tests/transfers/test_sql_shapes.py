"""Columns of a query: which one holds the addresses, and what may be in it."""

import pytest

from tests.support.people import people
from tests.support.requests_sent import times_enrolled, writes

PEOPLE = people(2500, domain="private.example")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id, email FROM contacts",
        "SELECT email, name FROM contacts",
        'SELECT id, name, email AS "E-Mail", email AS EMAIL FROM contacts',
        "SELECT email AS address FROM contacts",
        "SELECT lower(email) FROM contacts",
        "SELECT * FROM contacts ORDER BY id",
    ],
)
def test_the_column_of_addresses_is_found(enroll_query, warehouse, meisa_sandbox, sql):
    warehouse.fill(PEOPLE[:3])
    ran = enroll_query(sql)
    assert ran.state == "success"
    assert ran.xcom("task")["counts"]["enrolled"] == 3
    assert times_enrolled(meisa_sandbox) == dict.fromkeys(PEOPLE[:3], 1)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT id, name FROM contacts", "no column 'email' for email_column; it has: id, name"),
        ("SELECT email AS work, email AS home FROM contacts", "no column 'email'"),
        ("SELECT email, email FROM contacts", "2 columns 'email' for email_column"),
        ("SELECT id FROM contacts", "The query's column id, row 1: a value of type int, not text"),
        (
            "SELECT email, id FROM contacts WHERE id < 0 UNION ALL SELECT 1.5, 2",
            "column email, row 1: a value of type float",
        ),
        (
            "SELECT email FROM (SELECT email, id FROM contacts UNION ALL SELECT 17, 9999) ORDER BY id",
            "column email, row 2,501: a value of type int",
        ),
        ("SELECT x'FFFE' AS email", "column email, row 1: bytes that are not UTF-8"),
    ],
)
@pytest.mark.parametrize("preview", [False, True])
def test_a_wrong_column_fails_before_the_first_request(
    enroll_query, warehouse, meisa_sandbox, everything_written, staging, sql, message, preview
):
    warehouse.fill(PEOPLE)
    assert enroll_query(sql, preview=preview, skip_suppressed=True).state == "failed"
    assert writes(meisa_sandbox) == []
    assert staging() == []
    written = everything_written()
    assert message in written
    assert "private.example" not in written


def test_a_column_of_nulls_fails(enroll_query, warehouse, meisa_sandbox):
    warehouse.fill([None, None])
    ran = enroll_query("SELECT email FROM contacts")
    assert ran.state == "failed"
    assert ran.xcom("task")["counts"]["invalid"] == 2
    assert enroll_query("SELECT email FROM contacts", on_nothing_valid="success").state == "success"


def test_an_email_column_that_is_given_still_counts(enroll_query, warehouse, meisa_sandbox):
    warehouse.fill(PEOPLE[:3])
    assert enroll_query("SELECT email, 'x' || email FROM contacts", email_column=1).state == "success"
    assert times_enrolled(meisa_sandbox) == {f"x{one}": 1 for one in PEOPLE[:3]}


@pytest.fixture(params=["psycopg2", "psycopg"])
def driver(request, monkeypatch):
    monkeypatch.setattr("airflow.providers.postgres.hooks.postgres.USE_PSYCOPG3", request.param == "psycopg")
    return request.param


@pytest.mark.parametrize(
    "column",
    ["convert_to(email, 'UTF8')", "email::varchar", "(to_json(email) #>> '{}')", "(ARRAY[email])[1]"],
)
def test_text_in_another_form_is_enrolled(enroll_query, postgres, driver, meisa_sandbox, column):
    postgres("CREATE TABLE contacts AS SELECT 1 AS id, %s AS email", [PEOPLE[0]])
    assert enroll_query(f"SELECT id, {column} AS email FROM contacts", "postgres").state == "success"
    assert times_enrolled(meisa_sandbox) == {PEOPLE[0]: 1}


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("ARRAY[email]", "type list, not text. Give each address a row of its own"),
        ("ARRAY[email, email]", "type list, not text"),
        ("json_build_object('at', email)", "type dict, not text. Take the address out of it"),
        ("jsonb_build_array(email)", "type list, not text"),
        ("convert_to('é', 'LATIN1')", "bytes that are not UTF-8"),
        ("now()", "type datetime, not text"),
    ],
)
def test_a_column_of_another_type_fails(
    enroll_query, postgres, driver, meisa_sandbox, everything_written, column, message
):
    postgres("CREATE TABLE contacts AS SELECT 1 AS id, %s AS email", [PEOPLE[0]])
    assert enroll_query(f"SELECT id, {column} AS email FROM contacts", "postgres").state == "failed"
    assert writes(meisa_sandbox) == []
    written = everything_written()
    assert "The query's column email, row 1: " in written
    assert message in written
    assert "private.example" not in written


def test_rows_as_dictionaries_are_enrolled(enroll_query, postgres, driver, meisa_sandbox):
    postgres("CREATE TABLE contacts AS SELECT 1 AS id, %s AS email", [PEOPLE[0]])
    postgres.connect(cursor="dictcursor" if driver == "psycopg" else "realdictcursor")
    assert enroll_query("SELECT id, email FROM contacts", "postgres").state == "success"
    assert times_enrolled(meisa_sandbox) == {PEOPLE[0]: 1}
