"""A guard of the connection is never off in silence: seen from tasks, the trigger, the commands and the page."""

from __future__ import annotations

import asyncio
import json
import logging
from urllib.parse import quote, urlencode

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_meisa.hooks import connections as hooks
from airflow_provider_meisa.hooks.meisa import MeisaHook
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from airflow_provider_meisa.sensors.sequences import MeisaSequenceSensor
from airflow_provider_meisa.triggers import sequences as triggers
from tests.cli.conftest import meisa  # noqa: F401 - the fixture of the commands
from tests.plugins.conftest import as_user  # noqa: F401 - the fixture of the page

TEST = {"environment": "test"}  # and the key is a live one
SECRET = "hunter2-of-the-extra"

# Each of these once left the guard off, or ended in an AttributeError.
FAIL_OPEN = {
    "misspelt": (
        json.dumps({"enviroment": "test"}),
        "'enviroment' is not known; the nearest one is environment",
    ),
    "capitals": (json.dumps({"Environment": "test"}), "'Environment' is not known"),
    "short": (json.dumps({"env": "test", "note": SECRET}), "'env' is not known"),
    "by its value": (json.dumps({"stufe": "test"}), "'stufe' is not known"),
    "nested": (json.dumps({"extra": TEST}), "holds another one"),
    "one level down": (json.dumps({"meisa": TEST}), "'meisa' is not known"),
    "not JSON": (f"environment=test {SECRET}", "The extra is not JSON"),
    "a Python dict": (str({**TEST, "note": SECRET}), "The extra is not JSON"),
    "a list": (json.dumps([TEST]), "a list instead of an object"),
    "a number": ("5", "a number instead of an object"),
    "twice": ('{"environment": "test", "environment": ""}', "'environment' twice"),
    "a list as value": (json.dumps({"environment": ["test"]}), "environment must be text; it is a list"),
    "another word": (json.dumps({"environment": "staging"}), "environment must be 'live', 'test' or empty"),
    "base URL": (
        json.dumps({**TEST, "base_url": f"https://{SECRET}"}),
        "belongs in the connection's Base URL field (host)",
    ),
    "limits": (json.dumps({**TEST, "rate_limts": "5/hour"}), "the nearest one is rate_limits"),
    "limits as list": (json.dumps({"rate_limits": ["5/hour"]}), "rate_limits must be text; it is a list"),
    "timeout": (json.dumps({"timeout": SECRET}), "timeout must be a number of seconds"),
    "switch": (json.dumps({"allow_http": "yes"}), "allow_http must be true or false; it is other text"),
}
every_fault = pytest.mark.parametrize(("raw", "words"), FAIL_OPEN.values(), ids=FAIL_OPEN)


@pytest.fixture
def raw_connection(meisa_sandbox, monkeypatch):
    """Make a connection to the sandbox with its live key; its extra is text, as Airflow keeps it."""

    def connect(raw, conn_id="meisa_default", **fields):
        made = {"conn_type": "meisa", "host": meisa_sandbox.url, "password": meisa_sandbox.key, "extra": raw}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({**made, **fields}))

    return connect


@pytest.fixture
def uri_connection(meisa_sandbox, monkeypatch):
    """Make a connection of a URI, where every value is text."""

    def connect(query, conn_id="meisa_default"):
        host = quote(meisa_sandbox.url, safe="")
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", f"meisa://:{meisa_sandbox.key}@{host}/?{query}")

    return connect


@pytest.fixture
def untouched(meisa_sandbox):
    """See at the end that nothing has reached the sandbox."""
    yield
    assert meisa_sandbox.requests() == []
    assert meisa_sandbox.enrollments("onboarding") == []


@every_fault
def test_the_hook_refuses_and_names_the_connection(raw_connection, untouched, raw, words):
    raw_connection(raw, "crm_meisa")
    with pytest.raises(AirflowFailException) as raised:
        MeisaHook("crm_meisa").get_conn()
    assert "crm_meisa: " in str(raised.value)
    assert words in str(raised.value)
    assert SECRET not in str(raised.value)


@every_fault
def test_the_test_button_reports_and_does_not_raise(raw_connection, untouched, raw, words):
    raw_connection(raw)
    working, message = MeisaHook().test_connection()
    assert (working, words in message, SECRET in message) == (False, True, False)


@every_fault
def test_the_event_loop_refuses_the_same(raw_connection, untouched, raw, words):
    raw_connection(raw)
    with pytest.raises(AirflowFailException, match=r"^Connection meisa_default: ") as raised:
        asyncio.run(MeisaHook().get_async_conn())
    assert words in str(raised.value)


@pytest.mark.parametrize("fault", ["misspelt", "not JSON", "a list"])
@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        (MeisaBulkEnrollOperator, {"emails": ["ada@example.com"], "sequence_slug": "onboarding"}),
        (MeisaEnrollOperator, {"contact_email": "ada@example.com", "sequence_slug": "onboarding"}),
        (MeisaSequenceSensor, {"sequence_slug": "onboarding", "timeout": 5, "poke_interval": 0.05}),
    ],
    ids=["bulk", "one", "sensor"],
)
def test_a_task_fails_before_it_sends(
    run_task, raw_connection, untouched, everything_written, fault, operator, arguments
):
    raw, words = FAIL_OPEN[fault]
    raw_connection(raw)
    assert run_task(operator, **arguments).state == "failed"
    written = everything_written()
    assert words in written
    assert SECRET not in written


@pytest.mark.parametrize("fault", ["capitals", "nested", "twice"])
def test_the_trigger_ends_with_the_error(raw_connection, untouched, fault):
    triggers._listings.clear()
    raw, words = FAIL_OPEN[fault]
    raw_connection(raw)
    trigger = triggers.MeisaSequenceTrigger(
        meisa_conn_id="meisa_default",
        slugs=["onboarding"],
        status="active",
        on_missing="fail",
        poll_interval=1,
    )

    async def first():
        return (await anext(trigger.run())).payload

    event = asyncio.run(asyncio.wait_for(first(), 20))
    assert (event["status"], event["final"]) == ("error", True)
    assert words in event["message"]


@pytest.mark.parametrize("fault", ["misspelt", "a number", "one level down"])
def test_a_command_ends_with_the_error(meisa, raw_connection, untouched, tmp_path, fault):  # noqa: F811
    raw, words = FAIL_OPEN[fault]
    raw_connection(raw)
    people = tmp_path / "people.txt"
    people.write_text("ada@example.com\n")
    for arguments in (
        ["ping"],
        ["rate-limits"],
        ["enroll-file", people, "--sequence", "onboarding", "--yes"],
    ):
        ended = meisa(*arguments)
        assert ended.status == 2
        assert words in ended.err


@pytest.mark.parametrize("fault", ["short", "not JSON", "a list", "switch"])
def test_the_page_shows_the_error(as_user, raw_connection, untouched, fault):  # noqa: F811
    raw, words = FAIL_OPEN[fault]
    raw_connection(raw)
    page = as_user()
    for part in ("sequences", "rate_limits"):
        response = page.get(part, params={"connection": "meisa_default"})
        assert words in response.json()["problem"]
        assert SECRET not in response.text


@pytest.mark.parametrize(
    "query",
    [
        "enviroment=test",
        "environment=test&enviroment=live",
        urlencode({"__extra__": json.dumps({"Environment": "test"})}),
        urlencode({"__extra__": "environment=test"}),
        urlencode({"extra": json.dumps(TEST)}),
        "environment=test&allow_http=yes",
        "environment=test&timeout=30s",
        "environment=test&rate%20limits=5%2Fhour",
    ],
)
def test_a_uri_is_refused_like_json(uri_connection, untouched, query):
    uri_connection(query)
    with pytest.raises(AirflowFailException, match="Connection meisa_default: "):
        MeisaHook().get_conn()


@pytest.mark.parametrize(
    "query",
    [
        "environment=live&allow_http=true&timeout=7.5&allow_override_unsubscribe=false",
        "extra__meisa__environment=live&timeout=7.5&allow_http=True",
        urlencode({"__extra__": json.dumps({"environment": "live", "timeout": 7.5, "allow_http": True})}),
        urlencode(
            {"__extra__": json.dumps(json.dumps({"environment": "live", "timeout": 7.5, "allow_http": True}))}
        ),
    ],
)
def test_text_of_a_uri_is_read_where_it_is_plain(uri_connection, query):
    uri_connection(query)
    settings = MeisaHook().get_conn().settings
    assert (settings.environment, settings.timeout) == ("live", 7.5)
    assert (settings.allow_http, settings.allow_override_unsubscribe) == (True, False)


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps({"extra__meisa__environment": "test"}),
        json.dumps(json.dumps(TEST)),
        json.dumps({"environment": " Test ", "timeout": None, "allow_http": ""}),
    ],
    ids=["an old name", "JSON of JSON", "capitals in the value"],
)
def test_a_guard_that_is_read_stops_a_live_key(run_task, raw_connection, meisa_sandbox, raw):
    raw_connection(raw)
    emails = ["ada@example.com"]
    assert run_task(MeisaBulkEnrollOperator, emails=emails, sequence_slug="onboarding").state == "failed"
    assert meisa_sandbox.enrollments("onboarding") == []
    assert {request["path"].rpartition("api/v1")[2] for request in meisa_sandbox.requests()} <= {
        "/ping/",
        "/sequences/api/list/",
    }


@pytest.fixture
def warned(monkeypatch):
    monkeypatch.setattr(hooks, "_warned", set())


OTHERS = {"owner": SECRET, "timout": 5, SECRET: 1}
NAMES = "'owner', 'timout' (did you mean timeout?), (a name that is not shown)."


def test_other_unknown_extras_are_warned_of_once(raw_connection, warned, caplog):
    raw_connection(json.dumps(OTHERS))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            MeisaHook().get_conn()
            asyncio.run(MeisaHook().get_async_conn())
    (warning,) = [record.getMessage() for record in caplog.records if "not known" in record.getMessage()]
    assert warning.startswith(f"Connection meisa_default: Extras that are not known, and not used: {NAMES}")
    assert SECRET not in caplog.text


def test_the_test_button_names_what_is_not_used(raw_connection):
    raw_connection(json.dumps(OTHERS))
    working, message = MeisaHook().test_connection()
    assert working
    assert NAMES in message
    assert SECRET not in message


def test_a_command_names_what_is_not_used_once(meisa, raw_connection, warned):  # noqa: F811
    raw_connection(json.dumps(OTHERS))
    ended = meisa("ping")
    assert (ended.status, ended.err.count(NAMES)) == (0, 1)
    assert SECRET not in ended.err


def test_a_connection_airflow_itself_refuses_is_a_sentence(mocker, raw_connection):
    """Airflow before 3.3 raises ValueError for an extra that is not an object, and may quote it."""
    mocker.patch.object(MeisaHook, "get_connection", side_effect=ValueError(SECRET))
    working, message = MeisaHook("crm_meisa").test_connection()
    assert not working
    assert message.startswith("Airflow cannot read the connection crm_meisa (ValueError).")
    assert SECRET not in message


def test_passwords_of_a_store_are_masked_before_a_check(mocker, raw_connection):
    masked = mocker.patch.object(hooks, "mask_secret")
    raw_connection(
        json.dumps({"extra__meisa__rate_limit_storage": "redis://:of-store@127.0.0.1:1/0", "env": "test"})
    )
    with pytest.raises(AirflowFailException):
        MeisaHook().get_conn()
    assert mocker.call("of-store") in masked.call_args_list
