"""What the public calls of the client refuse, before a request leaves."""

import datetime as dt
import decimal

import pytest

from airflow_provider_meisa.api import checks
from airflow_provider_meisa.api.client import MeisaClient
from airflow_provider_meisa.api.endpoints import sequences
from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.settings import Settings

NO_SWITCHES = ["False", "no", 0, 1, None, "", [], [False]]


@pytest.fixture
def client(meisa_sandbox):
    settings = Settings(
        api_key=meisa_sandbox.key,
        base_url=meisa_sandbox.url,
        rate_limit_storage="memory",
        allow_override_unsubscribe=True,
    )
    with MeisaClient(settings) as made:
        yield made


CALLS = {
    "enroll": lambda client, **given: sequences.enroll(
        client, **{"email": "unsubscribed@example.com", "sequence_slug": "onboarding", **given}
    ),
    "bulk": lambda client, **given: sequences.bulk_enroll(
        client, **{"emails": ["unsubscribed@example.com"], "sequence_slug": "onboarding", **given}
    ),
    "list": sequences.list_sequences,
    "enrollments": sequences.contact_enrollments,
    "call": lambda client, **given: client.send(sequences._LIST, **given),
}


@pytest.mark.parametrize(
    ("call", "name", "value"),
    [
        *(
            (call, name, value)
            for value in NO_SWITCHES
            for call, name in [
                ("enroll", "override_unsubscribe"),
                ("bulk", "override_unsubscribe"),
                ("enroll", "resend"),
                ("bulk", "resend"),
                ("call", "resend"),
            ]
        ),
        *(("enroll", "trigger_source", value) for value in (2024, None, "", ["a"])),
        *(("enroll", "email", value) for value in (7, None, b"a@example.com", "")),
        *(("enrollments", "email", value) for value in (7, None, ["a@example.com"], " ")),
        *(("enroll", "sequence_slug", value) for value in (7, ["onboarding"], "[onboarding]", None)),
        *(("bulk", "sequence_slug", value) for value in (7, ("onboarding",), "{'a': 1}", "")),
        *(("list", "status", value) for value in (7, None, ["all"])),
        *(("list", "search", value) for value in (7, None, True)),
        *(("enroll", "metadata", value) for value in ('{"a": 1}', [1], 7, {"a": {1}}, {1: "a"}, {"a": b""})),
    ],
    ids=repr,
)
def test_a_call_refuses_what_is_not_of_its_type(client, meisa_sandbox, call, name, value):
    with pytest.raises(MeisaInputError, match=f"^{name} "):
        CALLS[call](client, **{name: value})
    assert meisa_sandbox.requests() == []


def test_a_refused_batch_gives_its_slot_back(client):
    before = client.rate_limiter.remaining()
    reservation = client.rate_limiter.reserve()
    with pytest.raises(MeisaInputError):
        CALLS["bulk"](client, override_unsubscribe="False", reservation=reservation)
    assert client.rate_limiter.remaining() == before


@pytest.mark.parametrize("name", ["allow_override_unsubscribe", "allow_http"])
@pytest.mark.parametrize("value", NO_SWITCHES, ids=repr)
def test_settings_refuse_a_guard_that_is_no_bool(name, value):
    with pytest.raises(MeisaInputError, match=f"^{name} must be True or False"):
        Settings(api_key="meisa_live_key", **{name: value})


@pytest.mark.parametrize("value", ["5", None, True, float("nan"), 0, dt.timedelta(seconds=5)], ids=repr)
def test_settings_refuse_a_timeout_that_is_no_number(value):
    with pytest.raises(MeisaInputError, match=r"^timeout must be"):
        Settings(api_key="meisa_live_key", timeout=value)


@pytest.mark.parametrize("value", ["120", None, True, -1, float("nan")], ids=repr)
def test_a_client_refuses_a_wait_that_is_no_time(value):
    with pytest.raises(
        MeisaInputError, match="max_wait must be a number of seconds, 0 or more, or a timedelta"
    ):
        MeisaClient(Settings(api_key="meisa_live_key"), max_wait=value)


@pytest.mark.parametrize(
    ("given", "seconds"), [(dt.timedelta(minutes=2), 120), (0, 0), (float("inf"), float("inf"))]
)
def test_a_client_takes_seconds_or_a_timedelta(given, seconds):
    with MeisaClient(Settings(api_key="meisa_live_key"), max_wait=given) as client:
        assert client.max_wait == seconds


def deep(levels):
    value = {}
    for _ in range(levels):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"since": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)},
            "metadata under 'since' holds a value of type datetime",
        ),
        ({"a": {"b": [decimal.Decimal(1)]}}, "metadata under 'b' holds a value of type Decimal"),
        ({"rate": float("nan")}, "metadata under 'rate' holds nan"),
        ({"jane@example.com": {1}}, "metadata holds a value of type set"),
        ({"a": {2: 3}}, "metadata under 'a' has a key that is a value of type int"),
        (deep(40), "at most 50 deep"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_metadata_names_the_key_of_what_is_no_json(value, message):
    with pytest.raises(MeisaInputError) as refused:
        checks.check_json_object("metadata", value)
    assert message in str(refused.value)
    assert "jane" not in str(refused.value)


def test_metadata_is_copied_with_tuples_as_lists():
    given = {"a": ("b", None, True, 1.5), "c": {"d": []}}
    assert checks.check_json_object("metadata", given) == {"a": ["b", None, True, 1.5], "c": {"d": []}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no", "the text 'no'"),
        ("jane@example.com", "a text"),
        ("meisa_live_abc", "a text"),
        ("two words", "a text"),
        ("{{ params.x }}", "a template that is not rendered here"),
        ("  ", "an empty text"),
        (None, "None"),
        (-1, "-1"),
        (10**100, "a value of type int"),
        (["jane@example.com"], "a value of type list"),
    ],
)
def test_what_was_found_is_said_without_content(value, message):
    assert checks.found(value) == message
