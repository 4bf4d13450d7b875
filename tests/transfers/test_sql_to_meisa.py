import json
import os
import sys
import tracemalloc
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.bulk.runner import BulkRunner
from airflow_provider_meisa.transfers.sources.sql import database_hook, one_statement, read_column
from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator
from tests.support.people import people
from tests.support.requests_sent import addresses_sent

QUERY = "SELECT email FROM contacts ORDER BY id"
PEOPLE = people(1200)


def operator(**arguments):
    return SqlToMeisaSequenceOperator(
        task_id="task", **{"sql": QUERY, "conn_id": "warehouse", "sequence_slug": "onboarding", **arguments}
    )


def context(run_id="run", **changes):
    return {
        "ti": SimpleNamespace(
            **{"dag_id": "dag", "run_id": run_id, "task_id": "task", "map_index": -1, **changes}
        )
    }


def test_every_contact_a_query_finds_is_enrolled_in_its_order(enroll_query, warehouse, meisa_sandbox):
    warehouse.fill(PEOPLE)
    ran = enroll_query()
    assert ran.state == "success"
    assert ran.counts() == {"enrolled": 1200}
    assert addresses_sent(meisa_sandbox) == PEOPLE


def test_what_is_no_address_is_invalid_with_a_reason(enroll_query, warehouse):
    warehouse.run("CREATE TABLE contacts (email)")
    warehouse.run(
        "INSERT INTO contacts VALUES (?)",
        [("ada@example.com",), (None,), (b"x@example.com",), ("x",)],
    )
    ran = enroll_query("SELECT email FROM contacts")
    assert ran.counts() == {"enrolled": 2, "invalid": 2}
    assert [entry["reason"] for entry in ran.xcom("task")["attention"]] == [
        "no value (None), row 2",
        "no @",
    ]


@pytest.mark.parametrize("column", [1, "email", "EMAIL"])
def test_the_column_is_found_by_its_name_or_its_number(enroll_query, warehouse, column):
    warehouse.fill(PEOPLE[:3])
    assert enroll_query("SELECT id, email FROM contacts", email_column=column).counts() == {"enrolled": 3}


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("mail", "no column 'mail' for email_column; it has: id, email"),
        (2, "no column 2 for email_column; it has 2"),
        (-1, "email_column must be a column's name or its number from 0, not -1"),
    ],
)
def test_a_missing_column_fails_at_once_and_the_message_helps(
    enroll_query, warehouse, meisa_sandbox, everything_written, column, message
):
    warehouse.fill(PEOPLE[:3])
    assert enroll_query("SELECT id, email FROM contacts", email_column=column).state == "failed"
    assert addresses_sent(meisa_sandbox) == []
    assert message in everything_written()


def test_a_column_that_stands_twice_is_refused(enroll_query, warehouse, everything_written):
    warehouse.fill(PEOPLE[:3])
    ran = enroll_query(
        "SELECT a.email, b.email FROM contacts a JOIN contacts b ON a.id = b.id", email_column="email"
    )
    assert ran.state == "failed"
    assert "2 columns 'email'" in everything_written()


def test_a_query_that_finds_no_contact_ends_as_on_empty_says(enroll_query, warehouse):
    warehouse.fill([])
    assert enroll_query(on_empty="skip").state == "skipped"


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        ("SELECT email FROM contacts WHERE email = ?", ["{{ params.who }}"]),
        ("SELECT email FROM contacts WHERE email = :who", {"who": "{{ params.who }}"}),
        ("SELECT email FROM contacts WHERE email = ?", ["person7@example.com"]),
    ],
    ids=["list", "mapping", "plain"],
)
def test_parameters_are_rendered_but_never_shown(
    enroll_query, warehouse, meisa_sandbox, everything_written, sql, parameters
):
    warehouse.fill(PEOPLE)
    assert enroll_query(sql, parameters=parameters, params={"who": "person7@example.com"}).counts() == {
        "enrolled": 1
    }
    assert addresses_sent(meisa_sandbox) == ["person7@example.com"]
    assert "person7" not in everything_written()


def test_an_output_among_the_parameters_makes_its_task_the_upstream_and_reaches_the_query(
    run, warehouse, meisa_sandbox
):
    from airflow.sdk import DAG, task

    warehouse.fill(PEOPLE)
    with DAG("parameters_of_upstream", schedule=None) as dag:
        since = task(lambda: 1198, task_id="since")()
        enrolling = operator(sql="SELECT email FROM contacts WHERE id > :since", parameters={"since": since})
    assert enrolling.upstream_task_ids == {"since"}
    assert run(dag).counts() == {"enrolled": 2}
    assert addresses_sent(meisa_sandbox) == PEOPLE[1198:]


def test_the_query_may_stand_in_a_file_and_is_a_template(run, warehouse, tmp_path):
    from airflow.sdk import DAG

    warehouse.fill(PEOPLE)
    (tmp_path / "lapsed.sql").write_text(
        "SELECT email FROM contacts WHERE id <= {{ params.most }};\n-- the end\n"
    )
    with DAG("sql_in_a_file", schedule=None, params={"most": 5}, template_searchpath=str(tmp_path)) as dag:
        operator(sql="lapsed.sql")
    assert run(dag).counts() == {"enrolled": 5}


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (f"{QUERY}; DELETE FROM contacts", "2 statements"),
        ("-- nothing\n ;", "0 statements"),
        ([QUERY], "type list"),
        ("UPDATE contacts SET name = ''", "returns no rows"),
    ],
    ids=["two", "none", "list", "update"],
)
def test_what_is_not_one_query_is_refused(
    enroll_query, warehouse, meisa_sandbox, everything_written, sql, message
):
    warehouse.fill(PEOPLE[:3])
    assert enroll_query(sql, retries=1, retry_delay=timedelta(0)).state == "failed"
    assert addresses_sent(meisa_sandbox) == []
    assert message in everything_written()
    assert enroll_query("SELECT email FROM contacts WHERE name <> ''").counts() == {"enrolled": 3}


def test_one_statement_keeps_its_comments_and_loses_its_semicolon():
    assert one_statement(" SELECT /*+ hint */ ';' ; ") == "SELECT /*+ hint */ ';' "


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"conn_type": "meisa"}, "type meisa, which is not a database"),
        ({"conn_type": "no_such_thing"}, "no_such_thing"),
    ],
    ids=["meisa", "unknown"],
)
def test_a_connection_that_is_no_database_is_refused(
    enroll_query, monkeypatch, meisa_sandbox, everything_written, field, message
):
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(field))
    assert enroll_query().state == "failed"
    assert addresses_sent(meisa_sandbox) == []
    assert message in everything_written()


@pytest.mark.parametrize("missing", ["sqlparse", "airflow.providers.common.sql.hooks.sql"])
def test_without_the_extra_the_message_names_it(
    enroll_query, warehouse, everything_written, monkeypatch, missing
):
    monkeypatch.setitem(sys.modules, missing, None)
    assert enroll_query().state == "failed"
    assert "airflow-provider-meisa[sql]" in everything_written()


def test_a_query_that_the_database_refuses_is_explained_and_may_be_retried(
    enroll_query, warehouse, meisa_sandbox, everything_written
):
    warehouse.fill(PEOPLE[:3])
    sql = "SELECT email FROM contcts WHERE email <> 'hidden@example.com'"
    assert enroll_query(sql, retries=1, retry_delay=timedelta(0)).state == "failed"
    assert addresses_sent(meisa_sandbox) == []
    written = everything_written()
    assert "OperationalError: no such table: contcts" in written


def test_a_database_that_is_not_there_is_an_ordinary_failure(enroll_query, monkeypatch, everything_written):
    monkeypatch.setenv(
        "AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": "/nowhere/at/all.db"})
    )
    assert enroll_query().state == "failed"
    assert "The database cannot be reached: OperationalError" in everything_written()


def test_neither_addresses_nor_rows_are_logged_or_shown(enroll_query, warehouse, everything_written):
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session

    warehouse.fill([*PEOPLE, "Secret Name without an at sign"])
    ran = enroll_query("SELECT email, name FROM contacts WHERE name = ?", parameters=["Secret Name"])
    assert ran.state == "success"
    with create_session() as session:
        shown = [
            row.rendered_fields
            for row in session.query(RenderedTaskInstanceFields).filter_by(dag_id=ran.dag_id)
        ]
        shown += [row.data for row in session.query(SerializedDagModel).filter_by(dag_id=ran.dag_id)]
    text = json.dumps(shown, default=str) + everything_written()
    assert "SELECT email, name" in text
    assert (text.count("Secret"), text.count("person1")) == (0, 0)


def test_a_retry_reads_what_the_first_try_read_although_the_table_has_changed(
    enroll_query, warehouse, meisa_sandbox, everything_written, staging
):
    warehouse.fill(PEOPLE)
    meisa_sandbox.fault("status", status=500, path="bulk-enroll", skip=1, times=1)
    staged = []

    def between(context):
        staged.extend(staging())
        warehouse.fill(["new@example.com"])

    ran = enroll_query(retries=1, retry_delay=timedelta(0), on_retry_callback=between)
    assert ran.state == "success"
    assert set(addresses_sent(meisa_sandbox)) == set(PEOPLE)
    assert [mode for _, mode in staged] == [0o600, 0o600]
    assert staging() == []
    written = everything_written()
    assert "Plan written: 1,200 of 1,200 rows to send" in written
    assert "1,200 rows (source not read again)" in written


def test_a_staging_path_that_cannot_be_written_is_named(
    enroll_query, warehouse, tmp_path, everything_written
):
    warehouse.fill(PEOPLE[:5])
    (tmp_path / "taken").write_text("")
    assert enroll_query(staging_path=str(tmp_path / "taken" / "folder")).state == "failed"
    assert "set staging_path" in everything_written()


@pytest.mark.parametrize("where", ["{path}/{{{{ ds_nodash }}}}", "file://{path}/staged"])
def test_the_staging_path_may_be_a_local_folder(
    enroll_query, warehouse, tmp_path, staging, monkeypatch, where
):
    warehouse.fill(PEOPLE[:5])
    monkeypatch.setattr(BulkRunner, "drop_plan", lambda _: None)
    assert enroll_query(staging_path=where.format(path=tmp_path / "own")).counts() == {"enrolled": 5}
    assert staging() == []
    files = list((tmp_path / "own").glob("*/*"))
    assert len(files) == 2
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_the_staging_path_may_be_in_an_object_store(enroll_query, warehouse, memory_store, monkeypatch):
    warehouse.fill(PEOPLE)
    stored = "memory://bucket/staged"
    with monkeypatch.context() as patched:
        patched.setattr(BulkRunner, "drop_plan", lambda _: None)
        assert enroll_query(staging_path=stored).counts() == {"enrolled": 1200}
    left = memory_store.find("/bucket/staged")
    assert len(left) == 2
    assert enroll_query(staging_path=stored).counts() == {"already_enrolled": 1200}
    assert memory_store.find("/bucket/staged") == left


def test_a_store_that_nothing_installed_reaches_is_refused(
    enroll_query, warehouse, everything_written, meisa_sandbox
):
    warehouse.fill(PEOPLE[:5])
    assert enroll_query(staging_path="nosuchstore://bucket/staged").state == "failed"
    assert "nosuchstore:// cannot be reached" in everything_written()
    assert addresses_sent(meisa_sandbox) == []


def test_200000_rows_take_little_memory(warehouse):
    warehouse.run("CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT)")
    warehouse.run(
        "INSERT INTO contacts (email) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
        "SELECT 'person' || i || '@example.com' FROM n"
    )
    task = operator()
    tracemalloc.start()
    try:
        assert sum(1 for _ in task.read(context())) == 200_000
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


# PostgreSQL


@pytest.fixture(params=["psycopg", "psycopg2"])
def driver(request, mocker):
    """The driver that the hook uses; which one is Airflow's decision, by the SQLAlchemy it finds."""
    mocker.patch("airflow.providers.postgres.hooks.postgres.USE_PSYCOPG3", request.param == "psycopg")
    return request.param


FILL = (
    "CREATE TABLE contacts AS SELECT i AS id, 'person' || i || '@example.com' AS email "
    "FROM generate_series(1, {most}) AS i"
)


def test_postgresql_is_read_in_order_through_a_server_side_cursor(driver, postgres):
    postgres(FILL.format(most=20_000))
    # The cursors of a session are seen by that session alone, so the query itself looks, for each row.
    cursors = "(SELECT count(*)::text FROM pg_cursors WHERE name LIKE 'meisa_%' AND id > 0)"
    seen = read_column(database_hook("postgres"), f"SELECT {cursors} FROM contacts ORDER BY id", None, 0)
    assert set(seen) == {"1"}
    emails = read_column(database_hook("postgres"), "SELECT email FROM contacts ORDER BY id", None, 0)
    assert list(emails) == [f"person{number}@example.com" for number in range(1, 20_001)]


def test_a_million_rows_of_postgresql_take_little_memory(driver, postgres):
    postgres(FILL.format(most=1_000_000))
    hook, sql = database_hook("postgres"), "SELECT email FROM contacts ORDER BY id"
    list(read_column(hook, f"{sql} LIMIT 10", None, "email"))  # the driver is loaded
    before = most = memory()
    count = 0
    for count, _ in enumerate(read_column(hook, sql, None, "email"), start=1):
        if count % 50_000 == 1:
            most = max(most, memory())
    assert count == 1_000_000
    assert most - before < 16 << 20


def memory():
    """How much of this process is in memory; the drivers' own is not Python's to trace."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_postgresql_contacts_are_enrolled_with_parameters(driver, postgres, enroll_query, meisa_sandbox):
    postgres(FILL.format(most=1_500))
    ran = enroll_query(
        "SELECT id, email FROM contacts WHERE id > %(least)s ORDER BY id DESC",
        "postgres",
        email_column="email",
        parameters={"least": 300},
    )
    assert ran.counts() == {"enrolled": 1_200}
    assert addresses_sent(meisa_sandbox) == [
        f"person{number}@example.com" for number in range(1_500, 300, -1)
    ]


def test_postgresql_may_give_dictionaries(driver, postgres):
    postgres(FILL.format(most=3))
    postgres.connect(cursor="dictcursor")
    for column in (1, "email"):
        rows = read_column(
            database_hook("postgres"), "SELECT id, email FROM contacts ORDER BY id", None, column
        )
        assert list(rows) == [f"person{number}@example.com" for number in (1, 2, 3)]


def test_a_query_of_postgresql_that_finds_no_contact_gives_nothing(driver, postgres):
    postgres(FILL.format(most=3))
    rows = read_column(database_hook("postgres"), "SELECT email FROM contacts WHERE id > 9", None, "email")
    assert list(rows) == []


def test_a_mistake_in_the_statement_is_explained(driver, postgres):
    with pytest.raises(MeisaInputError, match=r'\(42P01\): relation "contacts" does not exist'):
        list(read_column(database_hook("postgres"), "SELECT email FROM contacts", None, 0))


@pytest.mark.parametrize("parameters", [[1], {"id": 1}])
def test_bare_percent_with_parameters_is_explained(driver, postgres, parameters):
    postgres(FILL.format(most=3))
    placeholder = "%s" if isinstance(parameters, list) else "%(id)s"
    sql = f"SELECT email FROM contacts WHERE email LIKE 'person%' AND id = {placeholder}"
    with pytest.raises(MeisaInputError, match="percent sign in sql was read as a placeholder"):
        list(read_column(database_hook("postgres"), sql, parameters, 0))
    doubled = sql.replace("person%", "person%%")
    assert len(list(read_column(database_hook("postgres"), doubled, parameters, 0))) == 1


@pytest.mark.parametrize("at", [1, 5_000], ids=["first", "later"])
def test_a_row_that_fails_the_query_is_not_shown(
    driver, postgres, enroll_query, everything_written, meisa_sandbox, at
):
    postgres(FILL.format(most=10_000))
    postgres("UPDATE contacts SET email = 'Secret Name' WHERE id = %s", [at])
    sql = "SELECT CASE WHEN id = {} THEN email::int::text ELSE email END FROM contacts ORDER BY id"
    ran = enroll_query(sql.format(at), "postgres")
    assert ran.state == "failed"
    assert addresses_sent(meisa_sandbox) == []
    written = everything_written()
    assert "22P02" in written
    assert "Secret Name" not in written
    assert "person" not in written


def test_an_address_in_the_parameters_is_not_shown_when_the_query_fails(
    driver, postgres, enroll_query, everything_written
):
    postgres(FILL.format(most=3))
    ran = enroll_query(
        "SELECT email FROM contacts WHERE id = %s::int", "postgres", parameters=["ada@example.com"]
    )
    assert ran.state == "failed"
    written = everything_written()
    assert "22P02" in written
    assert "ada@" not in written


# Drivers that no Debian package of the tests has: what is asked of them is what their manuals ask for.


@pytest.mark.parametrize("name", ["pymysql", "MySQLdb"])
def test_mysql_is_asked_for_an_unbuffered_cursor(name, monkeypatch):
    from airflow_provider_meisa.transfers.sources.sql import _streaming_cursor

    kind = type("Connection", (), {"__module__": f"{name}.connections", "cursor": lambda self, kind: kind})
    cursors = SimpleNamespace(SSCursor=object())
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(cursors=cursors))
    monkeypatch.setitem(sys.modules, f"{name}.cursors", cursors)
    assert _streaming_cursor(kind()) is cursors.SSCursor


def test_a_driver_that_numbers_its_errors_is_quoted_without_literals():
    class Connection:
        def cursor(self):
            raise RuntimeError(1064, "You have an error near 'ada' of ada@example.com")

        def close(self):
            pass

    with pytest.raises(MeisaUnreachableError) as caught:
        list(read_column(SimpleNamespace(get_conn=Connection), "x", None, 0))
    assert str(caught.value).startswith("The query failed: RuntimeError (1064): ")
    assert "ada" not in str(caught.value)
