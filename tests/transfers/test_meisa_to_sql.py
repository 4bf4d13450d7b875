"""Who may not be mailed, and the outcome of each contact, in tables of real databases."""

from __future__ import annotations

import gzip
import json
import sqlite3
import sys
import threading
from collections import Counter
from contextlib import closing
from types import SimpleNamespace
from typing import ClassVar

import pytest
from airflow.providers.common.compat.sdk import BaseHook
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.providers.postgres.hooks import postgres

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from airflow_provider_meisa.transfers.meisa_to_sql import (
    MeisaOutcomesToSqlOperator,
    MeisaUnsubscribedToSqlOperator,
)
from tests.support.people import people

LISTED = {"bounced@example.com", "complained@example.com", "unsubscribed@example.com"}
LINES = [
    {"address": "ada@example.com", "status": "enrolled", "reason": "", "batch": 1},
    {"address": "=1+1@example.com", "status": "suppressed", "reason": "unsubscribed, says Meisa", "batch": 1},
    {"address": 'a "b" é', "status": "invalid", "reason": "no @", "batch": 2},
]


class Warehouse:
    """A database with a connection `warehouse`, from which a test reads."""

    def __init__(self, connect):
        self.connect = connect

    def __call__(self, sql):
        with closing(self.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(sql)
            found = cursor.fetchall() if cursor.description else None
            connection.commit()
            return found

    def emails(self, table="unsubscribed"):
        return sorted(email for (email,) in self(f"SELECT email FROM {table}"))

    def outcomes(self, columns="address, status, reason, batch"):
        return self(f"SELECT {columns} FROM outcomes ORDER BY load_id, line_number")


class DuckDbHook(DbApiHook):
    """A hook as `airflow-provider-duckdb` has it."""

    conn_name_attr = "duckdb_conn_id"
    conn_type = "duckdb"
    placeholder = "?"
    path = ":memory:"
    connection_extra: ClassVar = {}

    def get_conn(self):
        return pytest.importorskip("duckdb").connect(self.path)

    def get_uri(self):
        return "duckdb://"


@pytest.fixture(params=["sqlite", "psycopg", "psycopg2", "duckdb"])
def database(request, tmp_path, monkeypatch, postgres_port):
    """An empty database, by each driver."""
    if request.param == "sqlite":
        path = tmp_path / "warehouse.db"
        fields = {"conn_type": "sqlite", "host": str(path)}
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(fields))
        yield Warehouse(lambda: sqlite3.connect(path, timeout=0.2))
    elif request.param == "duckdb":
        path, others = str(tmp_path / "warehouse.duckdb"), BaseHook.get_connection
        monkeypatch.setattr(DuckDbHook, "path", path)
        lake = SimpleNamespace(conn_type="duckdb", get_hook=DuckDbHook)
        found = staticmethod(lambda name: lake if name == "warehouse" else others(name))
        monkeypatch.setattr(BaseHook, "get_connection", found)
        yield Warehouse(lambda: pytest.importorskip("duckdb").connect(path))
    else:
        psycopg2 = pytest.importorskip("psycopg2")
        place = {"host": "127.0.0.1", "port": postgres_port}
        fields = {"conn_type": "postgres", "login": "meisa", "schema": "postgres", **place}
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(fields))
        monkeypatch.setattr(postgres, "USE_PSYCOPG3", request.param == "psycopg")
        warehouse = Warehouse(lambda: psycopg2.connect(user="meisa", dbname="postgres", **place))
        yield warehouse
        warehouse("DROP TABLE IF EXISTS unsubscribed, outcomes")


@pytest.fixture
def unsubscribe(run_task):
    """Write Meisa's list into the table `unsubscribed`."""

    def run(**arguments):
        given = {"table": "unsubscribed", "conn_id": "warehouse", "create_table": True, **arguments}
        return run_task(MeisaUnsubscribedToSqlOperator, **given)

    return run


@pytest.fixture
def load(run_task):
    """Load a file into the table `outcomes`."""

    def run(path, **arguments):
        given = {"table": "outcomes", "conn_id": "warehouse", "create_table": True, **arguments}
        return run_task(MeisaOutcomesToSqlOperator, outcomes_path=str(path), **given)

    return run


@pytest.fixture
def outcomes(file):
    """Write lines into a file as a run does that keeps nothing."""

    def write(lines=LINES, name="outcomes.jsonl"):
        return file(name, "".join(json.dumps(line) + "\n" for line in lines))

    return write


# Who may not be mailed


def test_list_of_unsubscribed_is_written(unsubscribe, database, meisa_sandbox):
    ran = unsubscribe()
    assert set(database.emails()) == LISTED
    assert {as_of for (as_of,) in database("SELECT as_of FROM unsubscribed")} == {ran.xcom()["as_of"]}
    assert (ran.xcom()["listed"], ran.xcom()["inserted"]) == (len(LISTED), len(LISTED))


def test_replace_leaves_what_meisa_lists(unsubscribe, database, meisa_sandbox):
    unsubscribe()
    database("INSERT INTO unsubscribed (email) VALUES ('gone@example.com')")
    meisa_sandbox.put_contacts({"new@example.com": "unsubscribed", "bounced@example.com": "subscribed"})
    unsubscribe()
    assert set(database.emails()) == LISTED - {"bounced@example.com"} | {"new@example.com"}


def test_merge_adds_and_keeps_the_rows(unsubscribe, database, meisa_sandbox):
    database("CREATE TABLE unsubscribed (email VARCHAR(99), as_of VARCHAR(99), note VARCHAR(99))")
    database("INSERT INTO unsubscribed VALUES ('own@example.com', 'x', 'ours')")
    database("INSERT INTO unsubscribed VALUES ('Bounced@Example.com', 'x', 'ours')")
    assert unsubscribe(mode="merge").xcom()["inserted"] == 2
    assert unsubscribe(mode="merge").xcom()["inserted"] == 0
    found = database("SELECT email, note FROM unsubscribed ORDER BY note, email")
    assert sorted(found, key=str) == sorted(
        [
            ("own@example.com", "ours"),
            ("Bounced@Example.com", "ours"),
            ("complained@example.com", None),
            ("unsubscribed@example.com", None),
        ],
        key=str,
    )


def test_failed_write_changes_nothing(unsubscribe, database, everything_written):
    database("CREATE TABLE unsubscribed (email VARCHAR(99) CHECK (email NOT LIKE 'uns%'), as_of VARCHAR(99))")
    database("INSERT INTO unsubscribed VALUES ('before@example.com', 'x')")
    assert unsubscribe().state == "failed"
    assert database.emails() == ["before@example.com"]
    written = everything_written()
    assert "Rows cannot be inserted into the table unsubscribed: " in written
    assert "@example.com" not in written.replace("me@example.com", "")


def test_readers_see_the_old_rows_until_the_end(unsubscribe, database, monkeypatch):
    """A reader looks after the old rows are deleted and the new ones inserted."""
    from airflow_provider_meisa.transfers import sql_table

    database("CREATE TABLE unsubscribed (email VARCHAR(99), as_of VARCHAR(99))")
    database("INSERT INTO unsubscribed VALUES ('before@example.com', 'x')")
    seen, insert = [], sql_table._insert_many

    def insert_and_read(*arguments):
        insert(*arguments)
        seen.append(database.emails())

    monkeypatch.setattr(sql_table, "_insert_many", insert_and_read)
    unsubscribe()
    assert seen == [["before@example.com"]]
    assert set(database.emails()) == LISTED


@pytest.fixture
def no_unsubscribed(meisa_sandbox):
    meisa_sandbox.put_contacts(dict.fromkeys(LISTED, "subscribed"))


def test_empty_list_does_not_empty_the_table(unsubscribe, database, no_unsubscribed, everything_written):
    database("CREATE TABLE unsubscribed (email VARCHAR(99), as_of VARCHAR(99))")
    assert unsubscribe().state == "success"
    database("INSERT INTO unsubscribed VALUES ('before@example.com', 'x')")
    assert unsubscribe().state == "failed"
    assert "Meisa lists no address, but the table unsubscribed has some" in everything_written()
    assert unsubscribe(on_empty="skip").state == "skipped"
    assert database.emails() == ["before@example.com"]
    assert unsubscribe(on_empty="success").state == "success"
    assert database.emails() == []


def test_no_address_is_logged(unsubscribe, database, everything_written):
    assert unsubscribe().state == "success"
    assert "unsubscribed@example.com" not in everything_written()


def test_missing_scope_fails_and_changes_nothing(unsubscribe, database, meisa_connection, meisa_sandbox):
    database("CREATE TABLE unsubscribed (email VARCHAR(99), as_of VARCHAR(99))")
    database("INSERT INTO unsubscribed VALUES ('before@example.com', 'x')")
    meisa_connection(password="meisa_live_enrolls")
    assert unsubscribe().state == "failed"
    assert database.emails() == ["before@example.com"]


def test_list_of_another_environment_is_not_written(
    unsubscribe, warehouse, meisa_connection, everything_written
):
    meisa_connection(extra={"environment": "test"})
    assert unsubscribe().state == "failed"
    assert "but the API key is of" in everything_written()
    assert unsubscribe(create_table=False).state == "failed"  # there is no table


# Outcomes


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".csv", ".csv.gz"])
def test_outcomes_of_an_enrollment_are_loaded(run_task, load, database, tmp_path, suffix):
    path = tmp_path / f"outcomes{suffix}"
    emails = [*people(1200), "=1+1@example.com", "+x", "unsubscribed@example.com"]
    ran = run_task(
        MeisaBulkEnrollOperator,
        emails=emails,
        sequence_slug="onboarding",
        outcomes_path=str(path),
        max_invalid=1,
    )
    loaded = load(path).xcom()
    assert (loaded["rows"], loaded["load_id"], loaded["left_out"]) == (1203, str(path), [])
    found = database.outcomes("address, status, batch")
    assert sorted(address for address, *_ in found) == sorted(emails)
    assert Counter(status for _, status, _ in found) == ran.counts()
    assert {batch for *_, batch in found} == {1, 2, 3}


def test_same_file_is_loaded_once(load, outcomes, database):
    other = outcomes(LINES[:1], "other.jsonl")
    load(other)
    path = outcomes()
    load(path)
    assert load(path).xcom()["replaced"] == 3
    outcomes(LINES[:2])
    load(path)
    expected = [tuple(line.values()) for line in (*LINES[:2], LINES[0])]
    assert sorted(database.outcomes()) == sorted(expected)


def test_load_id_names_the_load(load, outcomes, database):
    path = outcomes()
    load(path, load_id="{{ run_id }}")
    load(path, load_id="{{ run_id }}")
    load(path)
    assert len(database.outcomes()) == 9
    assert (str(path),) in database("SELECT load_id FROM outcomes")


def test_failed_load_changes_nothing(load, outcomes, file, database, everything_written):
    path = outcomes()
    load(path)
    path.write_text(path.read_text() + '{"address": "secret@example.com"}\n')
    assert load(path).state == "failed"
    assert len(database.outcomes()) == 3
    written = everything_written()
    assert "is not an outcomes file: a row has no address or no status" in written
    assert "secret@" not in written
    assert "ada@" not in written


def test_error_of_the_database_shows_no_address(load, outcomes, database, everything_written):
    database(
        "CREATE TABLE outcomes (load_id VARCHAR(300), address VARCHAR(99) CHECK (address <> 'ada@example.com'), "
        "status VARCHAR(9))"
    )
    assert load(outcomes()).state == "failed"
    written = everything_written()
    assert "message is not shown, because it may hold a row's content" in written
    assert "ada@" not in written
    assert database("SELECT * FROM outcomes") == []


def test_old_table_takes_a_file_with_new_columns(load, outcomes, database, everything_written):
    load(outcomes(LINES[:1]))
    more = [{**line, "row": n, "user_id": n * 10, "plan": None} for n, line in enumerate(LINES, 1)]
    assert load(outcomes(more, "new.jsonl")).xcom()["left_out"] == ["row", "user_id", "plan"]
    assert "lacks columns, and their values are left out: row, user_id, plan" in everything_written()
    assert len(database.outcomes()) == 4


def test_new_table_has_the_columns_of_the_file(load, outcomes, database):
    more = [
        {**line, "row": n, "user_id": n * 10, "Plan": {"tier": n}, "paid": n > 1}
        for n, line in enumerate(LINES, 1)
    ]
    assert load(outcomes(more)).xcom()["left_out"] == []
    found = database.outcomes('line_number, "row", user_id, "Plan"')
    assert [(line, row, str(user), json.loads(plan)) for line, row, user, plan in found] == [
        (n, n, str(n * 10), {"tier": n}) for n in (1, 2, 3)
    ]


def test_lines_of_two_versions_are_in_one_file(load, outcomes, file, database):
    lines = [LINES[0], {**LINES[1], "row": 2}]
    load(outcomes([{**LINES[0], "row": 1}], "first.jsonl"))
    load(outcomes(lines))
    csv = 'address,status,reason,batch,row\n"a",enrolled,"",1\n"b",enrolled,"",1,2\n'
    load(file("two.csv", csv))
    assert database("SELECT \"row\" FROM outcomes WHERE address = 'b'") == [(2,)]
    assert database("SELECT \"row\" FROM outcomes WHERE address = 'a'") == [(None,)]
    assert len(database.outcomes()) == 5


@pytest.mark.parametrize("name", ["none.jsonl", "none.jsonl.gz", "none.csv"])
def test_file_without_lines_removes_its_earlier_rows(load, outcomes, file, database, name):
    content = "address,status,reason,batch\n" if name.endswith("csv") else ""
    path = file(name, gzip.compress(b"") if name.endswith("gz") else content)
    load(outcomes(), load_id="night")
    assert load(path, load_id="night").xcom()["rows"] == 0
    assert database.outcomes() == []


def test_text_that_a_database_refuses_is_loaded(load, outcomes, database):
    load(outcomes([{"address": "a\x00\ud800b", "status": "invalid", "reason": "", "batch": 1}]))
    assert database.outcomes("address") == [("a\\x00\\ud800b",)]


@pytest.fixture
def load_at_once(outcomes):
    """Load one file in four threads at once, and return the errors."""

    def run():
        path = outcomes(LINES * 500)
        begin, failed = threading.Barrier(4), []

        def load_one():
            operator = MeisaOutcomesToSqlOperator(
                task_id="task", outcomes_path=str(path), table="outcomes", conn_id="warehouse"
            )
            begin.wait()
            try:
                operator.execute({})
            except Exception as error:  # noqa: BLE001 (of a thread)
                failed.append(error)

        threads = [threading.Thread(target=load_one) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return failed

    return run


def test_loads_at_once_leave_one(load, load_at_once, outcomes, database):
    load(outcomes([], "none.jsonl"))
    assert len(load_at_once()) < 4
    assert database("SELECT COUNT(*) FROM outcomes") == [(1500,)]


@pytest.mark.parametrize("database", ["sqlite", "psycopg"], indirect=True)
def test_load_waits_for_another_without_a_key(load_at_once, database):
    database("CREATE TABLE outcomes (load_id VARCHAR(300), address VARCHAR(99), status VARCHAR(99))")
    assert load_at_once() == []
    assert database("SELECT COUNT(*) FROM outcomes") == [(1500,)]


def test_file_in_a_store_is_loaded(load, database, memory_store):
    memory_store.pipe("/bucket/night.jsonl", json.dumps(LINES[0]).encode() + b"\n")
    assert load("memory://bucket/night.jsonl").xcom()["load_id"] == "memory://bucket/night.jsonl"
    assert database.outcomes("status") == [("enrolled",)]


def test_missing_table_is_named(load, outcomes, database, everything_written):
    assert load(outcomes(), create_table=False).state == "failed"
    written = everything_written()
    assert "The table outcomes cannot be read" in written
    assert "a retry cannot help" in written


def test_table_that_can_be_neither_read_nor_created_is_named(load, outcomes, database, everything_written):
    assert load(outcomes(), table="nowhere.outcomes").state == "failed"
    assert "The table nowhere.outcomes can be neither read (" in everything_written()


def test_table_without_load_id_is_refused(load, outcomes, database, everything_written):
    database("CREATE TABLE outcomes (address VARCHAR(99), status VARCHAR(99))")
    assert load(outcomes()).state == "failed"
    assert "The table outcomes has no column load_id" in everything_written()


# What does not depend on the database


@pytest.fixture
def failing(load, warehouse, everything_written):
    """Run a load that must fail, and return what it wrote."""

    def run(*arguments, **parameters):
        assert load(*arguments, **parameters).state == "failed"
        return everything_written()

    return run


@pytest.mark.parametrize("table", ["a b", "t; DROP TABLE x", "", "a.b.c.d.e", 't"', "%s", '"a""b"'])
def test_table_must_be_a_name(failing, outcomes, table):
    written = failing(outcomes(), table=table)
    assert "table must be the name of a table" in written or "table is empty" in written


@pytest.mark.parametrize("table", ["outcomes", "main.outcomes", '"select"', "main.`out comes`", "[a-b]"])
def test_table_may_be_quoted_and_in_a_schema(load, outcomes, warehouse, table):
    assert load(outcomes(), table=table).xcom()["rows"] == 3


def test_column_of_the_file_must_not_be_the_tables_own(failing, outcomes):
    lines = [{**LINES[0], "Load_ID": 7}]
    assert "The outcomes file has a column load_id" in failing(outcomes(lines))


def test_file_must_be_of_outcomes(failing, file):
    assert "is not an outcomes file" in failing(file("people.csv", "email\nada@example.com\n"))
    assert "outcomes_path must end in .jsonl" in failing(file("people.txt", "ada@example.com\n"))
    assert "There is no file" in failing("/no/such/file.jsonl")


def test_connection_must_be_a_database(failing, outcomes, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_WEB", json.dumps({"conn_type": "meisa", "password": "x"}))
    assert "which is not a database that takes SQL" in failing(outcomes(), conn_id="web")


def test_connection_must_have_transactions(failing, outcomes, monkeypatch, mocker):
    from airflow.providers.sqlite.hooks.sqlite import SqliteHook

    mocker.patch.object(SqliteHook, "get_autocommit", return_value=True)
    assert "The connection warehouse commits each statement at once" in failing(outcomes())


def test_memory_does_not_grow_with_the_file(load, outcomes, warehouse):
    import tracemalloc

    from airflow_provider_meisa.transfers.sources.outcomes import read_outcomes

    path = outcomes(LINES * 20_000)
    tracemalloc.start()
    try:
        assert sum(len(rows.rows) for rows in read_outcomes(path)) == 60_000
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("version", [2, 3])
def test_rows_may_be_dictionaries(unsubscribe, postgres, monkeypatch, version):
    module = sys.modules["airflow.providers.postgres.hooks.postgres"]
    monkeypatch.setattr(module, "USE_PSYCOPG3", version == 3)
    postgres.connect(cursor="realdictcursor" if version == 2 else "dictcursor")
    assert unsubscribe(conn_id="postgres", mode="merge").xcom()["inserted"] == len(LISTED)
    assert unsubscribe(conn_id="postgres", mode="merge").xcom()["inserted"] == 0
    assert unsubscribe(conn_id="postgres").xcom()["inserted"] == len(LISTED)
    postgres("DROP TABLE unsubscribed")


def facets(operator):
    found = operator.get_openlineage_facets_on_complete(None)
    return [(one.namespace, one.name) for one in (*found.inputs, *found.outputs)]


def test_lineage_names_the_table_as_postgres_does(request, postgres_port):
    request.getfixturevalue("postgres")  # the name is that of the module here
    server = f"postgres://127.0.0.1:{postgres_port}"
    unsubscribed = MeisaUnsubscribedToSqlOperator(task_id="t", table="unsubscribed", conn_id="postgres")
    assert facets(unsubscribed) == [
        ("meisa", "contacts/api/unsubscribed-emails"),
        (server, "postgres.public.unsubscribed"),
    ]
    loading = MeisaOutcomesToSqlOperator(
        task_id="t", outcomes_path="s3://conn@bucket/a.jsonl", table="shop.outcomes", conn_id="postgres"
    )
    assert facets(loading) == [("s3://bucket", "a.jsonl"), (server, "postgres.shop.outcomes")]
