"""Queries that a program wrote: long, deep, and with an end of their own."""

from __future__ import annotations

import re

import pytest

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.transfers.sources.sql import one_statement
from tests.support.people import people
from tests.support.requests_sent import addresses_sent, writes

PEOPLE = people(20)
QUERY = "SELECT email FROM contacts"


def listed(values):
    return f"{QUERY} WHERE id IN ({', '.join(map(str, values))}) ORDER BY id"


LONG = {
    "4,000 literals": listed(range(4_000)),
    "30,000 literals": listed(range(30_000)),
    "texts": f"{QUERY} WHERE email IN ({', '.join(repr(one) for one in PEOPLE * 250)}) ORDER BY id",
    "rows": f"{QUERY} WHERE (id, 1) IN (VALUES {', '.join(f'({n}, 1)' for n in range(5_000))}) ORDER BY id",
    "joined by OR": f"{QUERY} WHERE {' OR '.join(f'id = {n}' for n in range(900))} ORDER BY id",
    "many columns": f"SELECT email, {', '.join(f'{n} AS c{n}' for n in range(1_500))} FROM contacts ORDER BY id",
    "long comment": f"-- {'; drop ' * 50_000}\n{QUERY} ORDER BY id",
}


@pytest.mark.parametrize("name", LONG)
def test_long_query_is_enrolled(enroll_query, warehouse, meisa_sandbox, name):
    warehouse.fill(PEOPLE)
    assert enroll_query(LONG[name]).state == "success"
    assert addresses_sent(meisa_sandbox) == PEOPLE


DEEP = {
    "parentheses": f"{QUERY} WHERE {'(' * 150}id{')' * 150} > 0",
    "many parentheses": f"{QUERY} WHERE {'(' * 1_000}id{')' * 1_000} > 0",
    "queries": f"{'SELECT email FROM (' * 120}{QUERY}{') AS deeper' * 120}",
    "cases": f"{QUERY} WHERE {'CASE WHEN id > 0 THEN ' * 120}1{' END' * 120} = 1",
    "calls": f"SELECT {'lower(' * 300}email{')' * 300} AS email FROM contacts",
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_query_is_enrolled(enroll_query, postgres, meisa_sandbox, name):
    postgres("CREATE TABLE contacts AS SELECT 1 AS id, %s AS email", [PEOPLE[0]])
    assert enroll_query(DEEP[name], "postgres").state == "success"
    assert addresses_sent(meisa_sandbox) == PEOPLE[:1]


@pytest.mark.parametrize(
    "end", [";", ";;", "; ;\n;", ";\n-- done", "; /* done */ ;", " -- done\n;", "-- done;", ";\n\n", " ;\t"]
)
@pytest.mark.parametrize("begin", ["", "-- contacts; all\n", "/* ; */ ", ";", "\n;-- none\n;"])
def test_semicolons_around_a_query_are_left_out(begin, end):
    statement = one_statement(f"{begin}{QUERY} WHERE name <> ';'{end}")
    assert re.sub(r"--.*|/\*.*?\*/", "", statement).strip() == f"{QUERY} WHERE name <> ';'"


@pytest.mark.parametrize("end", [";;", "; -- done", ";\n;\n"])
def test_query_with_semicolons_is_enrolled(enroll_query, postgres, meisa_sandbox, end):
    postgres("CREATE TABLE contacts AS SELECT 1 AS id, %s AS email", [PEOPLE[0]])
    assert enroll_query(QUERY + end, "postgres").state == "success"
    assert addresses_sent(meisa_sandbox) == PEOPLE[:1]


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("", 0),
        (";;", 0),
        ("-- only\n/* words */;", 0),
        (f"{QUERY};;{QUERY};", 2),
        (f"{listed(range(4_000))};{QUERY}", 2),
    ],
)
def test_other_than_one_statement_is_refused(sql, count):
    with pytest.raises(MeisaInputError, match=f"sql holds {count} statements"):
        one_statement(sql)


def test_several_long_statements_are_not_retried(enroll_query, warehouse, meisa_sandbox, everything_written):
    warehouse.fill(PEOPLE)
    assert enroll_query(f"{listed(range(4_000))}; DELETE FROM contacts", retries=1).state == "failed"
    assert writes(meisa_sandbox) == []
    assert "sql holds 2 statements" in everything_written()
    assert enroll_query(QUERY).counts() == {"enrolled": 20}
