"""What Meisa says of a request it refuses is in the error, without addresses, keys and what was sent."""

from __future__ import annotations

import json

import pytest

from airflow_provider_meisa.api.endpoints.sequences import bulk_enroll, enroll
from airflow_provider_meisa.api.errors import (
    MeisaInvalidRequestError,
    MeisaKeyError,
    MeisaNotFoundError,
    MeisaScopeError,
    MeisaServerError,
    MeisaUnavailableError,
)
from airflow_provider_meisa.api.models import Request
from tests.support.raw_server import respond_with

ADA = "ada@private.example"
READ = Request("GET", "/things/", scope="things:read", query={"search": "Lovelace"})
WRITE = Request(
    "POST", "/things/", body={"email": ADA, "metadata": {"name": "Lovelace"}}, scope="things:write"
)
REASONS = ["Your plan ended on 1 May.", "Der Absender fehlt.", "At most 100 contacts a day"]


def failure(raw, client, status, body, call=WRITE):
    raw.will(respond_with(status, body))
    with pytest.raises(Exception) as caught:  # noqa: PT011 (each test looks at the class)
        client._transport.send(call)
    return caught.value


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("key", ["detail", "error", "message", "non_field_errors"])
@pytest.mark.parametrize("status", [400, 401, 402, 404, 405, 409, 413, 422, 429, 500, 502, 503])
def test_reason_is_in_the_message_of_each_status(raw, raw_client, status, key, reason):
    error = failure(raw, raw_client, status, {key: [reason] if key.endswith("s") else reason})
    assert str(error).endswith(f" Meisa responded: {reason}")
    assert f"({status})" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "quota", "message": REASONS[0]}},
        {"errors": [{"detail": REASONS[0]}]},
        [REASONS[0]],
        json.dumps(REASONS[0]),
        {"emails": [REASONS[0]]},
        {"detail": REASONS[0], "first_name": ["Lovelace is odd."]},
        {"errors": {"detail": REASONS[0], "first_name": ["Lovelace is odd."]}},
        {"errors": [{"detail": REASONS[0]}, {"custom_fields": {"name": ["Lovelace is odd."]}}]},
    ],
)
@pytest.mark.parametrize("status", [400, 402, 422, 503])
def test_reason_is_found_in_other_shapes(raw, raw_client, status, body):
    error = failure(raw, raw_client, status, body)
    assert REASONS[0] in str(error)
    assert "Lovelace" not in str(error)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 413, 422, 429, 500, 503])
@pytest.mark.parametrize("call", [READ, WRITE])
def test_reason_shows_nothing_that_was_sent(raw, raw_client, status, call):
    body = {
        "detail": f"Lovelace <{ADA}> of meisa_live_Secret42 may not",
        "metadata": ["Lovelace is odd."],
        "external_id": ["Taken by Grace Hopper."],
    }
    text = str(failure(raw, raw_client, status, body, call))
    assert [
        leak for leak in ("Lovelace", "ada@", "private.example", "Secret42", "Hopper") if leak in text
    ] == []
    assert "may not" in text


def test_reason_shows_nothing_sent_with_other_white_space(raw, raw_client):
    call = Request("POST", "/contacts/upsert/", body={"last_name": "King  of\tLovelace"}, safe=False)
    error = failure(raw, raw_client, 400, {"detail": "King of Lovelace is taken."}, call)
    assert str(error).endswith("Meisa responded: … is taken.")


@pytest.mark.parametrize("body", ["", "<html>no</html>", {}, "no", {"detail": None}])
@pytest.mark.parametrize("status", [400, 413, 422, 503])
def test_message_ends_without_a_reason_where_there_is_none(raw, raw_client, status, body):
    assert "Meisa responded" not in str(failure(raw, raw_client, status, body))


# 403.


@pytest.mark.parametrize(
    "reason",
    [
        "Invalid API key.",
        "Authentication credentials were not provided.",
        "Invalid token.",
        "This key has expired.",
        "API-Key revoked",
        "Unknown api_key",
    ],
)
@pytest.mark.parametrize("call", [READ, WRITE])
def test_403_of_a_wrong_key_is_laid_to_the_key(raw, raw_client, call, reason):
    error = failure(raw, raw_client, 403, {"detail": reason}, call)
    assert type(error) is MeisaKeyError
    assert error.status == 403
    assert "Check the API key (password field) of the connection." in str(error)
    assert reason in str(error)
    assert "scope" not in str(error)


@pytest.mark.parametrize(
    "reason",
    [
        "This API key lacks the scope things:read.",
        "You do not have permission to perform this action.",
        "Insufficient privileges of this key",
        "missing_scope",
    ],
)
def test_403_of_a_missing_scope_names_it(raw, raw_client, reason):
    error = failure(raw, raw_client, 403, {"detail": reason}, READ)
    assert type(error) is MeisaScopeError
    assert error.scope == "things:read"
    assert "lacks the scope things:read (403)" in str(error)


@pytest.mark.parametrize(
    "body", [{"detail": "Your account is suspended."}, {"error": "IP address blocked"}, {}]
)
def test_other_403_does_not_claim_a_missing_scope(raw, raw_client, body):
    error = failure(raw, raw_client, 403, body, READ)
    assert type(error) is MeisaScopeError
    assert error.scope is None
    assert "lacks" not in str(error)
    assert "Meisa forbids this (403). It needs the scope things:read." in str(error)
    assert all(reason in str(error) for reason in body.values())


# 413.


@pytest.mark.parametrize("body", ["<html>413 Request Entity Too Large</html>", {"detail": "Too large."}])
def test_413_speaks_of_size(raw, raw_client, body):
    error = failure(raw, raw_client, 413, body)
    assert type(error) is MeisaInvalidRequestError
    size = len(json.dumps(WRITE.body))
    assert f"the request is too large (413): it has {size} bytes. Raise the limit" in str(error)


# Through the front door.

STATUSES = {
    400: MeisaInvalidRequestError,
    402: MeisaInvalidRequestError,
    404: MeisaNotFoundError,
    413: MeisaInvalidRequestError,
    422: MeisaInvalidRequestError,
    500: MeisaServerError,
}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    "send", [lambda c: bulk_enroll(c, [ADA], "onboarding"), lambda c: enroll(c, ADA, "onboarding")]
)
def test_enrolling_raises_with_the_reason(meisa_sandbox, client, status, send):
    meisa_sandbox.fault("status", status=status, path="enroll", body={"detail": f"{REASONS[0]} ({ADA})"})
    with pytest.raises(STATUSES[status], match=r"Meisa responded: Your plan ended on 1 May\."):
        send(client)
    assert meisa_sandbox.enrollments("onboarding") == []


def test_unavailable_logs_its_reason_before_a_wait(raw, raw_client, caplog):
    raw.will(respond_with(503, {"detail": "Maintenance until 14:00."}), respond_with(200, {}))
    raw_client.send(Request("GET", "/ping/"))
    assert (
        "Try again later. Meisa responded: Maintenance until 14:00. Attempt 2 of 5 follows when"
        in caplog.text
    )


def test_unavailable_for_long_logs_its_reason(raw, client_of, caplog):
    raw.will(respond_with(503, {"detail": "Maintenance until 14:00."}, Retry_After="1800"))
    with pytest.raises(MeisaUnavailableError, match="Maintenance until 14:00"):
        client_of(raw.url, max_wait=10).send(Request("GET", "/ping/"))
    assert "Meisa responded: Maintenance until 14:00." in caplog.text
