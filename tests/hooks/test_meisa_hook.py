import asyncio
import json
import re
from importlib.util import find_spec

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    Connection,
)

from airflow_provider_meisa.api.errors import MeisaError, MeisaKeyError, MeisaServerError
from airflow_provider_meisa.get_provider_info import get_provider_info
from airflow_provider_meisa.hooks.meisa import MeisaHook, raise_airflow_errors


@pytest.fixture(autouse=True)
def connection(meisa_connection):
    return meisa_connection


def test_each_call_of_the_api_is_one_method(meisa_sandbox):
    hook = MeisaHook()
    assert hook.ping().environment == "live"
    assert hook.enroll("ada@example.com", "onboarding", metadata={"plan": "team"}).status == "enrolled"
    assert [
        o.status for o in hook.bulk_enroll(["ada@example.com", "kay@example.com"], "onboarding").outcomes
    ] == [
        "already_enrolled",
        "enrolled",
    ]
    assert {info.slug for info in hook.list_sequences()} == {"onboarding", "reactivation"}
    assert {info.slug for info in hook.list_sequences(status="all", search="win")} == {"winback"}
    assert hook.contact_enrollments("ada@example.com").enrollments[0].sequence_slug == "onboarding"
    assert "unsubscribed@example.com" in hook.unsubscribed_emails().emails


def test_the_client_is_made_once_a_hook():
    hook = MeisaHook()
    assert hook.get_conn() is hook.get_conn()
    assert asyncio.run(hook.get_async_conn()) is hook.get_conn()


def test_on_an_event_loop_the_client_is_the_same_kind(meisa_sandbox):
    client = asyncio.run(MeisaHook().get_async_conn())
    assert client.settings.base_url == meisa_sandbox.api_url


def test_no_secret_is_ever_masked_on_an_event_loop(connection, meisa_sandbox, mocker):
    """The triggerer of Airflow 3.0 refuses it there, and the trigger would die of it."""
    masked = set()

    def mask_as_airflow_3_0_does(secret):
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        masked.update([secret] if isinstance(secret, str) else [])

    connection(extra={"rate_limit_storage": "redis://:of-the-store@127.0.0.1:1/0"})
    mocker.patch("airflow_provider_meisa.hooks.connections.mask_secret", mask_as_airflow_3_0_does)
    assert asyncio.run(MeisaHook().get_async_conn()).settings.api_key
    assert masked == {meisa_sandbox.key, "of-the-store"}


def test_an_unknown_connection_is_named():
    with pytest.raises(AirflowNotFoundException, match="nobody_made_this"):
        MeisaHook("nobody_made_this").get_conn()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"password": ""}, "API key is empty"),
        ({"host": "http://meisa.example.com"}, "https://"),
        ({"host": "https://user:secret@meisa.example.com"}, "no user, password"),
        ({"extra": {"timeout": "soon"}}, "timeout"),
        ({"extra": {"rate_limits": "sixty"}}, "60/minute"),
        ({"extra": {"environment": "staging"}}, "'live', 'test'"),
        ({"extra": {"allow_http": "perhaps"}}, "allow_http"),
        ({"extra": {"rate_limit_storage": "ftp://somewhere"}}, "redis://"),
        ({"extra": {"rate_limit_storage": "file://[x"}}, "rate_limit_storage names no store"),
        (
            {"extra": {"rate_limit_storage": "redis://:word@[x"}},
            "Redis URL in rate_limit_storage cannot be read",
        ),
        ({"schema": "api/v2"}, "schema field must be empty, http or https"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_connection_that_cannot_be_used_says_what_to_do(connection, changes, message):
    connection(**changes)
    with pytest.raises(AirflowFailException, match=message):
        MeisaHook().get_conn()
    working, said = MeisaHook().test_connection()
    assert (working, message in said) == (False, True)


def test_a_failure_a_retry_cannot_mend_stops_the_task_and_others_do_not():
    with pytest.raises(AirflowFailException), raise_airflow_errors():
        raise MeisaKeyError("no", status=401)
    with pytest.raises(AirflowException) as raised, raise_airflow_errors():
        raise MeisaServerError("later", status=503)
    assert not isinstance(raised.value, AirflowFailException)
    assert isinstance(raised.value.__cause__, MeisaError)


def test_the_test_button_says_what_the_key_may_do(connection, meisa_sandbox):
    working, said = MeisaHook().test_connection()
    assert working
    assert "live key" in said
    assert "sequences:enroll" in said
    assert "Missing" not in said
    meisa_sandbox.add_key("meisa_live_reader", ["sequences:read"])
    connection(password="meisa_live_reader")
    _, said = MeisaHook().test_connection()
    assert "Missing for: sequences:enroll (every operator that enrolls)" in said
    assert "meisa_live_reader" not in said


def test_the_test_button_never_raises_and_never_shows_the_key(connection, meisa_sandbox):
    connection(password="meisa_live_unknown")
    working, said = MeisaHook().test_connection()
    assert not working
    assert "401" in said
    assert "meisa_live_unknown" not in said


def test_the_test_button_finds_a_key_of_the_wrong_environment(connection, meisa_sandbox):
    connection(extra={"environment": "live"}, password=meisa_sandbox.test_key)
    assert MeisaHook().test_connection() == (
        False,
        (
            "The extra environment requires the environment live, but the API key is of test. Change the API key or "
            "that setting."
        ),
    )


def test_the_connection_survives_the_round_trip_through_a_uri(meisa_sandbox, monkeypatch):
    connection = Connection(
        conn_id="round_trip",
        conn_type="meisa",
        host=meisa_sandbox.api_url,
        password=meisa_sandbox.key,
        extra=json.dumps({"rate_limits": "20/2s, 100/hour", "rate_limit_storage": "memory"}),
    )
    monkeypatch.setenv("AIRFLOW_CONN_ROUND_TRIP", connection.get_uri())
    settings = MeisaHook("round_trip").get_conn().settings
    assert settings.base_url == meisa_sandbox.api_url
    assert [str(limit) for limit in settings.limits] == ["20/2s", "100/hour"]
    assert MeisaHook("round_trip").test_connection()[0]


def test_a_path_in_a_uri_is_used_where_it_is_encoded_and_refused_where_it_is_not(monkeypatch):
    """Airflow reads what follows the host as ``schema``: the path would be lost."""
    monkeypatch.setenv("AIRFLOW_CONN_LOST", "meisa://:meisa_live_uri@api.meisa.io/api/v2")
    monkeypatch.setenv("AIRFLOW_CONN_KEPT", "meisa://:meisa_live_uri@https%3A%2F%2Fapi.meisa.io%2Fapi%2Fv2")
    with pytest.raises(AirflowFailException, match=r"write .*https%3A%2F%2Fapi\.meisa\.io%2Fapi%2Fv1"):
        MeisaHook("lost").get_conn()
    assert MeisaHook("kept").get_conn().settings.base_url == "https://api.meisa.io/api/v2"


def test_the_key_is_masked_from_the_moment_it_is_read(connection):
    from airflow.providers.common.compat.sdk import redact

    connection(password="meisa_live_veryspecial")
    MeisaHook().get_conn()
    assert "veryspecial" not in str(redact("the key is meisa_live_veryspecial"))


def test_a_key_that_was_pasted_with_white_space_is_masked_as_it_is_sent(connection):
    from airflow.providers.common.compat.sdk import redact

    connection(password=" meisa_live_pastedkey\n")
    assert MeisaHook().get_conn().settings.api_key == "meisa_live_pastedkey"
    assert "pastedkey" not in str(redact("the key is meisa_live_pastedkey"))


@pytest.mark.parametrize(
    ("store", "meant"),
    [
        ("redis://:stored-word-1@127.0.0.1:1/0", "stored-word-1"),
        ("rediss://app:stored%2Fword%202@127.0.0.1:1/0", "stored/word 2"),
        ("redis://127.0.0.1:1/0?password=stored%40word-3", "stored@word-3"),
    ],
)
def test_the_password_of_the_rate_limits_redis_is_masked_however_it_is_written(connection, store, meant):
    from airflow.providers.common.compat.sdk import redact

    connection(extra={"rate_limit_storage": store})
    MeisaHook().get_conn()
    assert meant not in str(redact(f"AUTH {meant}"))
    assert not re.search("stored.{1,3}word", str(redact(f"connecting to {store}")))


def test_the_form_of_old_airflows_shows_the_fields_of_the_new(mocker):
    """Airflow before 3.2 asks the hook for the form; later versions read provider info."""
    made = {}

    def field(kind):
        def make(**arguments):
            made[arguments["label"]] = (kind, arguments.get("default"), arguments.get("validators"))

        return make

    mocker.patch.dict(
        "sys.modules",
        {
            "flask_appbuilder.fieldwidgets": mocker.Mock(),
            "wtforms": mocker.Mock(
                StringField=field("text"),
                PasswordField=field("password"),
                BooleanField=field("tick"),
                IntegerField=field("number"),
            ),
            "wtforms.validators": mocker.Mock(
                any_of=lambda values: {"one of": values},
                Optional=lambda: "optional",
                NumberRange=lambda least, most: {"from": least, "to": most},
            ),
        },
    )
    (described,) = get_provider_info()["connection-types"]
    assert list(MeisaHook.get_connection_form_widgets()) == list(described["conn-fields"])
    assert made == {
        "Rate limits": ("text", "60/minute, 1000/hour", []),
        "Timeout (s)": ("number", 30, ["optional", {"from": 1, "to": 3600}]),
        "Environment": ("text", "", [{"one of": ["", "live", "test"]}]),
        "Allow override_unsubscribe": ("tick", False, None),
        "Allow http://": ("tick", False, None),
        "Rate limit storage": ("password", None, None),
        "Dashboard URL": ("text", "https://app.meisa.io", []),
    }
    assert MeisaHook.get_ui_field_behaviour() == {
        "hidden_fields": ["login", "port", "schema"],
        "relabeling": {"password": "API key", "host": "Base URL"},
        "placeholders": described["ui-field-behaviour"]["placeholders"],
    }


def test_the_form_of_the_ui_has_every_field_in_its_kind_without_flask_appbuilder():
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    assert find_spec("flask_appbuilder") is None
    (form,) = [each for each in HookMetaService.hook_meta_data() if each.connection_type == "meisa"]
    kinds = {
        name: (field["schema"]["type"][0], field["schema"].get("format") or field["schema"].get("enum"))
        for name, field in form.extra_fields.items()
    }
    assert kinds == {
        "rate_limits": ("string", None),
        "timeout": ("number", None),
        "environment": ("string", ["", "live", "test"]),
        "allow_override_unsubscribe": ("boolean", None),
        "allow_http": ("boolean", None),
        "rate_limit_storage": ("string", "password"),
        "dashboard_url": ("string", None),
    }
    assert all(field["description"] and field["schema"]["title"] for field in form.extra_fields.values())
    shown = form.standard_fields
    assert (shown.password.title, shown.host.title) == ("API key", "Base URL")
    assert shown.login.hidden
    assert shown.port.hidden
    assert shown.url_schema.hidden


@pytest.mark.parametrize("connection_id", ["meisa_default", "meisa_eu"])
def test_error_about_the_key_names_the_connection(connection, meisa_sandbox, connection_id):
    connection(connection_id, password="meisa_live_wrong")
    with pytest.raises(AirflowFailException, match=rf"of the connection {connection_id}\."):
        MeisaHook(connection_id).ping()
