"""The control API, over a socket."""

from __future__ import annotations

import pytest

from airflow_provider_meisa import __version__


def test_it_says_what_it_is_and_how_sure_it_is(live):
    about = live.control("GET", "/").json()
    assert about["version"] == __version__
    assert about["rate_limits"] == "none"
    assert {behaviour["grade"] for behaviour in about["grades"]} == {"documented", "inferred", "unknown"}
    assert "reset_after" in about["faults"]


def test_a_key_can_be_added(live, sandbox, caller_of):
    sent = {"key": "meisa_test_new", "scopes": ["sequences:read"], "environment": "test"}
    response = live.control("POST", "/keys", sent)
    assert response.status_code == 201
    assert "meisa_test_new" not in response.text
    shown = caller_of(sandbox, "meisa_test_new").get("/ping/").json()
    assert (shown["environment"], shown["scopes"]) == ("test", ["sequences:read"])


@pytest.mark.parametrize(
    ("path", "sent", "message"),
    [
        ("/keys", {"key": "k", "scopes": ["fly"]}, "Unknown scope 'fly': choose one of contacts:read"),
        ("/keys", {"key": "k", "environment": "moon"}, "choose one of live, test"),
        ("/keys", {"key": " "}, "must not be empty"),
        ("/contacts", [{"email": "a@example.org", "status": "shy"}], "choose one of subscribed"),
        ("/contacts", [{"email": "a@example.org", "environment": "moon"}], "choose one of live, test"),
        (
            "/enrollments",
            {"sequence_slug": "onboarding", "emails": [], "status": "shy"},
            "choose one of active",
        ),
        ("/enrollments", {"sequence_slug": "onboarding", "emails": [], "environment": "moon"}, "live, test"),
        ("/enrollments", {"sequence_slug": "nowhere", "emails": []}, "Unknown sequence 'nowhere'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(live, path, sent, message):
    response = live.control("POST", path, sent)
    assert response.status_code == 400
    assert message in response.json()["detail"]


def test_a_misspelt_field_is_refused(live):
    assert live.control("POST", "/sequences", {"slug": "s", "stats": "draft"}).status_code == 422


def test_a_sequence_can_be_added_and_activated_and_keeps_its_name(live):
    sent = {"slug": "spring", "name": "Spring", "status": "draft"}
    assert live.control("POST", "/sequences", sent).json() == sent
    assert live.enroll(slug="spring").status_code == 400
    response = live.control("POST", "/sequences", {"slug": "spring", "status": "active"})
    assert response.json() == {**sent, "status": "active"}
    assert live.enroll(slug="spring").status_code == 201


def test_a_sequence_without_a_name_is_called_by_its_slug(live):
    assert live.control("POST", "/sequences", {"slug": "nameless"}).json()["name"] == "nameless"


def test_contacts_of_both_environments_can_be_set(live, test_caller):
    sent = [
        {"email": "c@example.org", "status": "bounced"},
        {"email": "c@example.org", "status": "subscribed", "environment": "test"},
    ]
    assert live.control("POST", "/contacts", sent).json() == {"contacts": 2}
    assert live.enroll("c@example.org").status_code == 400
    assert test_caller.enroll("c@example.org").status_code == 201


def test_enrollments_can_be_seeded_and_read(live):
    live.control("POST", "/sequences", {"slug": "seeded"})
    sent = {"sequence_slug": "seeded", "emails": ["A@example.org", "b@example.org"], "status": "paused"}
    assert live.control("POST", "/enrollments", sent).json() == {"enrollments": 2}
    rows = live.control("GET", "/enrollments?sequence_slug=seeded").json()
    assert [(row["email"], row["status"], row["times_enrolled"]) for row in rows] == [
        ("a@example.org", "paused", 1),
        ("b@example.org", "paused", 1),
    ]
    assert set(rows[0]) >= {"sequence_slug", "trigger_source", "metadata", "enrolled_at"}
    assert live.control("GET", "/enrollments?sequence_slug=seeded&environment=test").json() == []


def test_the_summary_counts(live, sandbox):
    live.control("POST", "/sequences", {"slug": "summed"})
    live.bulk(["s1@example.org", "s2@example.org"], slug="summed")
    sandbox.seed_enrollments("summed", ["s1@example.org"], "completed")
    live.enroll("s1@example.org", slug="summed")
    sandbox.seed_enrollments("summed", ["s2@example.org"], "exited")
    counted = live.control("GET", "/summary").json()
    assert counted == sandbox.summary()
    assert counted["environments"]["live"]["sequences"]["summed"] == {
        "status": "active",
        "enrolled_now": 1,
        "total_enrolled": 3,
    }
    assert counted["environments"]["live"]["contacts"] >= 2
    assert counted["requests"]["201"] >= 1


def test_the_request_log_tells_what_was_sent_but_no_key(live, test_caller):
    live.control("DELETE", "/requests")
    live.bulk(["l1@example.org", "l2@example.org"])
    test_caller.enroll("l3@example.org")
    live.get("/ping/?a=b")
    live.post("/sequences/enroll/", {"sequence_slug": 5, "emails": "x"})
    response = live.control("GET", "/requests")
    assert live.sandbox.key not in response.text
    bulk, single, ping, odd = response.json()
    assert (
        bulk.items()
        >= {
            "method": "POST",
            "path": "/api/v1/sequences/api/bulk-enroll/",
            "status": 200,
            "key": "…dbox",
            "environment": "live",
            "sequence_slug": "onboarding",
            "addresses": ["l1@example.org", "l2@example.org"],
            "answered": True,
        }.items()
    )
    assert (single["environment"], single["addresses"]) == ("test", ["l3@example.org"])
    assert (ping["sequence_slug"], ping["addresses"]) == ("", [])
    assert (odd["status"], odd["sequence_slug"], odd["addresses"]) == (400, "", [])
    assert bulk["at"] <= single["at"] <= ping["at"]


def test_control_calls_are_no_requests(live):
    live.control("DELETE", "/requests")
    live.control("GET", "/summary")
    assert live.control("GET", "/requests").json() == []
