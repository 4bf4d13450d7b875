"""The documented endpoints, over a socket."""

from __future__ import annotations

import pytest

ENROLL = "/sequences/enroll/"
BULK = "/sequences/api/bulk-enroll/"


def test_ping_tells_environment_product_and_scopes(live, test_caller):
    response = live.get("/ping/").json()
    assert response["environment"] == "live"
    assert response["product"]
    assert "sequences:enroll" in response["scopes"]
    assert test_caller.get("/ping/").json()["environment"] == "test"


def test_enroll_creates_the_contact_and_responses_with_the_enrollment(live, sandbox):
    response = live.enroll("Created@Example.org", metadata={"plan": "pro"}, trigger_source="nightly")
    assert response.status_code == 201
    assert (
        response.json().items()
        >= {
            "email": "created@example.org",
            "sequence_slug": "onboarding",
            "status": "active",
            "metadata": {"plan": "pro"},
            "trigger_source": "nightly",
        }.items()
    )
    [kept] = [row for row in sandbox.enrollments("onboarding") if row["email"] == "created@example.org"]
    assert kept["metadata"] == {"plan": "pro"}
    assert kept["times_enrolled"] == 1


def test_trigger_source_defaults_to_api(live):
    assert live.enroll("source@example.org").json()["trigger_source"] == "api"


@pytest.mark.parametrize("status", ["active", "paused"])
def test_a_contact_already_in_the_sequence_is_rejected(live, sandbox, status):
    email = f"already-{status}@example.org"
    sandbox.seed_enrollments("onboarding", [email], status)
    response = live.enroll(email.upper())
    assert response.status_code == 409
    assert status in response.json()["error"]


@pytest.mark.parametrize("status", ["completed", "exited"])
def test_a_contact_who_left_the_sequence_can_be_enrolled_again_and_that_is_counted(live, sandbox, status):
    email = f"again-{status}@example.org"
    assert live.enroll(email).status_code == 201
    sandbox.seed_enrollments("onboarding", [email], status)
    assert live.enroll(email).status_code == 201
    [kept] = [row for row in sandbox.enrollments("onboarding") if row["email"] == email]
    assert (kept["times_enrolled"], kept["status"]) == (2, "active")


@pytest.mark.parametrize("status", ["unsubscribed", "bounced", "complained"])
def test_a_suppressed_contact_is_rejected_unless_overridden(live, status):
    response = live.enroll(f"{status}@example.com")
    assert response.status_code == 400
    assert "suppressed" in response.json()["error"]
    assert live.enroll(f"{status}@example.com", override_unsubscribe=True).status_code == 201


def test_an_unknown_slug_is_not_found(live):
    assert live.enroll(slug="nowhere").status_code == 404
    assert live.bulk(["a@example.org"], slug="nowhere").status_code == 404


@pytest.mark.parametrize("slug", ["winback", "legacy"])
def test_an_inactive_sequence_takes_no_contact(live, slug):
    for response in (live.enroll(slug=slug), live.bulk(["a@example.org"], slug=slug)):
        assert response.status_code == 400
        assert "not active" in response.json()["error"]


GOOD = {"email": "fields@example.org", "sequence_slug": "onboarding"}


@pytest.mark.parametrize(
    ("wrong", "field", "message"),
    [
        ({"email": ...}, "email", "required"),
        ({"email": None}, "email", "null"),
        ({"email": " "}, "email", "blank"),
        ({"email": 5}, "email", "valid string"),
        ({"email": "nobody"}, "email", "valid email"),
        ({"email": "a@" + "b" * 250 + ".com"}, "email", "valid email"),
        ({"sequence_slug": ...}, "sequence_slug", "required"),
        ({"metadata": [1]}, "metadata", "dictionary"),
        ({"trigger_source": ""}, "trigger_source", "blank"),
        ({"override_unsubscribe": "perhaps"}, "override_unsubscribe", "boolean"),
    ],
)
def test_enroll_says_which_field_is_wrong(live, wrong, field, message):
    body = {name: value for name, value in {**GOOD, **wrong}.items() if value is not ...}
    response = live.post(ENROLL, body)
    assert response.status_code == 400
    assert list(response.json()) == [field]
    assert message in response.json()[field][0]


@pytest.mark.parametrize(
    ("emails", "message"),
    [
        ("a@example.org", "list of items"),
        ([], "empty"),
        ([f"u{n}@example.org" for n in range(501)], "no more than 500"),
        (["a@example.org", 7], "valid string"),
    ],
)
def test_bulk_enroll_says_what_is_wrong_with_the_emails(live, emails, message):
    response = live.bulk(emails)
    assert response.status_code == 400
    assert message in str(response.json()["emails"])


def test_bulk_enroll_details_each_outcome(live, sandbox):
    sandbox.seed_enrollments("reactivation", ["there@example.org"])
    sandbox.put_contacts({"gone@example.org": "bounced"})
    sent = ["Fresh@example.org", "there@EXAMPLE.org", "gone@example.org", "nobody"]
    response = live.bulk(sent, slug="reactivation")
    assert response.status_code == 200
    body = response.json()
    assert [entry["email"] for entry in body["results"]] == sent
    assert [entry["status"] for entry in body["results"]] == [
        "enrolled",
        "already_enrolled",
        "suppressed",
        "invalid",
    ]
    assert all(entry["reason"] for entry in body["results"][1:])
    assert {name: body[name] for name in ("enrolled", "already_enrolled", "suppressed", "invalid")} == {
        "enrolled": 1,
        "already_enrolled": 1,
        "suppressed": 1,
        "invalid": 1,
    }


def test_bulk_enroll_takes_an_address_once_however_often_it_is_sent(live, sandbox):
    response = live.bulk(["twice@example.org", " TWICE@example.org", "twice@example.org"])
    assert [entry["status"] for entry in response.json()["results"]] == ["enrolled"]
    [kept] = [row for row in sandbox.enrollments("onboarding") if row["email"] == "twice@example.org"]
    assert kept["times_enrolled"] == 1


def test_bulk_enroll_overrides_suppression_when_asked(live, sandbox):
    sandbox.put_contacts({"override@example.org": "unsubscribed"})
    response = live.bulk(["override@example.org"], override_unsubscribe=True)
    assert response.json()["enrolled"] == 1


def test_bulk_enroll_takes_500_at_once(live):
    assert live.bulk([f"full{n}@example.org" for n in range(500)]).json()["enrolled"] == 500


def test_the_list_shows_active_sequences_by_default(live):
    results = live.get("/sequences/api/list/").json()["results"]
    assert {sequence["status"] for sequence in results} == {"active"}
    assert all(set(sequence) == {"slug", "name", "status", "total_enrolled"} for sequence in results)


@pytest.mark.parametrize(
    ("query", "slugs"),
    [
        ({"status": "all"}, ["onboarding", "reactivation", "winback", "legacy"]),
        ({"status": "draft"}, ["winback"]),
        ({"search": "REACT"}, ["reactivation"]),
        ({"search": "win-", "status": "all"}, ["winback"]),
        ({"search": "win-"}, []),
    ],
)
def test_the_list_can_be_filtered(live, query, slugs):
    results = live.get("/sequences/api/list/", params=query).json()["results"]
    shipped = {"onboarding", "reactivation", "winback", "legacy"}  # other tests of this module add more
    assert [sequence["slug"] for sequence in results if sequence["slug"] in shipped] == slugs


def test_the_list_counts_who_was_enrolled(live, sandbox):
    sandbox.put_sequence("counted", "Counted")
    live.bulk(["c1@example.org", "c2@example.org"], slug="counted")
    [sequence] = live.get("/sequences/api/list/", params={"search": "counted"}).json()["results"]
    assert sequence["total_enrolled"] == 2


def test_a_contacts_enrollments_show_each_sequence_once(live, sandbox):
    live.enroll("both@example.org")
    live.enroll("both@example.org", slug="reactivation")
    sandbox.seed_enrollments("onboarding", ["both@example.org"], "completed")
    response = live.get("/sequences/api/contact-enrollments/", params={"email": "BOTH@example.org"}).json()
    assert response["contact_exists"] is True
    shown = {row["sequence_slug"]: row["status"] for row in response["enrollments"]}
    assert shown == {"onboarding": "completed", "reactivation": "active"}


def test_an_unknown_contact_is_no_error(live):
    response = live.get("/sequences/api/contact-enrollments/", params={"email": "stranger@example.org"})
    assert response.status_code == 200
    assert response.json()["contact_exists"] is False
    assert response.json()["enrollments"] == []


def test_a_contacts_enrollments_need_an_email(live):
    response = live.get("/sequences/api/contact-enrollments/")
    assert response.status_code == 400
    assert "required" in response.json()["email"][0]


def test_unsubscribed_emails_lists_all_who_get_no_mail(live, sandbox):
    sandbox.put_contacts({"reader@example.org": "subscribed", "Left@example.org": "unsubscribed"})
    response = live.get("/contacts/api/unsubscribed-emails/").json()
    expected = {
        "unsubscribed@example.com",
        "bounced@example.com",
        "complained@example.com",
        "left@example.org",
    }
    assert expected <= set(response["emails"])
    assert "reader@example.org" not in response["emails"]
    assert response["count"] == len(response["emails"])
    assert response["as_of"].endswith("Z")


def test_test_and_live_are_separate_worlds(live, test_caller, sandbox):
    assert live.enroll("worlds@example.org").status_code == 201
    assert test_caller.enroll("worlds@example.org").status_code == 201
    sandbox.put_contacts({"half@example.org": "unsubscribed"}, environment="test")
    assert live.enroll("half@example.org").status_code == 201
    assert test_caller.enroll("half@example.org").status_code == 400
    emails = {row["email"] for row in sandbox.enrollments("onboarding", environment="test")}
    assert "worlds@example.org" in emails
    assert "half@example.org" not in emails
    test_caller.enroll("only-test@example.org")
    response = live.get(
        "/sequences/api/contact-enrollments/", params={"email": "only-test@example.org"}
    ).json()
    assert response["contact_exists"] is False


def test_no_key_and_an_unknown_key_are_unauthorized(sandbox, caller_of):
    missing = caller_of(sandbox)
    del missing.session.headers["X-API-Key"]
    for caller, word in ((missing, "not provided"), (caller_of(sandbox, "meisa_live_wrong"), "Invalid")):
        response = caller.get("/ping/")
        assert response.status_code == 401
        assert word in response.json()["detail"]
        assert "WWW-Authenticate" in response.headers


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", ENROLL, "sequences:enroll"),
        ("POST", BULK, "sequences:enroll"),
        ("GET", "/sequences/api/list/", "sequences:read"),
        ("GET", "/sequences/api/contact-enrollments/", "sequences:read"),
        ("GET", "/contacts/api/unsubscribed-emails/", "contacts:read"),
    ],
)
def test_a_key_without_the_scope_is_forbidden_and_told_which(sandbox, caller_of, method, path, scope):
    sandbox.add_key("meisa_live_poor", ["emails:trigger"])
    poor = caller_of(sandbox, "meisa_live_poor")
    response = poor.session.request(method, sandbox.api_url + path, timeout=10)
    assert response.status_code == 403
    assert scope in response.json()["detail"]
    assert poor.get("/ping/").json()["scopes"] == ["emails:trigger"]


def test_the_wrong_method_is_told_the_right_one(live):
    response = live.get(ENROLL)
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"


def test_a_path_without_its_slash_is_redirected(live):
    for response in (
        live.get("/sequences/api/list?status=all", allow_redirects=False),
        live.get("/sequences/enroll", allow_redirects=False),
        live.post("/sequences/enroll", GOOD, allow_redirects=False),
    ):
        assert response.status_code == 301
    assert live.get("/sequences/api/list?status=all").url.endswith("/sequences/api/list/?status=all")


def test_an_unknown_path_is_not_found_in_html(live):
    response = live.get("/nowhere/")
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("body", "content_type", "refusal"),
    [
        (b"{", "application/json", (400, "JSON parse error")),
        (b"[]", "application/json; charset=utf-8", (400, "Expected a dictionary")),
        (b"email=a", "application/x-www-form-urlencoded", (415, "Unsupported media type")),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(live, sandbox, body, content_type, refusal):
    response = live.session.post(
        sandbox.api_url + ENROLL, data=body, headers={"Content-Type": content_type}, timeout=10
    )
    status, message = refusal
    assert response.status_code == status
    assert message in response.text
