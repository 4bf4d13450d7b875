from __future__ import annotations

import datetime as dt
import json

import pytest

from airflow_provider_meisa.api.endpoints.sequences import (
    ContactEnrollments,
    Enrollment,
    SequenceInfo,
    bulk_enroll,
    check_active,
    contact_enrollments,
    enroll,
    list_sequences,
    status_of,
)
from airflow_provider_meisa.api.errors import (
    MeisaInputError,
    MeisaInvalidRequestError,
    MeisaKeyError,
    MeisaNotFoundError,
    MeisaResponseLostError,
    MeisaScopeError,
    MeisaSequenceInactiveError,
    MeisaSequenceNotFoundError,
    MeisaServerError,
    MeisaUnreadableResponseError,
)
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.api.rate_limit.limits import parse_limits
from airflow_provider_meisa.sandbox.shapes import SHAPES
from tests.support.raw_server import respond_with

ADA = "ada@example.org"
BY_US = "possibly by this run"


def statuses(response):
    return {outcome.address: outcome.status.value for outcome in response.outcomes}


def paths(sandbox):
    return [request["path"].removeprefix("/api/v1") for request in sandbox.requests()]


@pytest.fixture
def overriding_client(meisa_sandbox, client_of):
    return client_of(meisa_sandbox.api_url, meisa_sandbox.key, allow_override_unsubscribe=True)


# One contact.


def test_a_contact_is_enrolled_with_what_was_given(meisa_sandbox, client):
    assert enroll(client, ADA, "onboarding", metadata={"plan": "free", "tags": [1, None, True]}) == Outcome(
        ADA, OutcomeStatus.ENROLLED
    )
    [row] = meisa_sandbox.enrollments("onboarding")
    assert row["email"] == ADA
    assert row["metadata"] == {"plan": "free", "tags": [1, None, True]}
    assert row["trigger_source"] == "airflow"


def test_the_request_holds_only_what_was_asked_for(raw, raw_client):
    raw.will(respond_with(201, {}))
    enroll(raw_client, ADA, "onboarding")
    enroll(raw_client, ADA, "onboarding", metadata={}, trigger_source="nightly")
    bulk_enroll(raw_client, [ADA], "onboarding")
    assert [json.loads(request.body) for request in raw.received] == [
        {"email": ADA, "sequence_slug": "onboarding", "trigger_source": "airflow"},
        {"email": ADA, "sequence_slug": "onboarding", "trigger_source": "nightly"},
        {"emails": [ADA], "sequence_slug": "onboarding"},
    ]


@pytest.mark.parametrize("status", ["active", "paused"])
def test_a_contact_already_in_the_sequence_has_that_status(meisa_sandbox, client, status):
    meisa_sandbox.seed_enrollments("onboarding", [ADA], status)
    outcome = enroll(client, ADA, "onboarding")
    assert outcome.status is OutcomeStatus.ALREADY_ENROLLED
    assert outcome.reason == f"Contact is already {status} in this sequence."


@pytest.mark.parametrize("status", ["unsubscribed", "bounced", "complained"])
def test_a_suppressed_contact_is_reported_not_raised(client, status):
    outcome = enroll(client, f"{status}@example.com", "onboarding")
    assert outcome.status is OutcomeStatus.SUPPRESSED
    assert status in outcome.reason


def test_an_address_that_meisa_does_not_take_is_invalid(client):
    outcome = enroll(client, "ada at example.org", "onboarding")
    assert (outcome.status, outcome.reason) == (OutcomeStatus.INVALID, "Enter a valid email address.")


def test_a_suppressed_contact_is_enrolled_if_both_sides_say_so(meisa_sandbox, overriding_client):
    assert enroll(overriding_client, "bounced@example.com", "onboarding").status is OutcomeStatus.SUPPRESSED
    overridden = enroll(overriding_client, "bounced@example.com", "onboarding", override_unsubscribe=True)
    assert overridden.status is OutcomeStatus.ENROLLED
    response = bulk_enroll(
        overriding_client, ["complained@example.com"], "onboarding", override_unsubscribe=True
    )
    assert statuses(response) == {"complained@example.com": "enrolled"}


def test_without_the_opt_in_nothing_overrides_and_nothing_is_sent(meisa_sandbox, client):
    for call in (
        lambda: enroll(client, ADA, "onboarding", override_unsubscribe=True),
        lambda: bulk_enroll(client, [ADA], "onboarding", override_unsubscribe=True),
    ):
        with pytest.raises(MeisaInputError, match=r"allow_override_unsubscribe to true\. Nothing was sent"):
            call()
    assert meisa_sandbox.requests() == []


@pytest.mark.parametrize(
    ("status", "body", "outcome_status"),
    [
        (400, {"error": "Contact is active in this sequence"}, "already_enrolled"),
        (400, {"email": ["Contact is paused in onboarding."]}, "already_enrolled"),
        (400, {"detail": "Duplicate enrollment"}, "already_enrolled"),
        (422, {"error": "Recipient has opted out"}, "suppressed"),
        (400, {"email": ["This address has unsubscribed."]}, "suppressed"),
        (400, {"email": ["Enter a valid email address."]}, "invalid"),
        (422, {"email": {"0": ["?"]}}, "invalid"),
    ],
)
def test_a_refusal_is_read_by_its_sense(raw, raw_client, status, body, outcome_status):
    raw.will(respond_with(status, body))
    assert enroll(raw_client, ADA, "onboarding").status.value == outcome_status
    assert len(raw.received) == 1


@pytest.mark.parametrize(
    ("status", "reason", "fields"),
    [
        (400, "Sequence is not active.", ()),
        (409, "The sequence must be active.", ()),
        (400, "Sequence isn't currently active, already archived", ()),
        (400, "sequence is inactive", ("email",)),
        (400, "Something else", ()),
        (400, "This field is required.", ("email", "sequence_slug")),
        (409, "Conflict", ("metadata",)),
    ],
)
def test_a_refusal_about_something_else_is_no_status_on_the_address(status, reason, fields):
    error = MeisaInvalidRequestError("x", status=status, reason=reason, fields=fields)
    assert status_of(error) is None


def test_a_lost_response_is_sent_again_and_an_enrollment_found_then_may_be_ours(meisa_sandbox, client):
    meisa_sandbox.fault("reset_after", times=1)
    assert enroll(client, ADA, "onboarding") == Outcome(ADA, OutcomeStatus.ALREADY_ENROLLED, BY_US)
    [row] = meisa_sandbox.enrollments("onboarding")
    assert row["times_enrolled"] == 1


def test_an_enrollment_after_a_gateway_failed_may_be_the_second(meisa_sandbox, client):
    meisa_sandbox.fault("status", status=502, times=1)
    assert enroll(client, ADA, "onboarding") == Outcome(ADA, OutcomeStatus.ENROLLED, "possibly twice")


def test_a_suppressed_contact_is_not_ours_after_a_lost_response_either(meisa_sandbox, client):
    meisa_sandbox.fault("reset_before", times=1)
    outcome = enroll(client, "bounced@example.com", "onboarding")
    assert outcome.status is OutcomeStatus.SUPPRESSED
    assert "bounced" in outcome.reason


def test_a_lost_response_is_raised_where_nothing_may_be_sent_twice(meisa_sandbox, client):
    for call in (
        lambda: enroll(client, ADA, "onboarding", resend=False),
        lambda: bulk_enroll(client, ["grace@example.org"], "onboarding", resend=False),
    ):
        meisa_sandbox.fault("reset_after", times=1)
        with pytest.raises(MeisaResponseLostError):
            call()
    assert len(meisa_sandbox.requests()) == 2


def test_a_500_is_raised_and_nothing_is_sent_twice(meisa_sandbox, client):
    meisa_sandbox.fault("status", status=500)
    for call in (lambda: enroll(client, ADA, "onboarding"), lambda: bulk_enroll(client, [ADA], "onboarding")):
        with pytest.raises(MeisaServerError):
            call()
    assert len(meisa_sandbox.requests()) == 2


@pytest.mark.parametrize(
    "value", [dt.datetime(2026, 11, 1, tzinfo=dt.UTC), dt.date(2026, 11, 1), float("nan"), {"a"}, b"x"]
)
def test_metadata_that_is_no_json_is_refused_and_nothing_is_sent(meisa_sandbox, client, value):
    with pytest.raises(MeisaInputError, match="not plain JSON"):
        enroll(client, ADA, "onboarding", metadata={"when": value})
    assert meisa_sandbox.requests() == []


# Many contacts.


PEOPLE = [ADA, "grace@example.org", "bounced@example.com", "ada@localhost"]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_the_bulk_response_accounts_for_every_address(meisa_sandbox, client, shape):
    meisa_sandbox.seed_enrollments("onboarding", ["grace@example.org"])
    meisa_sandbox.fault("bulk_shape", shape=shape)
    response = bulk_enroll(client, PEOPLE, "onboarding")
    assert [outcome.address for outcome in response.outcomes] == PEOPLE
    expected = (
        ["unreported"] * 4 if shape == "counts" else ["enrolled", "already_enrolled", "suppressed", "invalid"]
    )
    assert [outcome.status.value for outcome in response.outcomes] == expected
    assert {row["email"] for row in meisa_sandbox.enrollments("onboarding")} == {ADA, "grace@example.org"}


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "counts"])
def test_what_the_response_leaves_out_or_adds_is_noticed(meisa_sandbox, client, shape):
    meisa_sandbox.fault("bulk_shape", shape=shape, drop=1, extra=1, upper=True)
    response = bulk_enroll(client, [ADA, "grace@example.org"], "onboarding")
    assert statuses(response) == {ADA: "enrolled", "grace@example.org": "unreported"}
    assert any("1 address" in remark for remark in response.unread)
    assert "@" not in str(response.unread)


def test_after_a_lost_response_all_that_are_already_in_it_may_be_ours(meisa_sandbox, client):
    meisa_sandbox.fault("reset_after", times=1, path="bulk")
    response = bulk_enroll(client, [ADA, "bounced@example.com"], "onboarding")
    assert response.outcomes[0] == Outcome(ADA, OutcomeStatus.ALREADY_ENROLLED, BY_US)
    assert response.outcomes[1].status is OutcomeStatus.SUPPRESSED
    assert response.outcomes[1].reason != BY_US


def test_a_full_batch_goes_in_one_request(meisa_sandbox, client):
    response = bulk_enroll(client, [f"ada{number}@example.org" for number in range(500)], "onboarding")
    assert {outcome.status for outcome in response.outcomes} == {OutcomeStatus.ENROLLED}
    assert client.stats.requests == 1


@pytest.mark.parametrize(
    ("emails", "problem"),
    [
        ([], "1 to 500 addresses, not 0"),
        ([f"ada{number}@example.org" for number in range(501)], "1 to 500 addresses, not 501"),
        (ADA, "pass a list"),
        ([ADA, None], "texts only"),
        ([ADA, 7], "texts only"),
        (b"ada", "texts only"),
    ],
)
def test_what_is_no_batch_is_refused_and_nothing_is_sent(meisa_sandbox, client, emails, problem):
    with pytest.raises(MeisaInputError, match=problem) as caught:
        bulk_enroll(client, emails, "onboarding")
    assert "@" not in str(caught.value)
    assert meisa_sandbox.requests() == []


@pytest.mark.parametrize("slug", ["", "  ", None])
def test_an_empty_slug_is_refused_and_nothing_is_sent(meisa_sandbox, client, slug):
    for call in (lambda: enroll(client, ADA, slug), lambda: bulk_enroll(client, [ADA], slug)):
        with pytest.raises(MeisaInputError, match="sequence_slug is empty"):
            call()
    assert meisa_sandbox.requests() == []


def test_a_slot_for_a_batch_that_is_not_sent_is_given_back(meisa_sandbox, client_of):
    client = client_of(meisa_sandbox.api_url, meisa_sandbox.test_key, environment="live")
    for emails, used in (([], 0), ([ADA], 1)):  # /ping/ takes one
        with pytest.raises(MeisaInputError):
            bulk_enroll(client, emails, "onboarding", reservation=client.rate_limiter.reserve())
        assert client.rate_limiter.remaining()["60/minute"] == 60 - used


def test_a_slot_that_was_reserved_is_used(meisa_sandbox, client_of):
    client = client_of(meisa_sandbox.api_url, meisa_sandbox.key, limits=parse_limits("1/hour"), max_wait=0)
    bulk_enroll(client, [ADA], "onboarding", reservation=client.rate_limiter.reserve())
    assert client.rate_limiter.remaining() == {"1/hour": 0}


# Which environment.


def test_a_key_of_another_environment_writes_nothing(meisa_sandbox, client_of):
    client = client_of(meisa_sandbox.api_url, meisa_sandbox.test_key, environment="live")
    for call in (lambda: enroll(client, ADA, "onboarding"), lambda: bulk_enroll(client, [ADA], "onboarding")):
        with pytest.raises(MeisaInputError, match="environment 'live', but the API key is of 'test'"):
            call()
    assert paths(meisa_sandbox) == ["/ping/"]


def test_the_environment_is_confirmed_once(meisa_sandbox, client_of):
    client = client_of(meisa_sandbox.api_url, meisa_sandbox.key, environment="live")
    enroll(client, ADA, "onboarding")
    bulk_enroll(client, ["grace@example.org"], "onboarding")
    list_sequences(client)
    assert paths(meisa_sandbox) == [
        "/ping/",
        "/sequences/enroll/",
        "/sequences/api/bulk-enroll/",
        "/sequences/api/list/",
    ]


# What is wrong with the sequence, or with the key.


def both(client, slug, emails=(ADA,)):
    return (lambda: enroll(client, emails[0], slug), lambda: bulk_enroll(client, list(emails), slug))


def test_an_unknown_slug_is_named_with_up_to_five_close_ones(meisa_sandbox, client):
    for number in range(7):
        meisa_sandbox.put_sequence(f"onboarding-{number}", status="draft")
    for call in both(client, "on-boarding"):
        with pytest.raises(MeisaSequenceNotFoundError) as caught:
            call()
        message = str(caught.value)
        assert "'on-boarding'" in message
        assert "Close ones: onboarding" in message
        assert message.count("onboarding") == 5
        assert isinstance(caught.value.__cause__, MeisaNotFoundError)
    for call in both(client, "zzzz"):
        with pytest.raises(MeisaSequenceNotFoundError, match=r"'zzzz'\. Copy the slug"):
            call()


@pytest.mark.parametrize(("slug", "status"), [("winback", "draft"), ("legacy", "paused")])
def test_an_inactive_sequence_is_named_with_its_status(client, slug, status):
    for call in both(client, slug):
        with pytest.raises(MeisaSequenceInactiveError, match=f"'{slug}' has the status '{status}'") as caught:
            call()
        assert isinstance(caught.value.__cause__, MeisaInvalidRequestError)


def test_without_the_scope_to_read_the_refusal_itself_is_raised(meisa_sandbox, client_of):
    meisa_sandbox.add_key("meisa_live_writes", scopes=["sequences:enroll"])
    client = client_of(meisa_sandbox.api_url, "meisa_live_writes")
    for slug, kind in (("on-boarding", MeisaNotFoundError), ("winback", MeisaInvalidRequestError)):
        for call in both(client, slug):
            with pytest.raises(kind) as caught:
                call()
            assert type(caught.value) is kind
            assert caught.value.__cause__ is None


def test_a_doubt_about_an_earlier_try_outlives_the_explanation(meisa_sandbox, client):
    for call in both(client, "winback"):
        meisa_sandbox.fault("reset_before", times=1)
        with pytest.raises(MeisaSequenceInactiveError) as caught:
            call()
        assert caught.value.possibly_done


def test_a_refusal_that_is_not_about_the_sequence_is_raised_as_it_is(meisa_sandbox, client):
    meisa_sandbox.fault("status", status=400, path="enroll", body={"metadata": ["Too deep."]})
    for call in both(client, "onboarding"):
        with pytest.raises(MeisaInvalidRequestError, match="Fields it names: metadata") as caught:
            call()
        assert caught.value.__cause__ is None


def test_a_key_without_the_scope_to_enroll_is_told_which(meisa_sandbox, client_of):
    meisa_sandbox.add_key("meisa_live_reads", scopes=["sequences:read"])
    client = client_of(meisa_sandbox.api_url, "meisa_live_reads")
    for call in both(client, "onboarding"):
        with pytest.raises(MeisaScopeError, match="lacks the scope sequences:enroll") as caught:
            call()
        assert caught.value.scope == "sequences:enroll"


def test_an_unknown_key_is_told_where_keys_belong(meisa_sandbox, client_of):
    client = client_of(meisa_sandbox.api_url, "meisa_live_unknown")
    for call in (*both(client, "onboarding"), lambda: list_sequences(client)):
        with pytest.raises(MeisaKeyError, match="password field"):
            call()


def test_swapped_arguments_show_no_address(client):
    assert enroll(client, "onboarding", ADA).status is OutcomeStatus.INVALID
    with pytest.raises(MeisaSequenceNotFoundError) as caught:
        bulk_enroll(client, ["onboarding"], ADA)
    assert "ada" not in str(caught.value)
    assert "<address>" in str(caught.value)


def test_foreign_words_in_an_error_are_free_of_addresses_and_short(raw, raw_client):
    rows = [
        {"slug": "onboarding", "status": f"owned by {ADA} " + "x" * 10_000},
        {"slug": f"on-boarding-{ADA}"},
    ]
    raw.will(respond_with(400, {"detail": "no"}), respond_with(200, {"results": rows}))
    for slug in ("onboarding", "on-boarding-ada"):
        with pytest.raises((MeisaSequenceInactiveError, MeisaSequenceNotFoundError)) as caught:
            check_active(raw_client, slug) if raw.received else enroll(raw_client, "grace@example.org", slug)
        assert "ada@" not in str(caught.value)
        assert len(str(caught.value)) < 600


def test_a_sequence_can_be_checked_beforehand(client):
    assert check_active(client, "onboarding") == SequenceInfo("onboarding", "Onboarding", "active", 0)
    with pytest.raises(MeisaSequenceInactiveError, match="draft"):
        check_active(client, "winback")
    with pytest.raises(MeisaSequenceNotFoundError, match="Close ones: onboarding"):
        check_active(client, "onboard")


# The list.


def test_sequences_are_listed_by_status_and_name(client):
    assert {info.slug for info in list_sequences(client)} == {"onboarding", "reactivation"}
    assert {info.slug: info.status for info in list_sequences(client, status="all")} == {
        "onboarding": "active",
        "reactivation": "active",
        "winback": "draft",
        "legacy": "paused",
    }
    assert [info.slug for info in list_sequences(client, status="all", search="win")] == ["winback"]
    [info] = list_sequences(client, search="Onb")
    assert info.as_json() == {
        "slug": "onboarding",
        "name": "Onboarding",
        "status": "active",
        "total_enrolled": 0,
    }


def test_all_pages_of_the_list_are_read(raw, raw_client):
    raw.will(
        respond_with(200, {"results": [{"slug": "a"}], "next": "?page=2"}),
        respond_with(200, {"results": [{"slug": "b", "total_enrolled": "many", "status": 3}, "odd"]}),
    )
    assert list_sequences(raw_client) == [SequenceInfo("a", "", ""), SequenceInfo("b", "", "")]


def test_a_list_without_an_envelope_is_read(raw, raw_client):
    raw.will(respond_with(200, [{"slug": "a", "status": "active"}]))
    assert list_sequences(raw_client) == [SequenceInfo("a", "", "active")]


@pytest.mark.parametrize("body", [{}, {"results": None}, {"results": {}}, "text", 7, None])
def test_a_list_that_is_none_is_unreadable(raw, raw_client, body):
    raw.will(respond_with(200, json.dumps(body)))
    with pytest.raises(MeisaUnreadableResponseError, match="no list 'results'"):
        list_sequences(raw_client)


# A contact's enrollments.


def test_the_sequences_of_a_contact_are_read(meisa_sandbox, client):
    meisa_sandbox.seed_enrollments("onboarding", ["jane+1@example.org"])
    meisa_sandbox.seed_enrollments("reactivation", ["jane+1@example.org"], "completed")
    assert contact_enrollments(client, "jane+1@example.org") == ContactEnrollments(
        contact_exists=True,
        enrollments=(Enrollment("onboarding", "active"), Enrollment("reactivation", "completed")),
    )


def test_an_unknown_contact_does_not_exist_and_is_in_nothing(client):
    assert contact_enrollments(client, "nobody@example.org") == ContactEnrollments(
        contact_exists=False, enrollments=()
    )


@pytest.mark.parametrize(
    "body",
    [
        {"enrollments": [{"sequence_slug": "a", "status": "active"}]},
        {"contact_exists": True, "sequences": [{"slug": "a", "status": "active"}]},
        {"results": [{"sequence": {"slug": "a", "name": "A"}, "status": "active"}]},
        {"contact_exists": True, "enrollments": [{"sequence": "a", "status": "active"}, "odd", None]},
    ],
)
def test_other_names_of_the_fields_are_understood(raw, raw_client, body):
    raw.will(respond_with(200, body))
    assert contact_enrollments(raw_client, ADA) == ContactEnrollments(
        contact_exists=True, enrollments=(Enrollment("a", "active"),)
    )


@pytest.mark.parametrize(
    "body",
    [{}, {"contact_exists": False}, {"contact_exists": None}, {"contact_exists": "yes", "enrollments": 7}],
)
def test_where_the_response_does_not_say_so_a_contact_does_not_exist(raw, raw_client, body):
    raw.will(respond_with(200, body))
    assert contact_enrollments(raw_client, ADA) == ContactEnrollments(contact_exists=False, enrollments=())


@pytest.mark.parametrize("body", [[], "text", 7])
def test_enrollments_that_are_no_object_are_unreadable(raw, raw_client, body):
    raw.will(respond_with(200, json.dumps(body)))
    with pytest.raises(MeisaUnreadableResponseError, match="not a JSON object"):
        contact_enrollments(raw_client, ADA)
