"""Contacts of a query, a file and a function, through Airflow."""

from __future__ import annotations

import gzip
import json

import pytest
from airflow.sdk import DAG, task

from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaContactsOperator
from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaContactsOperator

pytestmark = pytest.mark.usefixtures("ledgers")

QUERY = "SELECT id AS user_id, email, name, plan, mrr, active FROM users ORDER BY id"
MAPPING = {
    "fields": {"email": "email", "external_id": "user_id", "first_name": "name"},
    "custom_fields": ["plan", "mrr"],
    "ledger": "users",
    "first_run": "send",
}


def held(sandbox):
    return {
        contact["email"]: (contact["external_id"], contact["first_name"], contact["custom_fields"])
        for contact in sandbox.contacts()
    }


def counted(ran):
    return ran.counts()


@pytest.fixture
def users(warehouse):
    warehouse.run(
        "CREATE TABLE users (id INTEGER, email TEXT, name TEXT, plan TEXT, mrr REAL, active BOOLEAN)"
    )
    warehouse.run(
        "INSERT INTO users VALUES (?, ?, ?, ?, ?, ?)",
        [(number, f"p{number}@example.com", "Ada", "free", number / 2, True) for number in range(5)],
    )
    return warehouse


def test_changed_rows_of_a_query_are_sent(users, run_task, meisa_sandbox):
    arguments = {"sql": QUERY, "conn_id": "warehouse", **MAPPING}
    assert counted(run_task(SqlToMeisaContactsOperator, **arguments)) == {"created": 5}
    assert held(meisa_sandbox)["p4@example.com"] == ("4", "Ada", {"mrr": 2, "plan": "free"})
    users.run("UPDATE users SET plan = 'team' WHERE id = 2")
    users.run("DELETE FROM users WHERE id = 3")
    again = run_task(SqlToMeisaContactsOperator, **arguments)
    assert counted(again) == {"updated": 1, "unchanged": 3}
    assert (again.xcom()["changed"], again.xcom()["gone"]) == (1, 1)
    assert held(meisa_sandbox)["p2@example.com"][2]["plan"] == "team"


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT id AS user_id, name, plan, mrr FROM users", "The query's result has no column 'email'"),
        (QUERY.replace("name,", "name, email,"), "The query's result has 2 columns of the name 'email'"),
        ("DELETE FROM users", "The statement returns no rows"),
        ("SELECT * FROM nowhere", "The database refuses the query"),
    ],
)
def test_query_that_does_not_fit_sends_nothing(
    users, run_task, meisa_sandbox, sql, message, everything_written
):
    assert run_task(SqlToMeisaContactsOperator, sql=sql, conn_id="warehouse", **MAPPING).state == "failed"
    assert message in everything_written()
    assert meisa_sandbox.contacts() == []


def test_empty_result_names_a_missing_column_too(users, run_task, everything_written):
    sql = "SELECT id AS user_id, email, plan, mrr FROM users WHERE id > 99"
    assert run_task(SqlToMeisaContactsOperator, sql=sql, conn_id="warehouse", **MAPPING).state == "failed"
    assert "has no column 'name'" in everything_written()


CSV = 'user_id,email,name,plan,mrr\n1,a@example.com,"Ada, Countess",team,19.90\n2,b@example.com,,free,\n'
LINES = [
    {
        "user_id": 1,
        "email": "a@example.com",
        "name": "Ada, Countess",
        "plan": {"b": 1, "a": [2.0]},
        "mrr": 19.9,
    },
    {"user_id": 2, "email": "b@example.com", "mrr": None},
]


def test_csv_is_read_with_types(file, run_task, meisa_sandbox):
    path = file("users.csv", CSV)
    ran = run_task(FileToMeisaContactsOperator, path=path, types={"mrr": "number"}, **MAPPING)
    assert ran.counts() == {"created": 2}
    assert held(meisa_sandbox) == {
        "a@example.com": ("1", "Ada, Countess", {"mrr": 19.9, "plan": "team"}),
        "b@example.com": ("2", "", {"mrr": None, "plan": "free"}),
    }


@pytest.mark.parametrize("form", ["lines", "array", "gzip"])
def test_json_keeps_nested_values(file, run_task, meisa_sandbox, form):
    text = json.dumps(LINES) if form == "array" else "\n".join(map(json.dumps, LINES))
    path = file("users.jsonl", gzip.compress(text.encode()) if form == "gzip" else text)
    assert counted(run_task(FileToMeisaContactsOperator, path=path, **MAPPING)) == {"created": 2}
    assert held(meisa_sandbox) == {
        "a@example.com": ("1", "Ada, Countess", {"mrr": 19.9, "plan": {"a": [2], "b": 1}}),
        "b@example.com": ("2", "", {"mrr": None, "plan": None}),
    }


def test_parquet_and_csv_of_one_table_are_the_same(file, tmp_path, run_task, meisa_sandbox):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [
        {"user_id": 1, "email": "a@example.com", "name": "Ada, Countess", "plan": "team", "mrr": 19.9},
        {"user_id": 2, "email": "b@example.com", "name": None, "plan": "free", "mrr": None},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "users.parquet")
    types = {"types": {"mrr": "number"}}
    first = run_task(FileToMeisaContactsOperator, path=file("users.csv", CSV), **types, **MAPPING)
    second = run_task(FileToMeisaContactsOperator, path=tmp_path / "users.parquet", **types, **MAPPING)
    assert (counted(first), counted(second)) == ({"created": 2}, {"unchanged": 2})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("users.csv", "user_id,mail\n1,a@example.com\n", "has no column 'email'"),
        (
            "users.csv",
            'user_id,email,name,plan,mrr\n1,"a@example.com,x,y,z\n2,b,c,d,e\n',
            "the quote that opens",
        ),
        ("users.jsonl", '{"email": "a@example.com"}\n', "has no column 'user_id'"),
        ("users.jsonl", '["a@example.com"]\n', "where an object must be"),
        ("users.jsonl", '{"email": "a@example.com", "plan": 1, "plan": 2}\n', "occurs more than once"),
        ("users.txt", "a@example.com\n", "A file of lines has addresses only"),
        ("users.parquet", "no parquet", "is not a Parquet file"),
    ],
)
def test_file_that_does_not_fit_sends_nothing(
    file, run_task, meisa_sandbox, name, content, message, everything_written
):
    path = file(name, content)
    assert run_task(FileToMeisaContactsOperator, path=path, **MAPPING).state == "failed"
    written = everything_written()
    assert message in written
    assert "a@example" not in written.replace(content, "")
    assert meisa_sandbox.contacts() == []


def test_json_values_that_cannot_be_sent_leave_out_their_rows(file, run_task, meisa_sandbox):
    nested = "[" * 200 + "]" * 200
    plans = ["NaN", "[1, NaN]", '{"a": -Infinity}', nested, '"a\\u0000b"', "[1, 2.0]"]
    lines = [
        f'{{"user_id": {number}, "email": "p{number}@example.com", "name": "Ada", "plan": {plan}, "mrr": 1}}'
        for number, plan in enumerate(plans)
    ]
    path = file("users.jsonl", "\n".join(lines))
    ran = run_task(FileToMeisaContactsOperator, path=path, max_invalid=None, **MAPPING)
    assert ran.counts() == {"created": 1, "invalid": 5}
    assert held(meisa_sandbox) == {"p5@example.com": ("5", "Ada", {"mrr": 1, "plan": [1, 2]})}


def test_booleans_of_csv_are_words_or_letters(file, run_task, meisa_sandbox):
    words = ["t", "f", "TRUE", "no", "1", "", "maybe"]
    rows = [f"{number},p{number}@example.com,Ada,{word},1" for number, word in enumerate(words)]
    path = file("users.csv", "user_id,email,name,plan,mrr\n" + "\n".join(rows) + "\n")
    ran = run_task(FileToMeisaContactsOperator, path=path, types={"plan": "boolean"}, **MAPPING)
    assert ran.counts() == {"created": 6, "invalid": 1}
    found = {contact["external_id"]: contact["custom_fields"]["plan"] for contact in meisa_sandbox.contacts()}
    assert found == {"0": True, "1": False, "2": True, "3": False, "4": True, "5": None}


def test_ids_of_a_query_are_one_text_whatever_their_type(users, run_task, meisa_sandbox):
    arguments = {"conn_id": "warehouse", **MAPPING}
    run_task(SqlToMeisaContactsOperator, sql=QUERY, **arguments)
    for form in ("CAST(id AS REAL)", "CAST(id AS TEXT)"):
        sql = QUERY.replace("id AS user_id", f"{form} AS user_id")
        assert run_task(SqlToMeisaContactsOperator, sql=sql, **arguments).counts() == {"unchanged": 5}
    sql = QUERY.replace("id AS user_id", "NULLIF(id, 3) AS user_id")
    assert run_task(SqlToMeisaContactsOperator, sql=sql, **arguments).counts() == {
        "unchanged": 4,
        "invalid": 1,
    }
    assert {each[0] for each in held(meisa_sandbox).values()} == {"0", "1", "2", "3", "4"}


@pytest.mark.parametrize(("on_empty", "state"), [("fail", "failed"), ("skip", "skipped")])
def test_empty_result_is_never_all_gone(users, run_task, meisa_sandbox, on_empty, state):
    arguments = {"conn_id": "warehouse", **MAPPING}
    run_task(SqlToMeisaContactsOperator, sql=QUERY, **arguments)
    empty = QUERY.replace("ORDER", "WHERE id > 99 ORDER")
    ran = run_task(SqlToMeisaContactsOperator, sql=empty, on_empty=on_empty, **arguments)
    assert (ran.state, ran.xcom()["gone"]) == (state, 0)
    assert run_task(SqlToMeisaContactsOperator, sql=QUERY, **arguments).counts() == {"unchanged": 5}


def test_function_gives_contacts(run, meisa_sandbox):
    with DAG("sync_function", schedule=None) as dag:

        @task.meisa_sync_contacts(ledger="users", first_run="send", custom_fields="*")
        def contacts(number):
            yield [{"email": f"p{each}@example.com", "plan": "free"} for each in range(number)]
            yield {"email": "last@example.com", "plan": None}

        contacts(3)
    assert run(dag).counts("contacts") == {"created": 4}
    assert held(meisa_sandbox)["last@example.com"] == (None, "", {"plan": None})


def test_output_of_another_task_is_synced(run, meisa_sandbox):
    from airflow_provider_meisa.operators.sync_contacts import MeisaSyncContactsOperator

    with DAG("sync_output", schedule=None) as dag:

        @task
        def users():
            return [{"email": "a@example.com"}, {"email": "b@example.com"}]

        MeisaSyncContactsOperator(task_id="sync", contacts=users(), ledger="users", first_run="send")
    assert run(dag).counts("sync") == {"created": 2}
    assert set(held(meisa_sandbox)) == {"a@example.com", "b@example.com"}


POSTGRES = """
SELECT id, email, plan, mrr, rate, key, data, since, seen, day, active, wait, list, level FROM contacts ORDER BY id
"""


@pytest.mark.parametrize("cursor", [None, "dictcursor", "namedtuplecursor"])
def test_types_of_postgres_have_one_form_each_night(postgres, run_task, meisa_sandbox, cursor):
    if cursor:
        postgres.connect(cursor=cursor)
    postgres("DROP TYPE IF EXISTS level")
    postgres("CREATE TYPE level AS ENUM ('low', 'high')")
    postgres(
        "CREATE TABLE contacts (id bigint, email text, plan varchar, mrr numeric(10, 2), rate double precision, "
        "key uuid, data jsonb, since timestamptz, seen timestamp, day date, active boolean, wait interval, "
        "list int[], level level)"
    )
    postgres(
        "INSERT INTO contacts VALUES (1, 'a@example.com', 'team', 19.90, 1, "
        "'12345678-1234-5678-1234-567812345678', '{\"b\": 1.0, \"a\": null}', '2026-03-01 12:30+02', "
        "'2026-03-01 12:30', '2026-03-01', true, '1 day 2 hours', '{1,2}', 'high'), "
        "(2, 'b@example.com', NULL, NULL, 'NaN', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
    )
    arguments = {
        "sql": POSTGRES,
        "conn_id": "postgres",
        "fields": {"email": "email", "external_id": "id"},
        "custom_fields": "*",
        "ledger": "users",
        "first_run": "send",
    }
    assert run_task(SqlToMeisaContactsOperator, **arguments).counts() == {"created": 1, "invalid": 1}
    assert held(meisa_sandbox)["a@example.com"][2] == {
        "active": True,
        "data": {"a": None, "b": 1},
        "day": "2026-03-01",
        "key": "12345678-1234-5678-1234-567812345678",
        "level": "high",
        "list": [1, 2],
        "mrr": 19.9,
        "plan": "team",
        "rate": 1,
        "seen": "2026-03-01T12:30:00",
        "since": "2026-03-01T10:30:00Z",
        "wait": "P1DT7200S",
    }
    assert run_task(SqlToMeisaContactsOperator, **arguments).counts() == {"unchanged": 1, "invalid": 1}
    postgres("DROP TABLE contacts")
