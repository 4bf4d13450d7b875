"""Which errors of a database fail a task at once, and which ones Airflow retries."""

import asyncpg
import psycopg
import pytest
import sqlalchemy
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, Context

from airflow_provider_meisa.transfers.sources.sql_refusals import has_bare_percent, is_refused
from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator
from tests.support.task import fake_context


def of(name, *arguments, module="driver", **attributes):
    """Make an error as a driver has it that is not installed."""
    error = type(name, (Exception,), {"__module__": module})(*arguments)
    vars(error).update(attributes)
    return error


def by_sqlalchemy(error):
    return sqlalchemy.exc.ProgrammingError("SELECT 1", {}, error)


def caused_by(error):
    raised = RuntimeError("the query failed")
    raised.__cause__ = error
    return raised


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.UndefinedTable(),
        psycopg.errors.UndefinedColumn(),
        psycopg.errors.SyntaxError(),
        asyncpg.UndefinedTableError("x"),
        of("UndefinedTable", "x", pgcode="42P01", module="psycopg2.errors"),
        of("ProgrammingError", {"C": "42703"}, module="pg8000.exceptions"),
        of("ProgrammingError", "42S02", "[42S02] Invalid object name", module="pyodbc"),
        of("ProgrammingError", 1146, "Table 'a.b' doesn't exist", module="pymysql.err"),
        of("OperationalError", 1054, "Unknown column 'a'", module="MySQLdb"),
        of("ProgrammingError", "1064: x", errno=1064, sqlstate="42000", module="mysql.connector.errors"),
        of("ProgrammingError", "x", errno=2003, sqlstate="02000", module="snowflake.connector.errors"),
        of("ProgrammingError", "x", errno=1003, sqlstate="42000", module="snowflake.connector.errors"),
        of("ProgrammingError", "x", errno=904, sqlstate="42000", module="snowflake.connector.errors"),
        of("BadRequest", "400 Unrecognized name", module="google.api_core.exceptions"),
        of("DatabaseError", of("NotFound", module="google.api_core.exceptions"), module="google.cloud"),
        by_sqlalchemy(psycopg.errors.UndefinedTable()),
        caused_by(psycopg.errors.UndefinedTable()),
    ],
    ids=repr,
)
def test_statement_that_cannot_succeed_is_refused(error):
    assert is_refused(error)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("connection refused"),
        psycopg.errors.DeadlockDetected(),
        psycopg.errors.QueryCanceled(),
        asyncpg.TooManyConnectionsError("x"),
        of("OperationalError", 2003, "Can't connect", module="pymysql.err"),
        of("OperationalError", 2006, "gone away", module="MySQLdb"),
        of("OperationalError", 1226, "limit", sqlstate="42000", errno=1226, module="mysql.connector.errors"),
        of("ProgrammingError", "timeout", errno=630, sqlstate="57014", module="snowflake.connector.errors"),
        of("Forbidden", "403 rateLimitExceeded", module="google.api_core.exceptions"),
        of("OperationalError", "database is locked", sqlite_errorcode=5, module="sqlite3"),
        RuntimeError("42P01"),
        of("Error", {"C": 7}),
    ],
    ids=repr,
)
def test_trouble_that_may_pass_is_not_refused(error):
    assert not is_refused(error)


@pytest.mark.parametrize(
    "sql",
    ["SELECT * FROM a WHERE b LIKE 'a%' AND c = %s", "SELECT a %% 2, b % 2", "SELECT 'of %s' WHERE a = %s"],
)
def test_bare_percent_is_found(sql):
    assert has_bare_percent(IndexError("tuple index out of range"), sql)
    assert not has_bare_percent(RuntimeError("no such table"), sql)


@pytest.mark.parametrize("sql", ["SELECT a WHERE b LIKE 'a%%' AND c = %(d)s", "SELECT a %% 2 WHERE b = %s"])
def test_doubled_percent_is_not_bare(sql):
    assert not has_bare_percent(IndexError("tuple index out of range"), sql)


@pytest.fixture
def run(warehouse, meisa_sandbox, meisa_connection):
    """Run one attempt of a task with a query; return Airflow's exception."""
    warehouse.fill(["ada@example.com"])

    def attempt(sql, **arguments):
        task = SqlToMeisaSequenceOperator(
            task_id="task", conn_id="warehouse", sequence_slug="onboarding", sql=sql, **arguments
        )
        context: Context = fake_context()
        with pytest.raises(AirflowException) as raised:
            task.execute(context)
        assert not [one for one in meisa_sandbox.requests() if one["method"] == "POST"]
        return raised.value

    return attempt


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT email FROM contcts", "no such table: contcts"),
        ("SELECT emial FROM contacts", "no such column: emial"),
        ("SELECT email FRM contacts", "syntax error"),
        ("SELECT email FROM contacts WHERE id = ?", "Incorrect number of bindings"),
    ],
)
def test_query_with_a_mistake_fails_without_retry(run, sql, why):
    error = run(sql)
    assert isinstance(error, AirflowFailException)
    assert why in str(error)
    assert "reached" not in str(error)


def test_locked_database_is_retried(run, warehouse, mocker):
    locked = of("OperationalError", "database is locked", sqlite_errorcode=5, module="sqlite3")
    mocker.patch("airflow_provider_meisa.transfers.sources.sql._streaming_cursor", side_effect=locked)
    error = run("SELECT email FROM contacts")
    assert not isinstance(error, AirflowFailException)
    assert "database is locked" in str(error)
