"""The page and the tab show runs from the values that tasks have pushed to Airflow's database."""

from datetime import UTC, datetime

import pytest

from airflow_provider_meisa.links.meisa import XCOM_KEY
from airflow_provider_meisa.operators.failure import XCOM_KEY as XCOM_KEY_OF_ERROR
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from airflow_provider_meisa.operators.sync_contacts import MeisaSyncContactsOperator
from airflow_provider_meisa.plugins.runs import ERROR_KEY, KEEP, LINK_KEY, RunCache
from airflow_provider_meisa.sensors.sequences import MeisaSequenceSensor
from tests.plugins.xcom_operator import XComOperator

PROGRESS = {
    "sequence_slug": "onboarding",
    "meisa_conn_id": "meisa_default",
    "state": "waiting",
    "done": 500,
    "total": 2000,
    "counts": {"enrolled": 498, "suppressed": 2},
    "requests": 3,
    "rate_limited": 0,
    "waiting_until": "2026-11-23T07:00:00+00:00",
    "updated_at": "2026-11-23T06:59:00+00:00",
}


@pytest.fixture
def shown(as_user):
    """Return a DAG's only run as the page and the tab show it; ``None`` where it is missing."""

    def of(ran):
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        admin = as_user()
        runs = [run for run in admin.get("runs").json()["runs"] if run["dag_id"] == ran.dag_id]
        with create_session() as session:
            run_id = session.scalar(select(TaskInstance.run_id).where(TaskInstance.dag_id == ran.dag_id))
        asked = {"dag_id": ran.dag_id, "run_id": run_id, "task_id": "task"}
        return (runs or [None])[0], admin.get("task", params=asked).json()["run"]

    return of


def test_runs_are_found_by_the_link_that_tasks_leave():
    assert LINK_KEY == XCOM_KEY
    assert ERROR_KEY == XCOM_KEY_OF_ERROR


def test_a_bulk_run_is_shown_with_its_counts_its_file_and_on_its_tab_the_rejects(
    shown, run_task, tmp_path, meisa_sandbox
):
    path = str(tmp_path / "outcomes.jsonl")
    people = ["a@example.com", "b@example.com", "B@example.com", "broken"]
    row, tab = shown(
        run_task(MeisaBulkEnrollOperator, emails=people, sequence_slug="onboarding", outcomes_path=path)
    )
    assert row["state"] == "success"
    assert row["summary"]["kind"] == "bulk"
    assert row["summary"]["counts"] == {"enrolled": 2, "duplicate": 1, "invalid": 1}
    assert row["summary"]["total"] == 4
    assert row["summary"]["outcomes_path"] == path
    assert "attention" not in row["summary"]
    assert tab["summary"]["attention"] == [{"address": "***", "status": "invalid", "reason": "no @"}]
    assert tab["link"].startswith("https://")
    assert datetime.fromisoformat(tab["begun"]) <= datetime.now(UTC)


def test_reasons_of_a_run_are_on_its_tab(shown, run_task, meisa_sandbox):
    people = ["a@example.com", "broken", "b@", "also broken"]
    _, tab = shown(run_task(MeisaBulkEnrollOperator, emails=people, sequence_slug="onboarding"))
    reasons = {(entry["status"], entry["reason"]): entry["count"] for entry in tab["summary"]["reasons"]}
    assert reasons[("invalid", "no @")] == 2
    assert sum(reasons.values()) == 3


def test_reason_that_stopped_a_run_is_shown(shown, run_task, meisa_sandbox):
    meisa_sandbox.fault("status", status=402, path="enroll", body={"detail": "Your plan has ended."})
    ran = run_task(MeisaBulkEnrollOperator, emails=["a@example.com"], sequence_slug="onboarding")
    assert ran.state == "failed"
    _, tab = shown(ran)
    assert tab["summary"]["stopped_by"].endswith("(402). Meisa responded: Your plan has ended.")


def test_ledger_and_doubts_of_a_run_are_shown(shown, run_task, meisa_sandbox, ledgers):
    meisa_sandbox.fault("reset_after", path="bulk-enroll", times=1)
    people = ["a@example.com", "b@example.com"]
    _, tab = shown(
        run_task(
            MeisaBulkEnrollOperator,
            emails=people,
            sequence_slug="onboarding",
            ledger="welcome",
            again_after="never",
        )
    )
    assert tab["summary"]["ledger"] == {"name": "welcome", "entries": 2}
    assert (tab["summary"]["possibly_by_this_run"], tab["summary"]["in_doubt"]) == (2, 0)


def test_a_single_contact_is_shown_as_one_address(shown, run_task, meisa_sandbox):
    row, tab = shown(
        run_task(MeisaEnrollOperator, contact_email="jane@example.com", sequence_slug="onboarding")
    )
    assert row["summary"]["counts"] == {"enrolled": 1}
    assert tab["summary"]["attention"] == [{"address": "j***@***.com", "status": "enrolled", "reason": ""}]


def test_a_preview_is_told_from_a_run(shown, run_task, meisa_sandbox):
    people = ["a@example.com", "b@example.com"]
    row, _ = shown(run_task(MeisaBulkEnrollOperator, emails=people, sequence_slug="onboarding", preview=True))
    assert row["summary"]["kind"] == "preview"
    assert row["summary"]["to_send"] == 2


def test_a_preview_of_a_task_that_mails_the_suppressed_says_how_many_they_are(
    shown, run_task, meisa_connection
):
    meisa_connection(extra={"allow_override_unsubscribe": True})
    people = ["a@example.com", "bounced@example.com"]
    arguments = {"sequence_slug": "onboarding", "preview": True, "override_unsubscribe": True}
    _, tab = shown(run_task(MeisaBulkEnrollOperator, emails=people, **arguments))
    assert (tab["summary"]["to_send"], tab["summary"]["to_send_suppressed"]) == (2, 1)


def test_a_run_that_could_not_begin_is_shown_without_an_account(shown, run_task, meisa_sandbox):
    ran = run_task(MeisaBulkEnrollOperator, emails=["a@example.com"], sequence_slug="no-such-slug")
    row, tab = shown(ran)
    assert row["state"] == tab["state"] == ran.state == "failed"
    assert row["summary"] is None
    assert row["error"] == tab["error"]
    assert row["error"]["target"] == "no-such-slug"
    assert row["error"]["message"].startswith("No sequence has the slug 'no-such-slug'")


def test_run_has_its_id_date_and_attempt(shown, run_task):
    row, tab = shown(run_task(XComOperator, returns={"sequence_slug": "onboarding", "counts": {}}))
    assert row["run_id"] == tab["run_id"]
    assert row["run_id"].startswith("manual__")
    assert row["try_number"] == tab["try_number"] == 1
    assert datetime.fromisoformat(row["logical_date"]) <= datetime.now(UTC)


def test_error_of_a_task_that_succeeded_is_not_shown(shown, run_task):
    row, _ = shown(run_task(XComOperator, error={"message": "from an earlier attempt"}))
    assert row["error"] is None


def test_contact_sync_shows_what_it_found(shown, run_task, meisa_sandbox, ledgers):
    people = [{"email": f"person{number}@example.com"} for number in range(3)]
    row, tab = shown(
        run_task(MeisaSyncContactsOperator, contacts=people, ledger="contacts", first_run="send")
    )
    for summary in (row["summary"], tab["summary"]):
        assert (summary["job"], summary["target"]) == ("sync_contacts", "contacts")
        assert summary["counts"] == {"created": 3}
        assert (summary["new"], summary["changed"], summary["gone"]) == (3, 0, 0)
    assert tab["link"] == ""


def test_preview_of_a_contact_sync_shows_what_it_found(shown, run_task, meisa_sandbox, ledgers):
    people = [{"email": f"person{number}@example.com"} for number in range(3)]
    arguments = {"contacts": people, "ledger": "contacts", "first_run": "send", "preview": True}
    row, _ = shown(run_task(MeisaSyncContactsOperator, **arguments))
    assert (row["summary"]["kind"], row["summary"]["new"], row["summary"]["to_send"]) == ("preview", 3, 3)


def test_error_of_a_contact_sync_is_shown(shown, run_task, meisa_sandbox, ledgers):
    ran = run_task(MeisaSyncContactsOperator, contacts=[{"email": "a@example.com"}], ledger="contacts")
    assert ran.state == "failed"
    row, _ = shown(ran)
    assert (row["error"]["job"], row["error"]["target"]) == ("sync_contacts", "contacts")
    assert "first_run" in row["error"]["message"]


def test_reasons_backlog_and_key_are_shown_when_a_summary_has_them(shown, run_task):
    summary = {
        "sync_name": "contacts",
        "counts": {"invalid": 3},
        "backlog": 7,
        "backlog_since": "2026-11-20T07:00Z",
        "environment": "test",
        "reasons": {
            "invalid": {"no @": 1, "jane@example.com is bad": 2, "none": 0},
            "failed": "text",
            "nonsense": {"x": 9},
        },
    }
    row, tab = shown(run_task(XComOperator, returns=summary))
    assert (row["summary"]["backlog"], row["summary"]["environment"]) == (7, "test")
    assert row["summary"]["backlog_since"] == "2026-11-20T07:00Z"
    assert "reasons" not in row["summary"]
    assert tab["summary"]["reasons"] == [
        {"status": "invalid", "reason": "<address> is bad", "count": 2},
        {"status": "invalid", "reason": "no @", "count": 1},
    ]


def test_growth_of_a_ledger_is_that_since_the_last_run_of_the_task(as_user, run):
    from airflow.sdk import DAG

    for entries in (100, 130):
        with DAG("growing", schedule=None) as dag:
            ledger = {"name": "welcome", "entries": entries}
            XComOperator(
                task_id="task", returns={"sequence_slug": "onboarding", "counts": {}, "ledger": ledger}
            )
        ran = run(dag)
    admin = as_user()
    (newest, oldest) = admin.get("runs", params={"dag_id": ran.dag_id}).json()["runs"]
    seen = []
    for found in (newest, oldest):
        asked = {name: found[name] for name in ("dag_id", "run_id", "task_id")}
        shown_run = admin.get("task", params=asked).json()["run"]
        before = shown_run["ledger_before"]
        seen.append((shown_run["summary"]["ledger"]["entries"], before and before["entries"]))
    assert seen == [(130, 100), (100, None)]


def test_one_dag_is_listed_alone_with_the_names_of_all(as_user, run_task):
    ours, other = (
        run_task(XComOperator, returns={"sequence_slug": "onboarding", "counts": {}}) for _ in range(2)
    )
    response = as_user().get("runs", params={"dag_id": ours.dag_id}).json()
    assert [run["dag_id"] for run in response["runs"]] == [ours.dag_id]
    assert {ours.dag_id, other.dag_id} <= set(response["dags"])


def test_a_sensor_is_on_its_tab_and_not_among_the_runs(shown, run_task, meisa_sandbox):
    row, tab = shown(run_task(MeisaSequenceSensor, sequence_slug="onboarding"))
    assert row is None
    assert tab["operator"] == "MeisaSequenceSensor"


def test_task_of_another_provider_has_no_run(shown, run_task):
    from airflow.providers.standard.operators.empty import EmptyOperator

    assert shown(run_task(EmptyOperator)) == (None, None)


def test_progress_is_shown_until_there_is_an_account(shown, run_task):
    ran = run_task(XComOperator, states={"meisa_progress": PROGRESS}, fails=True)
    assert ran.state == "failed"
    row, tab = shown(ran)
    assert (
        row["progress"]
        == tab["progress"]
        == {
            **{
                name: value
                for name, value in PROGRESS.items()
                if name not in ("sequence_slug", "meisa_conn_id")
            },
            "job": "enroll",
            "target": "onboarding",
            "connection": "meisa_default",
            "environment": "",
        }
    )
    summary = {"sequence_slug": "onboarding", "counts": {"enrolled": 2000}}
    row, _ = shown(run_task(XComOperator, states={"meisa_progress": PROGRESS}, returns=summary))
    assert row["progress"] is None
    assert row["summary"]["total"] == 2000


def test_an_older_summary_that_does_not_name_its_connection_is_shown(shown, run_task):
    row, _ = shown(run_task(XComOperator, returns={"sequence_slug": "onboarding", "counts": {"enrolled": 7}}))
    assert row["summary"]["connection"] == ""
    assert row["summary"]["complete"] is True


FOREIGN = [
    17,
    "text",
    [],
    {},
    {"sequence_slug": 3, "counts": {}},
    {"sequence_slug": "x", "counts": []},
    {"sequence_slug": "x", "status": 9},
    [{"sequence_slug": "x", "counts": {"enrolled": 1}}],
]


@pytest.mark.parametrize("value", FOREIGN, ids=str)
def test_foreign_values_do_not_break_the_page(shown, run_task, value):
    states = {"meisa_progress": value}
    ran = run_task(XComOperator, link=value, returns=value, states=states, error=value, fails=True)
    assert ran.state == "failed"
    row, tab = shown(ran)
    assert row["summary"] is row["progress"] is row["error"] is None
    assert tab["link"] == ""


def test_what_a_foreign_summary_says_is_checked_field_by_field(shown, run_task):
    forged = {
        "sequence_slug": "x" * 5000,
        "counts": {
            "enrolled": -4,
            "failed": "many",
            "invalid": 2,
            "nonsense": 9,
            "duplicate": True,
            "untried": 10**30,
        },
        "requests": {"a": 1},
        "outcomes_path": "https://user:secret@example.com/outcomes.csv?token=secret",
        "attention": [
            {
                "address": "jane.doe@example.com",
                "status": "invalid",
                "reason": "jane.doe@example.com is not good",
            },
            "jane.doe@example.com",
            {"address": ["jane.doe@example.com"], "status": {}, "reason": 3},
            {"address": "", "status": "", "reason": "meisa_live_abc123 @"},
        ],
    }
    row, tab = shown(run_task(XComOperator, link="javascript:alert(1)", returns=forged))
    assert row["summary"]["counts"] == {"invalid": 2}
    assert row["summary"]["total"] == 2
    assert row["summary"]["requests"] is None
    assert row["summary"]["outcomes_path"] == "https://example.com/outcomes.csv"
    assert len(row["summary"]["target"]) <= 200
    assert tab["link"] == ""
    assert tab["summary"]["attention"] == [
        {"address": "j***@***.com", "status": "invalid", "reason": "<address> is not good"},
        {"address": "", "status": "", "reason": ""},
        {"address": "***", "status": "", "reason": "<key> @"},
    ]


def test_runs_older_than_the_period_are_left_out(as_user, run_task):
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import update

    ran = run_task(XComOperator, returns={"sequence_slug": "onboarding", "counts": {"enrolled": 7}})
    with create_session() as session:
        old = datetime(2020, 1, 1, tzinfo=UTC)
        session.execute(update(XComModel).where(XComModel.dag_id == ran.dag_id).values(timestamp=old))
    assert ran.dag_id not in {
        run["dag_id"] for run in as_user().get("runs", params={"days": 366}).json()["runs"]
    }


def test_many_viewers_cost_one_look_in_a_few_seconds(as_user, run_task, monkeypatch):
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    now = [0.0]
    monkeypatch.setattr("airflow_provider_meisa.plugins.app.RUNS", RunCache(clock=lambda: now[0]))
    ran = run_task(XComOperator, returns={"sequence_slug": "onboarding", "counts": {"enrolled": 7}})
    first = as_user().get("runs").json()
    with create_session() as session:
        session.execute(delete(XComModel).where(XComModel.dag_id == ran.dag_id))
    assert ran.dag_id in {run["dag_id"] for run in first["runs"]}
    assert as_user("another").get("runs").json() == first
    now[0] = KEEP
    assert ran.dag_id not in {run["dag_id"] for run in as_user().get("runs").json()["runs"]}


def test_only_the_newest_runs_are_listed_and_the_page_is_told(as_user, run_task, monkeypatch):
    monkeypatch.setattr("airflow_provider_meisa.plugins.runs.MOST_RUNS", 1)
    run_task(XComOperator, returns={"sequence_slug": "onboarding", "counts": {"enrolled": 7}})
    newer = run_task(XComOperator, returns={"sequence_slug": "onboarding", "counts": {"enrolled": 7}})
    response = as_user().get("runs").json()
    assert [run["dag_id"] for run in response["runs"]] == [newer.dag_id]
    assert response["truncated"] is True
