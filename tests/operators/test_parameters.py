"""Parameters of every operator: a value that is not what its name says stops the task before it sends or reads."""

from __future__ import annotations

import datetime as dt
import decimal
import inspect
from pathlib import Path
from typing import get_args

import pytest
from airflow.sdk import DAG, ObjectStoragePath, task

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.decorators.meisa_enroll import MeisaEnrollDecoratedOperator
from airflow_provider_meisa.decorators.meisa_sync_contacts import MeisaSyncContactsDecoratedOperator
from airflow_provider_meisa.operators.contacts import MeisaUpsertContactOperator
from airflow_provider_meisa.operators.parameters import FORMATS, PARAMETERS, QUOTING, declared
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from airflow_provider_meisa.operators.sync_contacts import MeisaSyncContactsOperator
from airflow_provider_meisa.sensors.sequences import MeisaSequenceSensor
from airflow_provider_meisa.transfers.file_to_meisa import (
    FileToMeisaContactsOperator,
    FileToMeisaSequenceOperator,
)
from airflow_provider_meisa.transfers.meisa_to_sql import (
    MeisaOutcomesToSqlOperator,
    MeisaUnsubscribedToSqlOperator,
)
from airflow_provider_meisa.transfers.sources.delimited import Quoting
from airflow_provider_meisa.transfers.sources.reading import FileFormat
from airflow_provider_meisa.transfers.sql_to_meisa import (
    SqlToMeisaContactsOperator,
    SqlToMeisaSequenceOperator,
)

GONE = "unsubscribed@example.com"
BULK = {"emails": ["ada@example.com", GONE], "sequence_slug": "onboarding"}
ONE = {"contact_email": GONE, "sequence_slug": "onboarding"}
SQL = {"sql": "SELECT email FROM people", "conn_id": "nowhere", "sequence_slug": "onboarding"}
FILE = {"path": "/no/such/file.csv", "sequence_slug": "onboarding"}
OPERATORS = (
    MeisaEnrollOperator,
    MeisaBulkEnrollOperator,
    SqlToMeisaSequenceOperator,
    FileToMeisaSequenceOperator,
    MeisaEnrollDecoratedOperator,
    MeisaSequenceSensor,
    MeisaUpsertContactOperator,
    MeisaSyncContactsOperator,
    SqlToMeisaContactsOperator,
    FileToMeisaContactsOperator,
    MeisaSyncContactsDecoratedOperator,
    MeisaUnsubscribedToSqlOperator,
    MeisaOutcomesToSqlOperator,
)
SWITCHES = ("override_unsubscribe", "preview", "rejects_only", "skip_suppressed", "deferrable")
NO_SWITCHES = ["no", "0", "", 1, 0, None, "TRUE", "yes", "None", [], ["False"], "off"]


def shown(value):
    """Name a value the same in each process: not by its place in memory, nor in the order of a set."""
    return type(value).__name__ if isinstance(value, (dict, set)) or " at 0x" in str(value) else str(value)


@pytest.fixture
def refused(run_task, meisa_sandbox, everything_written):
    """Run a task that must fail before it asks anything, and return what it wrote."""

    def run(operator, /, **arguments):
        assert run_task(operator, **arguments).state == "failed"
        assert meisa_sandbox.requests() == []
        return everything_written()

    return run


@pytest.fixture
def overriding(meisa_connection):
    meisa_connection(extra={"allow_override_unsubscribe": True})


# One table for all of them.


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_parameter_of_a_class_is_in_the_table(operator):
    assert [name for name, check, _ in declared(operator) if check is None] == []


def test_the_table_has_no_entry_that_nothing_uses():
    used = {name for operator in OPERATORS for name, *_ in declared(operator)}
    assert {entry.rpartition(".")[2] for entry in PARAMETERS} == used


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_walk_finds_what_the_signature_names(operator):
    own = inspect.signature(operator.__init__).parameters.values()
    named = {one.name for one in own if one.kind is one.KEYWORD_ONLY}
    assert named <= {name for name, *_ in declared(operator)}


def test_formats_are_those_that_files_have():
    assert get_args(FileFormat) == FORMATS
    assert get_args(Quoting) == QUOTING


# Switches.


@pytest.mark.parametrize("value", NO_SWITCHES, ids=repr)
@pytest.mark.parametrize("switch", SWITCHES)
def test_only_a_bool_is_a_switch(switch, value):
    with pytest.raises(MeisaInputError, match=f"^{switch} must be True or False, not "):
        PARAMETERS[switch](switch, value)


@pytest.mark.parametrize("value", ["no", 1, None], ids=repr)
@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_that_is_no_bool_is_refused(refused, overriding, switch, value):
    assert f"{switch} must be True or False, not " in refused(
        MeisaBulkEnrollOperator, **BULK, **{switch: value}
    )


@pytest.mark.parametrize("value", ["no", 1, "{{ 'off' }}"], ids=repr)
def test_one_contact_is_not_mailed_by_a_switch_that_is_no_bool(refused, overriding, value):
    assert "override_unsubscribe must be True or False" in refused(
        MeisaEnrollOperator, **ONE, override_unsubscribe=value
    )


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(
    ("given", "sent"), [(True, True), (False, False), ("true", True), ("false", False), ("False", False)]
)
def test_a_template_switches_override_on_and_off(run_task, overriding, native, given, sent):
    ran = run_task(
        MeisaBulkEnrollOperator,
        **BULK,
        override_unsubscribe="{{ params.override }}",
        params={"override": given},
        render_template_as_native_obj=native,
    )
    assert ran.counts() == ({"enrolled": 2} if sent else {"enrolled": 1, "suppressed": 1})


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_a_template_switches_override_for_one_contact(run_task, overriding, native, given):
    ran = run_task(
        MeisaEnrollOperator,
        **ONE,
        override_unsubscribe="{{ params.override }}",
        params={"override": given},
        render_template_as_native_obj=native,
    )
    assert ran.xcom("task")["status"] == ("enrolled" if given else "suppressed")


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("given", ["no", 0, 1, None, "", "0"], ids=repr)
def test_a_template_that_gives_no_bool_is_refused(refused, overriding, native, given):
    assert "override_unsubscribe must be True or False" in refused(
        MeisaBulkEnrollOperator,
        **BULK,
        override_unsubscribe="{{ params.override }}",
        params={"override": given},
        render_template_as_native_obj=native,
    )


@pytest.mark.parametrize("given", ["False", "false", "{{ 1 == 2 }}"])
def test_a_preview_that_is_off_sends(run_task, given):
    assert run_task(MeisaBulkEnrollOperator, **BULK, preview=given).counts()["enrolled"] == 1


def test_a_preview_that_a_template_switches_on_sends_nothing(run_task, meisa_sandbox):
    ran = run_task(MeisaBulkEnrollOperator, **BULK, preview="{{ params.p }}", params={"p": True})
    assert ran.xcom("task")["preview"] is True
    assert [one for one in meisa_sandbox.requests() if one["method"] == "POST"] == []


@pytest.mark.parametrize(("given", "lines"), [("false", 2), ("{{ 'True' }}", 1)])
def test_rejects_only_as_a_text_loses_no_line(run_task, tmp_path, given, lines):
    file = tmp_path / "outcomes.jsonl"
    run_task(MeisaBulkEnrollOperator, **BULK, outcomes_path=str(file), rejects_only=given)
    assert len(file.read_text().splitlines()) == lines


def test_a_switch_of_a_mapped_task_is_checked_too(run, meisa_sandbox, everything_written):
    with DAG("mapped_switches", schedule=None) as dag:
        MeisaBulkEnrollOperator.partial(task_id="task", **BULK).expand(preview=[True, "no", 1, "False"])
    ran = run(dag)
    assert [ran.states[f"task[{index}]"] for index in range(4)] == ["success", "failed", "failed", "success"]
    assert len([one for one in meisa_sandbox.requests() if one["method"] == "POST"]) == 1
    assert "preview must be True or False, not the text 'no'" in everything_written()


def test_the_output_of_another_task_is_a_switch(run):
    @task
    def off():
        return False

    with DAG("switch_of_a_task", schedule=None) as dag:
        MeisaBulkEnrollOperator(task_id="task", **BULK, preview=off())
    ran = run(dag)
    assert ran.xcom("task")["counts"]["enrolled"] == 1


@pytest.mark.parametrize("name", ["max_contacts", "deferrable", "on_empty"])
def test_an_output_where_no_template_is_rendered_is_refused(run, meisa_sandbox, everything_written, name):
    @task
    def two():
        return 2

    with DAG(f"output_as_{name}", schedule=None) as dag:
        two() >> MeisaBulkEnrollOperator(task_id="task", **BULK, **{name: two()})
    assert run(dag).states["task"] == "failed"
    assert meisa_sandbox.requests() == []
    assert f"{name} is the output of another task, but it is not templated" in everything_written()


@pytest.mark.parametrize("switch", ["preview", "skip_suppressed"])
def test_a_switch_of_the_decorator_is_checked_before_the_call(run, meisa_sandbox, everything_written, switch):
    called = []

    def people():
        called.append(1)
        return ["ada@example.com"]

    with DAG(f"decorated_{switch}", schedule=None) as dag:
        task.meisa_enroll(task_id="task", sequence_slug="onboarding", **{switch: "no"})(people)()
    assert run(dag).state == "failed"
    assert (called, meisa_sandbox.requests()) == ([], [])
    assert f"{switch} must be True or False" in everything_written()


@pytest.mark.parametrize(
    ("operator", "given"), [(SqlToMeisaSequenceOperator, SQL), (FileToMeisaSequenceOperator, FILE)]
)
@pytest.mark.parametrize("value", ["no", 2, "{{ none }}"])
def test_a_source_is_not_read_for_a_wrong_switch(refused, operator, given, value):
    assert "preview must be True or False" in refused(operator, **given, preview=value)


# Numbers and times.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("max_contacts", value) for value in ("2", -1, True, 2.0, float("nan"), [2], "{{ 2 }}")),
        *(("max_in_flight", value) for value in ("4", 0, 17, True, 4.0, None, 10**400)),
        *(
            ("defer_after", value)
            for value in ("30", "PT1M", -1, True, None, float("nan"), float("inf"), dt.timedelta(-1))
        ),
        *(("max_failed", value) for value in ("1", -1, 1.5, True, float("nan"), float("inf"), "1%")),
        *(("max_invalid", value) for value in ("0.1", -0.1, False, decimal.Decimal("0.1"))),
    ],
    ids=shown,
)
def test_only_a_number_within_bounds_is_one(name, value):
    with pytest.raises(MeisaInputError, match=f"^{name} must be a "):
        PARAMETERS[name](name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_contacts", "2"),
        ("max_contacts", -1),
        ("max_contacts", True),
        ("max_in_flight", "4"),
        ("max_in_flight", True),
        ("defer_after", "30"),
        ("defer_after", float("nan")),
        ("max_failed", float("nan")),
        ("max_invalid", "0.1"),
    ],
    ids=shown,
)
def test_a_number_that_is_none_is_refused(refused, name, value):
    assert f"{name} must be a " in refused(MeisaBulkEnrollOperator, **BULK, **{name: value})


@pytest.mark.parametrize("value", [dt.timedelta(minutes=1), 60, 60.5])
def test_a_time_is_seconds_or_a_timedelta(run_task, value):
    assert run_task(MeisaBulkEnrollOperator, **BULK, deferrable=True, defer_after=value).state == "success"


@pytest.mark.parametrize("value", [dt.timedelta(seconds=9), 5, 0.0])
def test_a_time_too_short_names_its_unit(refused, value):
    written = refused(MeisaBulkEnrollOperator, **BULK, deferrable=True, defer_after=value)
    assert "defer_after must be at least 10 s" in written


def test_a_timedelta_is_waited_as_so_many_seconds():
    minute = MeisaBulkEnrollOperator(
        task_id="task", **BULK, deferrable=True, defer_after=dt.timedelta(minutes=1)
    )
    assert minute.longest_wait == 60


# Words.


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("on_empty", "sucess", "success"),
        ("on_empty", "Fail", "fail"),
        ("on_empty", ["fail"], None),
        ("on_ambiguous", "re-send", "resend"),
        ("on_ambiguous", True, None),
        ("on_changed_audience", "restrat", "restart"),
        ("on_changed_audience", None, None),
        ("on_changed_audience", "somebody@example.com", None),
    ],
)
def test_an_unknown_word_is_refused_with_the_nearest(refused, name, value, hint):
    written = refused(MeisaBulkEnrollOperator, **BULK, **{name: value})
    assert f"{name} must be one of: " in written
    assert (f"Did you mean {hint!r}?" in written) if hint else "Did you mean" not in written
    assert "somebody" not in written


@pytest.mark.parametrize("name", ["on_already_enrolled", "on_suppressed", "on_ambiguous"])
@pytest.mark.parametrize("value", ["failed", 0, None])
def test_an_unknown_word_for_one_contact_is_refused(refused, name, value):
    assert f"{name} must be one of: " in refused(MeisaEnrollOperator, **ONE, **{name: value})


@pytest.mark.parametrize(
    ("value", "hint"), [("cvs", "csv"), ("CSV", "csv"), ("json", "jsonl"), ("parket", "parquet")]
)
def test_an_unknown_format_is_refused_with_the_nearest(refused, value, hint):
    written = refused(FileToMeisaSequenceOperator, **FILE, format=value)
    assert f"not the text {value!r}. Did you mean {hint!r}?" in written


# Texts, under native rendering too.


@pytest.mark.parametrize("value", [2024, 1.5, None, "", " ", ["airflow"], {}], ids=repr)
def test_a_label_that_is_no_text_is_refused(refused, value):
    assert "trigger_source " in refused(MeisaEnrollOperator, **ONE, trigger_source=value)


@pytest.mark.parametrize("value", ["2024", "{{ params.year }}", "20_24"])
def test_a_label_that_native_rendering_makes_a_number_is_refused(refused, value):
    written = refused(
        MeisaEnrollOperator,
        **ONE,
        trigger_source=value,
        params={"year": "2024"},
        render_template_as_native_obj=True,
    )
    assert "trigger_source must be a text, not 2024. With render_template_as_native_obj" in written


def test_quotes_keep_a_label_a_text_under_native_rendering(run_task, meisa_sandbox):
    run_task(
        MeisaEnrollOperator,
        contact_email="ada@example.com",
        sequence_slug="onboarding",
        trigger_source="'{{ params.year }}'",
        params={"year": "2024"},
        render_template_as_native_obj=True,
    )
    (enrollment,) = meisa_sandbox.enrollments("onboarding")
    assert enrollment["trigger_source"] == "2024"


@pytest.mark.parametrize(
    "slug",
    [2024, ["onboarding"], ["onboarding", "winback"], "['onboarding', 'winback']", {"a": 1}, b"onboarding"],
)
def test_what_is_not_one_slug_is_refused(refused, slug):
    assert "sequence_slug is " in refused(
        MeisaBulkEnrollOperator, emails=["a@example.com"], sequence_slug=slug
    )


@pytest.mark.parametrize("native", [True, False])
def test_a_template_that_gives_several_slugs_says_to_map(refused, native):
    written = refused(
        MeisaBulkEnrollOperator,
        emails=["a@example.com"],
        sequence_slug="{{ params.slugs }}",
        params={"slugs": ["onboarding", "winback"]},
        render_template_as_native_obj=native,
    )
    assert "map the task with .expand(sequence_slug=[…])" in written


@pytest.mark.parametrize("value", [7, [], True, b"meisa", ""], ids=repr)
@pytest.mark.parametrize(("operator", "given"), [(MeisaBulkEnrollOperator, BULK), (MeisaEnrollOperator, ONE)])
def test_a_connection_that_is_no_text_is_refused(refused, operator, given, value):
    assert "meisa_conn_id " in refused(operator, **given, meisa_conn_id=value)


@pytest.mark.parametrize(
    ("operator", "given", "name", "value"),
    [
        (FileToMeisaSequenceOperator, FILE, "path", 7),
        (FileToMeisaSequenceOperator, FILE, "path", None),
        (FileToMeisaSequenceOperator, FILE, "path", ["a.csv", "b.csv"]),
        (FileToMeisaSequenceOperator, FILE, "path", b"a.csv"),
        (FileToMeisaSequenceOperator, FILE, "conn_id", 7),
        (FileToMeisaSequenceOperator, FILE, "encoding", 8),
        (FileToMeisaSequenceOperator, FILE, "encoding", None),
        (FileToMeisaSequenceOperator, FILE, "encoding", "utf-9"),
        (FileToMeisaSequenceOperator, FILE, "encoding", "a\0b"),
        (FileToMeisaSequenceOperator, FILE, "email_column", True),
        (FileToMeisaSequenceOperator, FILE, "email_column", -1),
        (FileToMeisaSequenceOperator, FILE, "email_column", ["email"]),
        (FileToMeisaSequenceOperator, FILE, "outcomes_path", 7),
        (SqlToMeisaSequenceOperator, SQL, "conn_id", None),
        (SqlToMeisaSequenceOperator, SQL, "conn_id", 7),
        (SqlToMeisaSequenceOperator, SQL, "email_column", 1.0),
        (SqlToMeisaSequenceOperator, SQL, "email_column", " "),
        (SqlToMeisaSequenceOperator, SQL, "staging_path", {"a": 1}),
        (SqlToMeisaSequenceOperator, SQL, "sql", ["SELECT 1", "SELECT 2"]),
        (MeisaBulkEnrollOperator, BULK, "outcomes_path", ["a.csv"]),
        (MeisaBulkEnrollOperator, BULK, "outcomes_path", True),
    ],
    ids=shown,
)
def test_a_path_or_name_of_a_wrong_type_is_refused(refused, operator, given, name, value):
    assert f"MeisaInputError: {name} " in refused(operator, **{**given, name: value})


@pytest.mark.parametrize("made", [str, Path, lambda path: ObjectStoragePath(f"file://{path}")])
def test_a_path_may_be_an_object_that_stands_for_one(run_task, tmp_path, made):
    file, outcomes = tmp_path / "people.csv", tmp_path / "outcomes.jsonl"
    file.write_text("email\nada@example.com\n")
    ran = run_task(
        FileToMeisaSequenceOperator, path=made(file), sequence_slug="onboarding", outcomes_path=made(outcomes)
    )
    assert ran.counts() == {"enrolled": 1}
    assert ran.xcom("task")["outcomes_path"].endswith(str(outcomes))
    assert len(outcomes.read_text().splitlines()) == 1


# Metadata and the parameters of a query.


def metadata_of(sandbox):
    (enrollment,) = sandbox.enrollments("onboarding")
    return enrollment["metadata"]


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(
    "value",
    [
        {"plan": "pro", "seats": 3},
        '{"plan": "pro", "seats": 3}',
        "{{ params.data | tojson }}",
        {"plan": "{{ params.data.plan }}", "seats": 3},
    ],
    ids=shown,
)
def test_metadata_is_a_dict_or_the_text_of_one(run_task, meisa_sandbox, native, value):
    run_task(
        MeisaEnrollOperator,
        contact_email="ada@example.com",
        sequence_slug="onboarding",
        metadata=value,
        params={"data": {"plan": "pro", "seats": 3}},
        render_template_as_native_obj=native,
    )
    assert metadata_of(meisa_sandbox) == {"plan": "pro", "seats": 3}


@pytest.mark.parametrize(
    "value",
    [
        "pro",
        "",
        "[1, 2]",
        "2",
        '{"plan": NaN}',
        "{{ params }}",
        [("plan", "pro")],
        7,
        True,
        {"since": dt.date(2026, 1, 1)},
        {"plans": {"pro", "free"}},
        {"price": decimal.Decimal("9.99")},
        {"share": float("nan")},
        {"deep": [{"share": float("inf")}]},
        {1: "one"},
        {"raw": b"bytes"},
    ],
    ids=shown,
)
def test_metadata_that_is_no_json_object_is_refused(refused, value):
    assert "MeisaInputError: metadata " in refused(
        MeisaEnrollOperator,
        contact_email="ada@example.com",
        sequence_slug="onboarding",
        metadata=value,
        params={"plan": "pro"},
    )


@pytest.mark.parametrize("value", ["ab", "{{ ds }}", '["a"]', 7, {"a"}, b"ab", iter("ab")], ids=shown)
def test_values_of_a_query_that_are_no_list_are_refused(refused, value):
    assert "parameters must be a list or a dict" in refused(
        SqlToMeisaSequenceOperator, **SQL, parameters=value
    )


def test_no_message_shows_what_may_be_an_address(refused):
    for name in ("preview", "on_empty", "max_contacts", "defer_after", "max_failed"):
        written = refused(MeisaBulkEnrollOperator, **BULK, **{name: "jane.doe@example.com"})
        assert f"{name} must be " in written
        assert "jane" not in written
