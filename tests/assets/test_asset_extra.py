"""The events that Airflow makes of our tasks' outlets, read from its database."""

import itertools
import json

import pytest
from airflow.sdk import DAG, Asset, AssetAlias, task

from airflow_provider_meisa.api.outcomes import ENROLL_STATUSES, OutcomeStatus
from airflow_provider_meisa.assets import meisa_sequence
from airflow_provider_meisa.operators import audience
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator
from airflow_provider_meisa.transfers.sql_to_meisa import SqlToMeisaSequenceOperator
from tests.support.summary import counts

PEOPLE = [*(f"person{number}@example.com" for number in range(1200)), "broken"]
OUTLET = meisa_sequence("onboarding")
MANY = {"task_id": "task", "sequence_slug": "onboarding"}
numbers = itertools.count()


@pytest.fixture
def events_of(run):
    """Run a task, made by a function, and return its state and its events: URI and extra of each."""

    def run_and_read(make):
        with DAG(f"events_{next(numbers)}", schedule=None) as dag:
            make()
        ran = run(dag)
        return set(ran.states.values()), events(dag.dag_id)

    return run_and_read


def events(dag_id):
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(AssetEvent).where(AssetEvent.source_dag_id == dag_id).order_by(AssetEvent.id)
        return [(event.asset.uri, event.extra) for event in session.scalars(query)]


def bulk():
    MeisaBulkEnrollOperator(**MANY, emails=PEOPLE, outlets=[OUTLET])


def sql():
    SqlToMeisaSequenceOperator(
        **MANY, sql="SELECT email FROM contacts", conn_id="warehouse", outlets=[OUTLET]
    )


def file():
    FileToMeisaSequenceOperator(**MANY, path="{{ var.value.people }}", outlets=[OUTLET])


def decorated():
    task.meisa_enroll(**MANY, outlets=[OUTLET])(lambda: PEOPLE)()


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """The same people in a table and in a file."""
    import sqlite3

    (tmp_path / "people.csv").write_text("\n".join(["email", *PEOPLE]))
    monkeypatch.setenv("AIRFLOW_VAR_PEOPLE", str(tmp_path / "people.csv"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fields = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(fields))
    connection = sqlite3.connect(tmp_path / "warehouse.db")
    connection.execute("CREATE TABLE contacts (email TEXT)")
    connection.executemany("INSERT INTO contacts VALUES (?)", [(address,) for address in PEOPLE])
    connection.commit()
    connection.close()


@pytest.mark.parametrize("make", [bulk, sql, file, decorated], ids=lambda make: make.__name__)
def test_the_event_of_an_enrollment_has_its_counts(events_of, sources, make):
    state, [(uri, extra)] = events_of(make)
    assert state == {"success"}
    assert uri == "meisa://sequences/onboarding"
    assert counts(extra) == {"enrolled": 1200, "invalid": 1}
    assert {name: extra[name] for name in ("sequence_slug", "meisa_conn_id", "total", "complete")} == {
        "sequence_slug": "onboarding",
        "meisa_conn_id": "meisa_default",
        "total": 1201,
        "complete": True,
    }
    assert len(json.dumps(extra)) < 1000
    assert "attention" not in extra


def test_the_event_of_one_contact_has_the_form_of_that_of_many(events_of):
    state, [(uri, extra)] = events_of(
        lambda: MeisaEnrollOperator(**MANY, contact_email="ada@example.com", outlets=[OUTLET])
    )
    assert (state, uri) == ({"success"}, OUTLET.uri)
    assert extra == {
        "sequence_slug": "onboarding",
        "meisa_conn_id": "meisa_default",
        "total": 1,
        "counts": {status.value: int(status is OutcomeStatus.ENROLLED) for status in ENROLL_STATUSES},
        "complete": True,
    }


@pytest.mark.meisa_sandbox(rate_limits="2/2s")
def test_the_event_has_the_counts_of_the_whole_run_although_the_task_was_deferred(
    events_of, meisa_connection, mocker, short_deferrals
):
    deferred = mocker.spy(audience.AudienceOperator, "resume")
    meisa_connection(extra={"rate_limits": "2/2s"})
    _, [(_, extra)] = events_of(
        lambda: MeisaBulkEnrollOperator(**MANY, emails=PEOPLE, outlets=[OUTLET], **short_deferrals)
    )
    assert deferred.call_count >= 1
    assert counts(extra) == {"enrolled": 1200, "invalid": 1}


@pytest.mark.parametrize(
    ("arguments", "state"),
    [({"emails": PEOPLE, "max_invalid": 0}, "failed"), ({"emails": [], "on_empty": "skip"}, "skipped")],
    ids=["red", "skipped"],
)
def test_a_task_that_does_not_succeed_makes_no_event(events_of, arguments, state):
    assert events_of(lambda: MeisaBulkEnrollOperator(**MANY, **arguments, outlets=[OUTLET])) == ({state}, [])


def test_the_event_of_a_preview_says_that_it_is_one(events_of):
    _, [(_, extra)] = events_of(
        lambda: MeisaBulkEnrollOperator(**MANY, emails=PEOPLE, preview=True, outlets=[OUTLET])
    )
    assert (extra["preview"], extra["to_send"]) == (True, 1200)


def test_an_alias_gets_an_event_of_the_sequence_that_each_mapped_task_has_filled(events_of):
    def mapped():
        MeisaBulkEnrollOperator.partial(task_id="task", outlets=[AssetAlias("filled")]).expand_kwargs(
            [
                {"sequence_slug": "onboarding", "emails": PEOPLE[:2]},
                {"sequence_slug": "reactivation", "emails": PEOPLE[:3]},
            ]
        )

    _, found = events_of(mapped)
    assert {uri: counts(extra) for uri, extra in found} == {
        "meisa://sequences/onboarding": {"enrolled": 2},
        "meisa://sequences/reactivation": {"enrolled": 3},
    }


def test_before_airflow_3_2_the_event_of_an_alias_has_only_what_airflow_can_take(events_of, mocker):
    mocker.patch("airflow.providers.common.compat.version_compat.AIRFLOW_V_3_2_PLUS", new=False)
    _, [(_, extra)] = events_of(
        lambda: MeisaBulkEnrollOperator(**MANY, emails=PEOPLE, outlets=[AssetAlias("flat")])
    )
    assert extra["total"] == len(PEOPLE)
    assert frozenset(extra.items())


def test_other_outlets_stay_as_they_are_and_one_of_another_sequence_is_warned_of(
    events_of, everything_written
):
    others = [Asset("s3://bucket/file"), meisa_sequence("reactivation")]
    _, found = events_of(
        lambda: MeisaBulkEnrollOperator(**MANY, emails=PEOPLE[:1], outlets=[*others, OUTLET])
    )
    assert {uri: bool(extra) for uri, extra in found} == {
        "s3://bucket/file": False,
        "meisa://sequences/reactivation": False,
        "meisa://sequences/onboarding": True,
    }
    assert (
        "The outlet meisa://sequences/reactivation is not what the task has updated" in everything_written()
    )
