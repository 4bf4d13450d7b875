"""Which addresses of a bulk request a refusal names, in every form a server might give it."""

import pytest

from airflow_provider_meisa.api.bulk_enroll_response.bad_addresses import bad_addresses

EMAILS = ["ada@example.com", "grace@example.com", "Joan@example.com", "lin@example.org"]
TEXT = "Enter a valid email address."


@pytest.mark.parametrize(
    "body",
    [
        {"emails": {"2": [TEXT]}},
        {"emails": {"2": {"email": [TEXT]}}},
        {"emails": [{}, {}, [TEXT], {}]},
        {"emails": [[], [], [TEXT], []]},
        {"emails": [None, None, {"email": TEXT}, None]},
        {"errors": {"emails": {"2": [TEXT]}}},
        {"errors": {"emails.2": [TEXT]}},
        {"errors": {"emails[2]": [TEXT]}},
        {"errors": {"emails.2.email": TEXT}},
        {"detail": [{"loc": ["body", "emails", 2], "msg": TEXT, "type": "value_error"}]},
        {"errors": [{"path": "/emails/2", "message": TEXT}]},
        {"errors": [{"pointer": "/data/emails/2", "detail": TEXT}]},
        {"errors": [{"index": 2, "message": TEXT}]},
        {"errors": [{"email": "joan@example.com", "message": TEXT}]},
        {"errors": {"joan@example.com": TEXT}},
        {"invalid": [{"value": "JOAN@EXAMPLE.COM", "reason": TEXT}]},
        [{"email": "Joan@example.com", "error": TEXT}],
    ],
)
def test_place_and_reason_are_read(body):
    assert bad_addresses(body, EMAILS) == {2: TEXT}


@pytest.mark.parametrize(
    "body",
    [
        {"invalid_emails": ["joan@example.com"]},
        {"error": {"emails": ["joan@example.com"]}},
        {"invalid": ["joan@example.com"], "valid": [email for email in EMAILS if "oan" not in email]},
        "joan@example.com",
    ],
)
def test_address_without_a_reason_gets_one(body):
    assert bad_addresses(body, EMAILS) == {2: "refused by Meisa"}


def test_address_in_a_sentence_is_found_and_not_shown():
    found = bad_addresses({"detail": "joan@example.com is not valid."}, EMAILS)
    assert list(found) == [2]
    assert "joan" not in found[2].lower()


@pytest.mark.parametrize(
    "body",
    [
        None,
        7,
        {},
        [],
        "Invalid request.",
        {"detail": "Invalid request."},
        {"emails": ["Not a valid list."]},
        {"emails": {"9": [TEXT]}},
        {"emails": {"2" * 5000: [TEXT]}},
        {"emails": {"non_field_errors": [TEXT]}},
        {"errors": [{"loc": ["body", "sequence_slug"], "msg": TEXT}]},
        {"errors": [{"index": True, "message": TEXT}]},
        {"2": [TEXT]},
        {"retry_after": 2},
        {"emails": EMAILS},
        {"detail": TEXT, "request": {"emails": EMAILS[:2]}},
        {"emails": [[TEXT]] * 4},
        {"detail": "Write to help@example.net."},
    ],
)
def test_response_that_names_none_or_all(body):
    assert bad_addresses(body, EMAILS) == {}


def test_only_address_may_be_named():
    assert bad_addresses({"emails": {"0": [TEXT]}}, EMAILS[:1]) == {0: TEXT}


def test_deep_and_wide_bodies_end():
    deep = {"a": TEXT}
    for _ in range(2000):
        deep = {"emails": deep}
    assert bad_addresses(deep, EMAILS) == {}
    assert bad_addresses({"errors": [{"index": 2, "message": "x " * 10**6}]}, EMAILS)[2].startswith("x x")
