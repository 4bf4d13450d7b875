"""The sandbox responds to any request as a service would, records it, and never breaks.

Its OpenAPI describes the control API alone. Meisa's paths have one route, so that key, scope, rate and
method are checked in the order of Django REST Framework: a generator of requests from OpenAPI would not see them.
"""

import http.client
import json
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_meisa.sandbox.control import control_api
from airflow_provider_meisa.sandbox.endpoints import ENDPOINTS

at_length = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
texts = st.text(max_size=12) | st.sampled_from(
    [
        "ada@example.org",
        "onboarding",
        "legacy",
        "unsubscribed@example.com",
        "\x00",
        "\ud800@example.org",
        "a" * 300,
        "live",
    ]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.sampled_from([2**63, -(10**30)]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "email": texts | anything,
        "emails": st.lists(texts, max_size=4) | anything,
        "sequence_slug": st.sampled_from(["onboarding", "onboarding", "winback"]) | anything,
        "metadata": anything,
        "trigger_source": texts | anything,
        "override_unsubscribe": st.booleans() | anything,
    },
)
KEYS = ["meisa_live_sandbox", "meisa_live_sandbox", "meisa_test_sandbox", "", "nobody's", "\xe9\xff"]


def ask(sandbox, method, path, content, headers):
    """Send a request as bytes, and return the status and the body."""
    connection = http.client.HTTPConnection(urlsplit(sandbox.url).netloc, timeout=10)
    try:
        connection.request(method, path, body=content, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def noted(sandbox):
    return sum(sandbox.summary()["requests"].values())


@pytest.mark.parametrize("path", [*ENDPOINTS, "/api/v1/nowhere/", "/api/v1/ping"])
@example(method="POST", key=KEYS[0], content=b"[" * 100_000, kind="application/json")
@example(
    method="POST",
    key=KEYS[0],
    content=b'{"email": "\\ud800@example.org", "sequence_slug": "onboarding"}',
    kind="application/json",
)
@example(
    method="POST",
    key=KEYS[0],
    content=b'{"emails": ["\\ud800"], "sequence_slug": "onboarding"}',
    kind="application/json",
)
@example(
    method="POST",
    key=KEYS[0],
    content=b'{"email": "n@example.org", "sequence_slug": "onboarding", "metadata": {"n": NaN}}',
    kind="application/json",
)
@at_length
@given(
    method=st.sampled_from(["GET", "POST", "POST", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]),
    key=st.sampled_from(KEYS),
    content=bodies.map(lambda body: json.dumps(body).encode())
    | anything.map(lambda body: json.dumps(body).encode())
    | st.binary(max_size=60),
    kind=st.sampled_from(
        ["application/json", "application/json", "application/json; charset=utf-8", "text/plain", ""]
    ),
)
def test_any_request_is_answered_as_a_service_responses_and_noted(sandbox, path, method, key, content, kind):
    before = noted(sandbox)
    status, body = ask(sandbox, method, path, content, {"X-API-Key": key, "Content-Type": kind})
    assert status < 500, (status, body)
    assert noted(sandbox) == before + 1
    if path in ENDPOINTS and method != "HEAD":
        assert isinstance(json.loads(body), dict)


@at_length
@given(
    query=st.dictionaries(
        st.sampled_from(["status", "search", "email", "page"]), st.text(max_size=10), max_size=3
    )
)
@pytest.mark.parametrize("path", [path for path, endpoint in ENDPOINTS.items() if endpoint.method == "GET"])
def test_any_query_is_answered(live, path, query):
    response = live.session.get(live.sandbox.url + path, params=query, timeout=10)
    assert response.status_code in (200, 400)
    assert isinstance(response.json(), dict)


def operations():
    """List the operations in the OpenAPI of the control API."""
    app = FastAPI()
    app.include_router(control_api(None))
    return [(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods]


SENT = {
    "/_sandbox/keys": ("key", "scopes", "environment"),
    "/_sandbox/sequences": ("slug", "name", "status"),
    "/_sandbox/contacts": ("email", "status", "environment"),
    "/_sandbox/enrollments": ("sequence_slug", "emails", "status", "environment"),
    "/_sandbox/faults": ("kind", "path", "method", "times", "skip", "status", "body", "seconds", "shape"),
}
control_values = anything | st.sampled_from(
    ["status", "slow", "bulk_shape", "onboarding", "active", "paused", ["contacts:read"]]
)


@pytest.mark.parametrize(("method", "path"), operations())
@settings(at_length, max_examples=30)
@given(data=st.data())
def test_any_control_call_does_what_it_says_or_says_why_not(sandbox, method, path, data):
    wanted = SENT.get(path, ())
    shape = st.fixed_dictionaries({}, optional=dict.fromkeys(wanted, control_values))
    body = data.draw(st.lists(shape, max_size=2) | shape | anything)
    status, content = ask(sandbox, method, path, json.dumps(body), {"Content-Type": "application/json"})
    assert status < 500, (status, content)
    assert status == 204 or json.loads(content) is not None
    sandbox.clear_faults()
