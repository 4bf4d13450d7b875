"""What docs/security.md promises: it names the test that holds each promise; those that no other file has are here."""

from __future__ import annotations

import ast
import csv
import io
import logging
import re
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.api.redaction import printable
from airflow_provider_meisa.bulk.batching import Batch
from airflow_provider_meisa.bulk.outcome_file import OutcomeFile, text_of_cell
from airflow_provider_meisa.hooks.meisa import MeisaHook
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from airflow_provider_meisa.transfers.sources.files import read_addresses
from tests.support.task import fake_context

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "security.md"
PROGRAMS = sorted(
    path
    for folder in ("airflow_provider_meisa", "example_dags", "dev/scripts")
    for path in (ROOT / folder).rglob("*.py")
)
FORGED = "onboarding\n[2026-11-23 03:00:00] INFO - forged\r\x1b[31m\u2028red\x00"

# The page and its tests.


def named_tests():
    """List the tests that the page names, as ``(file, name)``."""
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("file", "name"), named_tests(), ids=lambda part: str(part).rpartition("/")[2])
def test_every_test_that_the_page_names_exists(file, name):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_promise_of_the_page_names_a_test():
    promises = re.findall(r"^\| (?!---|Promise \|).+", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(promises) > 20
    assert [promise for promise in promises if "`tests/" not in promise] == []


# What no program of this package does.

FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "breakpoint"}
FORBIDDEN_MODULES = {
    "pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "yaml",
    "telnetlib",
    "xml",
    "commands",
}
FORBIDDEN_OF_OS = {"system", "popen"}


def calls_in(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_program_evaluates_text_unpickles_reads_yaml_or_starts_a_shell(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        )
    }
    assert not imported & FORBIDDEN_MODULES
    for node, name in calls_in(tree):
        assert name not in FORBIDDEN_CALLS, f"{path}:{node.lineno}"
        assert not (name.startswith("os.") and name[3:] in FORBIDDEN_OF_OS), f"{path}:{node.lineno}"
        assert not any(word.arg == "shell" for word in node.keywords), f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_program_follows_redirects_or_leaves_certificates_unchecked(path):
    for node, _ in calls_in(ast.parse(path.read_text(encoding="utf-8"))):
        for word in node.keywords:
            if word.arg in {"verify", "allow_redirects", "follow_redirects"}:
                wanted = word.arg == "verify"
                assert isinstance(word.value, ast.Constant), f"{path}:{node.lineno}"
                assert word.value.value is wanted, f"{path}:{node.lineno}"


# Files.


@pytest.mark.parametrize(
    "slug", ["../../etc/cron.d/x", "..", "a/../../b", "../run", "a\nb", "a\x00b", "a\u2028b"], ids=repr
)
def test_a_slug_in_a_path_does_not_lead_out_of_its_folder(tmp_path, slug):
    with pytest.raises(MeisaInputError, match="must not lead upwards"):
        OutcomeFile(Path(f"{tmp_path}/outcomes/{slug}/run.csv"))


def test_a_slug_in_a_path_does_not_lead_out_of_its_folder_in_a_task_either(run_task, tmp_path, meisa_sandbox):
    ran = run_task(
        MeisaBulkEnrollOperator,
        emails=["ada@example.com"],
        sequence_slug="{{ params.slug }}",
        outcomes_path=f"{tmp_path}/outcomes/{{{{ params.slug }}}}.csv",
        params={"slug": "../../leaked"},
    )
    assert ran.state == "failed"
    assert meisa_sandbox.requests() == []
    assert not list(tmp_path.rglob("leaked*")) + list(tmp_path.parent.glob("leaked*"))


# Spreadsheets.

WHAT_RUNS = re.compile(r"[\s\x00-\x1f\ufeff]*[=+\-@\t\uff1d\uff0b\uff0d\uff20]")
cells = st.text(max_size=12) | st.lists(
    st.sampled_from(
        [
            "=",
            "+",
            "-",
            "@",
            "'",
            '"',
            "\t",
            "\r",
            "\n",
            " ",
            "\x00",
            "\u00a0",
            "\ufeff",
            "\uff1d",
            ";",
            ",",
            "a",
        ]
    ),
    max_size=8,
).map("".join)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(address=cells, reason=cells)
def test_no_cell_of_a_csv_file_runs_as_a_formula_and_its_text_can_be_had_exactly(tmp_path, address, reason):
    file = OutcomeFile(tmp_path / "run.csv")
    file.begin(first_batch=0)
    file.write(Batch(0, ()), [Outcome(address, OutcomeStatus.INVALID, reason)])
    file.finish()
    text = (tmp_path / "run.csv").read_bytes().decode()
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    for message, cell in ((address, row["address"]), (reason, row["reason"])):
        assert not WHAT_RUNS.match(cell)
        assert text_of_cell(cell) == message.replace("\r", " ").replace("\n", " ")


# Logs.


def lines_of(caplog):
    ours = [
        record
        for record in caplog.records
        if "meisa" in record.name or record.name.startswith("airflow.task")
    ]
    return [record.getMessage() for record in ours]


@pytest.mark.parametrize("where", ["slug", "reason", "name and status", "reason of an address"])
def test_what_a_foreign_text_holds_stays_within_its_line_of_the_log(
    meisa_sandbox, meisa_connection, caplog, where
):
    caplog.set_level(logging.DEBUG)
    slug = FORGED if where == "slug" else "onboarding"
    if where == "reason":
        meisa_sandbox.fault("status", status=400, method="POST", body={"emails": [FORGED], FORGED: FORGED})
    elif where == "name and status":
        body = {"results": [{"slug": "onboarding", "name": FORGED, "status": FORGED}]}
        meisa_sandbox.fault("status", status=200, method="GET", body=body)
    elif where == "reason of an address":
        body = {
            "results": [{"email": "ada@example.com", "status": FORGED, "reason": FORGED}],
            FORGED: [FORGED],
        }
        meisa_sandbox.fault("status", status=200, method="POST", body=body)
    context = fake_context()
    operator = MeisaBulkEnrollOperator(task_id="task", emails=["ada@example.com"], sequence_slug=slug)
    message = []
    try:
        operator.execute(context)
    except AirflowException as error:
        message = [str(error)]
    for line in [*lines_of(caplog), *message]:
        assert line.isprintable(), line
    assert where != "slug" or message
    reasons = [entry["reason"] for entry in context["ti"].xcoms.get("return_value", {}).get("attention", [])]
    assert all(reason.isprintable() for reason in reasons)


@pytest.mark.parametrize("call", ["enroll", "bulk_enroll"])
def test_a_slug_that_could_forge_a_line_is_refused_before_anything_is_sent(
    meisa_sandbox, meisa_connection, call
):
    hook = MeisaHook()
    given = "ada@example.com" if call == "enroll" else ["ada@example.com"]
    with pytest.raises(AirflowException, match="line breaks or control characters") as caught:
        getattr(hook, call)(given, FORGED)
    assert str(caught.value).isprintable()
    assert meisa_sandbox.requests() == []


@pytest.mark.parametrize(
    "operator",
    [
        lambda: MeisaBulkEnrollOperator(task_id="task", emails=[], sequence_slug=FORGED),
        lambda: MeisaEnrollOperator(task_id="task", contact_email="nobody", sequence_slug=FORGED),
    ],
    ids=["no addresses", "an invalid address"],
)
def test_a_task_refuses_such_a_slug_also_where_there_is_nothing_to_send(meisa_connection, caplog, operator):
    with pytest.raises(AirflowException, match="line breaks or control characters"):
        operator().execute(fake_context())
    assert all(line.isprintable() for line in lines_of(caplog))


@pytest.mark.parametrize("name", ["a\nforged.csv", "a\x1b[31m.csv", "a\nb.nothing"])
def test_a_file_name_stays_within_its_line_of_the_log(tmp_path, name):
    with pytest.raises((MeisaInputError, MeisaUnreachableError)) as caught:
        list(read_addresses(tmp_path / name, file_format=None, column=None, encoding="utf-8"))
    assert str(caught.value).isprintable()


@given(st.text(st.characters(codec=None)))
def test_what_is_made_printable_keeps_its_length_and_all_that_can_be_shown(text):
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text)
    assert [c for c in text if c.isprintable()] == [
        c for c, kept in zip(shown, text, strict=True) if kept.isprintable()
    ]


# The key.


@pytest.mark.parametrize("up", ["..", "%2e%2e", ".%2E", "a/../.."])
@pytest.mark.parametrize("origin", ["", "{url}"])
def test_a_link_to_the_next_page_that_climbs_out_of_the_base_url_is_not_followed(
    meisa_sandbox, meisa_connection, origin, up
):
    link = f"{origin.format(url=meisa_sandbox.url)}/api/v1/{up}/{up}/elsewhere/"
    meisa_sandbox.fault("status", status=200, method="GET", times=1, body={"results": [], "next": link})
    MeisaHook().list_sequences()
    first, *others = {request["path"] for request in meisa_sandbox.requests()}
    assert (first, others) == ("/api/v1/sequences/api/list/", [])
