"""Any response in Meisa's place: every reader returns what it promises, or raises a `MeisaError` that shows nothing."""

import json
from dataclasses import fields, is_dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_meisa.api.endpoints import account, contacts, sequences
from airflow_provider_meisa.api.error_response import error_from_response
from airflow_provider_meisa.api.errors import MeisaError, MeisaResponseError, MeisaUnreadableResponseError
from airflow_provider_meisa.api.models import Request
from airflow_provider_meisa.api.outcomes import Outcome
from airflow_provider_meisa.api.rate_limit.limits import Limit, parse_limits
from airflow_provider_meisa.api.settings import Settings
from tests.support.raw_server import respond_with

MARK = "ada.lovelace@private.example"
KEY = "meisa_live_topsecret"
PASSWORD = "meisa_test_nowhereelse"

words = st.text(max_size=12) | st.sampled_from(
    [MARK, KEY, "active", "live", "onboarding", "a\nb", "\x1b[31m", "\ud800"]
)
NAMES = (
    "results next emails as_of slug name status total_enrolled environment product scopes contact_exists enrollments "
    "sequence sequence_slug detail error email count"
)
names = words | st.sampled_from(NAMES.split())
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(names, inner, max_size=6),
    max_leaves=25,
)
READERS = {
    "ping": account.ping,
    "list": sequences.list_sequences,
    "enrollments": lambda client: sequences.contact_enrollments(client, MARK),
    "unsubscribed": contacts.unsubscribed_emails,
    "enroll": lambda client: sequences.enroll(client, MARK, "onboarding", resend=False),
    "active": lambda client: sequences.check_active(client, "onboarding"),
}
at_length = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def shows_nothing(text):
    return MARK not in text and "lovelace" not in text and "topsecret" not in text and text.isprintable()


def attempt(work, *arguments, **more):
    """Return what comes of a call, and the words of its error."""
    try:
        return work(*arguments, **more), ""
    except MeisaError as error:
        return None, str(error)


@pytest.mark.parametrize("reader", READERS)
@at_length
@given(body=anything)
def test_any_json_is_read_or_refused(raw, client_of, reader, body):
    raw.will(respond_with(200, json.dumps(body)))
    found, message = attempt(READERS[reader], client_of(raw.url))
    assert shows_nothing(message), message
    if is_dataclass(found):
        assert all(
            isinstance(getattr(found, each.name), str | bool | tuple | frozenset | None)
            for each in fields(found)
            if each.name != "total_enrolled"
        )
    elif reader == "list" and found is not None:
        assert all(isinstance(each.slug, str) and isinstance(each.status, str) for each in found)
        json.dumps([each.as_json() for each in found])


header_text = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20
)


@pytest.mark.parametrize("reader", READERS)
@at_length
@given(
    status=st.integers(200, 599).filter(lambda status: status not in (204, 304)),
    content=st.binary(max_size=200) | anything.map(lambda body: json.dumps(body).encode()),
    retry_after=st.none() | header_text,
    encoding=st.sampled_from([None, None, "gzip", "deflate", "br", "identity", "nonsense"]),
)
def test_any_status_with_any_bytes_is_read_or_refused(
    raw, client_of, reader, status, content, retry_after, encoding
):
    headers = {"Retry_After": retry_after, "Content_Encoding": encoding, "Location": "http://127.0.0.1:9/"}
    page = respond_with(
        status, content, **{name: value for name, value in headers.items() if value is not None}
    )
    raw.will(page)
    found, message = attempt(READERS[reader], client_of(raw.url, max_wait=1))
    assert message or status < 300 or isinstance(found, Outcome)  # a refusal of one contact is a status
    assert shows_nothing(message), message


@given(
    status=st.integers(400, 999),
    body=st.binary(max_size=300) | anything.map(lambda body: json.dumps(body).encode()),
    retry_after=st.none() | st.text(max_size=30),
)
def test_every_refusal_becomes_an_error_with_a_short_reason_that_shows_nothing(status, body, retry_after):
    error = error_from_response(
        Request("POST", "/sequences/enroll/", scope="sequences:enroll"),
        status,
        body,
        retry_after,
        connection="the connection",
    )
    assert isinstance(error, MeisaResponseError | MeisaUnreadableResponseError)  # 403 that is not JSON
    assert shows_nothing(str(error))
    reason = getattr(error, "reason", "")
    assert shows_nothing(reason)
    assert len(reason) <= 200


@given(outcome=st.sampled_from([400, 409, 422]), body=anything)
def test_a_refusal_of_one_contact_is_a_status_or_an_error(outcome, body):
    error = error_from_response(
        Request("POST", "/sequences/enroll/"),
        outcome,
        json.dumps(body).encode(),
        None,
        connection="the connection",
    )
    status = sequences.status_of(error)
    assert status is None or Outcome(MARK, status).status in set(status.__class__)


limit_pieces = st.sampled_from(
    ["60", "/", "minute", "1", "0", "hour", "s", ",", " ", ".5", "1e3", "²", "٣", "-", "days", "9" * 30]
)


@given(st.text(max_size=40) | st.lists(limit_pieces, max_size=9).map("".join))
def test_any_text_is_rate_limits_or_an_error_of_one_short_line(text):
    limits, message = attempt(parse_limits, text)
    assert message.isprintable()
    assert len(message) < 300
    if not message:
        assert all(isinstance(limit, Limit) for limit in limits)
        assert parse_limits(", ".join(map(str, limits))) == limits


extras = st.fixed_dictionaries(
    {},
    optional={
        name: anything | st.sampled_from(values)
        for name, values in {
            "rate_limits": ["60/minute", "1/s, 2/h"],
            "timeout": [1, "5", "1e3", "nan", "inf", "-1", 10**400],
            "environment": ["live", "TEST "],
            "allow_override_unsubscribe": [True, "yes", "perhaps"],
            "allow_http": [True, "off"],
            "rate_limit_storage": ["memory", "redis://:secret@h"],
            "dashboard_url": ["https://app.meisa.io", "https://app.meisa.io/s/{slug}", "javascript:alert(1)"],
            "unknown": ["x"],
        }.items()
    },
)


@given(
    host=words
    | st.sampled_from(
        ["https://api.meisa.io/api/v1", "127.0.0.1:8", "http://[::1", "http://u:p@h", "[", "h:x"]
    ),
    port=st.none() | st.integers(-1, 70_000),
    schema=words | st.sampled_from(["http", "https"]),
    password=st.text(max_size=20) | st.just(PASSWORD),
    extra=extras,
)
def test_any_connection_is_settings_or_an_error_that_does_not_show_the_key(
    host, port, schema, password, extra
):
    made, message = attempt(
        Settings.from_connection, host=host, port=port, schema=schema, password=password, extra=extra
    )
    assert "nowhereelse" not in message
    assert message.isprintable()
    if not message:
        assert made.base_url.startswith(("https://", "http://"))
        assert 0 < made.timeout <= 3600
        assert "nowhereelse" not in repr(made)
        assert made.dashboard_link("a/../b?c").startswith(("https://", "http://"))
