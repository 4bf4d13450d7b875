"""Everything that can go wrong on the way, over a socket."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import requests

from airflow_provider_meisa.sandbox.faults import KINDS
from airflow_provider_meisa.sandbox.server import Sandbox


def of(sandbox, slug, email):
    return [row for row in sandbox.enrollments(slug) if row["email"] == email]


def test_a_status_comes_with_the_body_and_headers_asked_for(live, sandbox):
    sandbox.fault("status", status=503, body="busy", content_type="text/plain", headers={"Retry-After": "7"})
    response = live.enroll("status@example.org")
    assert (response.status_code, response.text, response.headers["Retry-After"]) == (503, "busy", "7")
    assert response.headers["Content-Type"].startswith("text/plain")
    assert not of(sandbox, "onboarding", "status@example.org")


@pytest.mark.parametrize("value", ["5", "Wed, 21 Oct 2026 07:28:00 GMT", "soon", "-1", "99999999999"])
def test_a_429_can_say_anything_about_when_to_come_back(live, sandbox, value):
    sandbox.fault("status", status=429, headers={"Retry-After": value}, times=1)
    assert live.get("/ping/").headers["Retry-After"] == value


@pytest.mark.parametrize("kind", ["status", "html", "empty"])
@pytest.mark.parametrize(("value", "message"), [(30, "30"), (2.5, "2.5"), (-1, "-1"), ("été", "été")])
def test_a_header_may_be_given_as_a_number(live, sandbox, kind, value, message):
    armed = sandbox.fault(kind, status=429, headers={"Retry-After": value}, times=1)
    assert armed["params"]["headers"] == {"Retry-After": message}
    response = live.get("/ping/")
    assert (response.status_code, response.headers["Retry-After"]) == (429, message)


def test_a_429_can_say_nothing_about_when_to_come_back(live, sandbox):
    sandbox.fault("status", status=429)
    response = live.get("/ping/")
    assert "Retry-After" not in response.headers
    assert response.json() == {"detail": "Too Many Requests."}


def test_a_status_can_carry_json_and_be_one_no_contact_knows(live, sandbox):
    sandbox.fault("status", status=200, body={"results": [], "next": "https://elsewhere.example/"}, times=1)
    sandbox.fault("status", status=599, content_type="")
    assert live.get("/ping/").json()["next"] == "https://elsewhere.example/"
    assert live.get("/ping/").json() == {"detail": "Unknown."}


@pytest.mark.parametrize("status", [200, 502])
def test_a_page_of_html_can_stand_in(live, sandbox, status):
    sandbox.fault("html", status=status)
    response = live.get("/ping/")
    assert response.status_code == status
    assert response.headers["Content-Type"].startswith("text/html")
    assert f"<h1>{status}" in response.text


@pytest.mark.parametrize("status", [200, 204, 500])
def test_a_response_can_be_empty(live, sandbox, status):
    sandbox.fault("empty", status=status)
    response = live.get("/ping/")
    assert (response.status_code, response.content) == (status, b"")


def test_a_redirect_points_where_it_is_told(live, sandbox):
    sandbox.fault("redirect", status=307, location="http://127.0.0.1:9/elsewhere")
    response = live.get("/ping/", allow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (307, "http://127.0.0.1:9/elsewhere")


@pytest.mark.parametrize("chunked", [True, False])
def test_a_response_can_be_huge_with_or_without_announcing_it(live, sandbox, chunked):
    sandbox.fault("huge", megabytes=2, chunked=chunked)
    response = live.get("/ping/")
    assert len(response.content) > 2_000_000
    assert ("Content-Length" in response.headers) is not chunked
    assert len(response.json()["results"][0]) == 2_000_000


def test_reset_before_drops_the_connection_and_does_nothing(live, sandbox):
    sandbox.fault("reset_before", times=1)
    with pytest.raises(requests.ConnectionError) as caught:
        live.enroll("before@example.org")
    assert "ConnectionResetError" in str(caught.value)
    assert not of(sandbox, "onboarding", "before@example.org")
    last = sandbox.requests()[-1]
    assert (last["status"], last["answered"], last["addresses"]) == (None, False, ["before@example.org"])


def test_reset_after_does_the_work_and_loses_the_response(live, sandbox):
    sandbox.fault("reset_after", times=1)
    with pytest.raises(requests.ConnectionError) as caught:
        live.bulk(["after@example.org"])
    assert "ConnectionResetError" in str(caught.value)
    assert of(sandbox, "onboarding", "after@example.org")[0]["times_enrolled"] == 1
    last = sandbox.requests()[-1]
    assert (last["status"], last["answered"]) == (200, False)
    assert live.bulk(["after@example.org"]).json()["already_enrolled"] == 1
    assert sandbox.requests()[-1]["answered"] is True


@pytest.mark.parametrize("kind", ["reset_before", "reset_after"])
def test_a_reset_is_one_on_the_wire(sandbox, kind):
    sandbox.fault(kind, times=1)
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as wire:
        wire.sendall(f"GET /api/v1/ping/ HTTP/1.1\r\nHost: x\r\nX-API-Key: {sandbox.key}\r\n\r\n".encode())
        with pytest.raises(ConnectionResetError):
            wire.recv(1)


def test_a_slow_response_holds_up_no_contact_else(live, sandbox, caller_of):
    sandbox.fault("slow", path="enroll", seconds=0.5, times=1)
    took = {}

    def call_slowly():
        began = time.perf_counter()
        took["status"] = caller_of(sandbox).enroll("slow@example.org").status_code
        took["seconds"] = time.perf_counter() - began

    caller = threading.Thread(target=call_slowly)
    caller.start()
    while not of(sandbox, "onboarding", "slow@example.org"):  # the work is done before the wait
        assert live.get("/ping/").status_code == 200
    assert "status" not in took
    caller.join()
    assert took["status"] == 201
    assert took["seconds"] >= 0.5


def test_who_hangs_up_on_a_slow_response_was_not_answered(live, sandbox):
    sandbox.fault("slow", seconds=0.3, times=1)
    with pytest.raises(requests.Timeout):
        live.session.get(f"{sandbox.api_url}/ping/", timeout=0.1)
    number = sandbox.requests()[-1]["id"]
    live.session.close()
    deadline = time.monotonic() + 5
    while sandbox.requests()[number - 1]["status"] is None:
        assert time.monotonic() < deadline
    assert sandbox.requests()[number - 1]["answered"] is False


def test_a_fault_strikes_only_where_when_and_as_often_as_told(live, sandbox):
    sandbox.fault("status", path="enroll/", method="post", skip=1, times=2, status=500)
    assert live.get("/ping/").status_code == 200
    assert live.get("/sequences/enroll/").status_code == 405
    statuses = [live.bulk(["where@example.org"]).status_code for _ in range(4)]
    assert statuses == [200, 500, 500, 200]


def test_faults_strike_one_at_a_time_in_the_order_armed(live, sandbox):
    sandbox.fault("status", status=500, times=1)
    sandbox.fault("status", status=502, times=1)
    assert [live.get("/ping/").status_code for _ in range(3)] == [500, 502, 200]


def test_a_fault_without_times_stays_until_cleared(live, sandbox):
    sandbox.fault("empty", status=500)
    assert {live.get("/ping/").status_code for _ in range(5)} == {500}
    sandbox.clear_faults()
    assert live.get("/ping/").status_code == 200


def test_responses_given_by_a_fault_use_up_no_rate_limit(tmp_path, caller_of):
    with Sandbox(tmp_path / "s.db", rate_limits="1/minute") as sandbox:
        live = caller_of(sandbox)
        sandbox.fault("status", status=503, times=3)
        assert [live.get("/ping/").status_code for _ in range(5)] == [503, 503, 503, 200, 429]


def test_faults_are_armed_listed_and_cleared_over_http(live):
    armed = live.control("POST", "/faults", {"kind": "status", "status": 418, "times": 1, "path": "ping"})
    assert armed.status_code == 201
    assert live.get("/ping/").status_code == 418
    [listed] = live.control("GET", "/faults").json()
    assert listed.items() >= {"kind": "status", "times": 1, "hits": 1, "path": "ping", "skip": 0}.items()
    assert live.control("DELETE", "/faults").status_code == 204
    assert live.control("GET", "/faults").json() == []


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({}, "choose one of status"),
        ({"kind": "earthquake"}, "choose one of status"),
        ({"kind": "slow", "status": 500}, "it takes seconds"),
        ({"kind": "slow", "seconds": "long"}, "seconds must be a float"),
        ({"kind": "slow", "seconds": -1}, "must not be negative"),
        ({"kind": "status", "status": True}, "status must be a int"),
        ({"kind": "status", "status": 99}, "between 200 and 599"),
        ({"kind": "redirect", "status": 200}, "between 300 and 399"),
        ({"kind": "status", "headers": {"Retry-After": None}}, "headers must hold"),
        ({"kind": "status", "headers": {"Retry-After": True}}, "headers must hold"),
        ({"kind": "html", "headers": {"Retry-After": ["30"]}}, "headers must hold"),
        ({"kind": "empty", "headers": {"Retry-After": "30\r\nX-Other: 1"}}, "headers must hold"),
        ({"kind": "empty", "headers": {"X-Name": "\u0436"}}, "headers must hold"),
        ({"kind": "status", "headers": [["Retry-After", "30"]]}, "headers must be a dict"),
        ({"kind": "bulk_shape", "shape": "round"}, "choose one of default"),
        ({"kind": "empty", "times": 0}, "times must be"),
        ({"kind": "empty", "times": 1.5}, "times must be"),
        ({"kind": "empty", "skip": -1}, "skip must be"),
        ({"kind": "empty", "skip": "1"}, "skip must be"),
        ({"kind": "empty", "path": 5}, "path must be"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_what_would(live, sent, message):
    response = live.control("POST", "/faults", sent)
    assert response.status_code == 400
    assert message in response.json()["detail"]
    assert live.control("GET", "/faults").json() == []


def test_every_kind_can_be_armed_with_its_defaults(sandbox):
    for kind in KINDS:
        assert sandbox.fault(kind, times=1)["kind"] == kind
    assert sandbox.fault("slow", seconds=2)["params"] == {"seconds": 2}
