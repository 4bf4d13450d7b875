"""``probe`` sends each request once with a test key, and reports shapes and no value."""

from __future__ import annotations

import json

import pytest

from airflow_provider_meisa.api.body_shape import shape_of
from airflow_provider_meisa.sandbox.shapes import SHAPES

SECTIONS = [
    "GET /ping/",
    "GET /sequences/api/list/",
    "POST /sequences/enroll/",
    "POST /sequences/enroll/, the same contact again",
    "POST /sequences/api/bulk-enroll/, an enrolled contact and a new one",
    "GET /sequences/api/contact-enrollments/",
    "POST /contacts/upsert/",
    "POST /contacts/{id}/add_tag/",
    "POST /contacts/{id}/remove_tag/",
    "GET /contacts/api/unsubscribed-emails/",
]

OF_SANDBOX = [
    "- `GET /sequences/api/contact-enrollments/`: `email` is not on the page",
    "- `POST /contacts/upsert/`: `source` is not on the page",
]


@pytest.fixture
def with_test_key(meisa_sandbox, meisa_connection):
    meisa_connection(password="meisa_test_sandbox", extra={"rate_limits": "none"})


def sections(report):
    """Return the text of each call."""
    parts = report.split("\n## ")[2:]
    return {part.partition("\n")[0]: part for part in parts}


def differences(report):
    return (
        report.partition("## What differs from the page Meisa's API\n\n")[2]
        .partition("\n\n## ")[0]
        .splitlines()
    )


def test_each_request_is_sent_once(meisa, meisa_sandbox, with_test_key):
    ended = meisa("probe", "--sequence", "onboarding")
    assert ended.status == 0, ended.err
    assert list(sections(ended.out)) == SECTIONS
    sent = [f"{one['method']} {one['path'].removeprefix('/api/v1')}" for one in meisa_sandbox.requests()]
    assert len(sent) == len(SECTIONS)
    assert sent.count("POST /sequences/enroll/") == 2


def test_report_has_statuses_fields_and_types(meisa, meisa_sandbox, with_test_key):
    found = sections(meisa("probe", "--sequence", "onboarding").out)
    assert "Status: 200 (documented)" in found["GET /ping/"]
    assert "| `scopes[]` | text | unknown |" in found["GET /ping/"]
    assert "| `results[].total_enrolled` | integer | documented |" in found["GET /sequences/api/list/"]
    assert "Read as: enrolled" in found["POST /sequences/enroll/"]
    again = found["POST /sequences/enroll/, the same contact again"]
    assert "Status: 409 (unknown)\nRead as: already_enrolled" in again
    bulk = found["POST /sequences/api/bulk-enroll/, an enrolled contact and a new one"]
    assert "Read as: 1 enrolled, 1 already_enrolled" in bulk
    assert "| `id` | text (UUID) | documented |" in found["POST /contacts/upsert/"]


def test_sandbox_differs_from_the_page_in_two_more_fields(meisa, meisa_sandbox, with_test_key):
    assert differences(meisa("probe", "--sequence", "onboarding").out) == OF_SANDBOX


@pytest.mark.parametrize("shape", SHAPES)
def test_report_holds_no_value(meisa, meisa_sandbox, with_test_key, shape):
    meisa_sandbox.put_sequence("secret-slug", name="Secret name", status="draft")
    meisa_sandbox.fault("bulk_shape", shape=shape)
    out = meisa("probe", "--sequence", "onboarding").out
    for value in ("secret", "Secret", "onboarding", "@example.com", "meisa-probe", "meisa_test", "127.0.0.1"):
        assert value not in out


@pytest.mark.parametrize("key", ["meisa_live_sandbox", "meisa_live_named_wrongly"])
def test_live_key_is_refused(meisa, meisa_sandbox, meisa_connection, key):
    if key != "meisa_live_sandbox":
        meisa_sandbox.add_key(key, environment="test")
    meisa_connection(password=key)
    ended = meisa("probe", "--sequence", "onboarding")
    assert ended.status == 2
    assert "does not show that the API key is a test key. Nothing else was sent." in ended.err
    assert ended.out == ""
    assert [one["method"] for one in meisa_sandbox.requests()] == ["GET"]


def test_ping_without_an_environment_is_refused(meisa, meisa_sandbox, with_test_key):
    meisa_sandbox.fault("status", status=200, path="ping", body={"scopes": []})
    assert meisa("probe", "--sequence", "onboarding").status == 2
    assert len(meisa_sandbox.requests()) == 1


def test_what_differs_is_marked(meisa, meisa_sandbox, with_test_key):
    page = {"results": [{"slug": "a", "title": "A", "status": 3}], "pages": 1, "count": "1"}
    meisa_sandbox.fault("status", status=206, path="list", body=page, times=1)
    meisa_sandbox.fault("html", status=200, path="unsubscribed")
    ended = meisa("probe", "--sequence", "onboarding")
    assert ended.status == 0
    call = "- `GET /sequences/api/list/`:"
    assert differences(ended.out) == [
        f"{call} status 206; the page has 200",
        f"{call} `results[].name` is missing (documented)",
        f"{call} `results[].status` is integer, not text (documented)",
        f"{call} `results[].total_enrolled` is missing (documented)",
        f"{call} `count` is text, not integer (inferred)",
        f"{call} `next` is missing (inferred)",
        f"{call} `previous` is missing (inferred)",
        f"{call} `results[].title` is not on the page",
        f"{call} `pages` is not on the page",
        *OF_SANDBOX,
        "- `GET /contacts/api/unsubscribed-emails/`: the body is not JSON",
    ]


@pytest.mark.parametrize("kind", ["reset_after", "status"])
def test_failed_call_does_not_end_the_report(meisa, meisa_sandbox, with_test_key, kind, no_backoff):
    details = {"status": 502} if kind == "status" else {}
    meisa_sandbox.fault(kind, path="bulk", times=None, **details)
    ended = meisa("probe", "--sequence", "onboarding")
    assert ended.status == 0
    assert list(sections(ended.out)) == SECTIONS
    bulk = sections(ended.out)[SECTIONS[4]]
    assert ("No response: " if kind == "reset_after" else "Status: 502 (not on the page)") in bulk
    assert len([one for one in meisa_sandbox.requests() if "bulk" in one["path"]]) == 1


def test_upsert_without_an_id_leaves_tags_out(meisa, meisa_sandbox, with_test_key):
    meisa_sandbox.fault("status", status=200, path="upsert", body={"email": "someone"})
    ended = meisa("probe", "--sequence", "onboarding")
    assert sections(ended.out)[SECTIONS[7]].endswith("Not sent: the contact has no id.\n")
    assert "- `POST /contacts/upsert/`: `id` is missing (documented)" in ended.out


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ({"a@example.com": "enrolled"}, {"": {"object"}, "<key>": {"text"}}),
        ({"0b5a1c9e-0000-4000-8000-000000000000": 1}, {"": {"object"}, "<key>": {"integer"}}),
        ({"custom_fields": {"salary": 3}}, {"": {"object"}, "custom_fields": {"object"}}),
        ({"a b": {"Ada Lovelace": None}}, {"": {"object"}, "<key>": {"object"}, "<key>.<key>": {"null"}}),
        (
            [[], {}, 1.5, True, ""],
            {"": {"list"}, "[]": {"empty list", "empty object", "number", "true or false", "empty text"}},
        ),
        ({"slug-of-ours": []}, {"": {"object"}, "<key>": {"empty list"}}),
        ({f"n{n}": 1 for n in range(41)}, {"": {"object"}, "<key>": {"integer"}}),
        ("2026-11-26T10:00:00Z", {"": {"text (time)"}}),
    ],
)
def test_shape_of_a_body_has_no_value(body, shape):
    assert shape_of(body, {"slug-of-ours"}) == shape


def test_deep_body_has_an_end():
    deep = json.loads("[" * 500 + "]" * 500)
    assert len(shape_of(deep)) == 7
