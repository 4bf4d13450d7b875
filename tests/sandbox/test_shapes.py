"""The bulk response in every shape."""

from __future__ import annotations

import pytest

from airflow_provider_meisa.sandbox.outcomes import Outcome
from airflow_provider_meisa.sandbox.shapes import SHAPES, Shape, shaped

OUTCOMES = [
    Outcome("a@x.org", "enrolled"),
    Outcome("b@x.org", "suppressed", "bounced"),
    Outcome("c", "invalid", "bad"),
]
COUNTS = {"enrolled": 1, "already_enrolled": 0, "suppressed": 1, "invalid": 1}
ENTRIES = [
    {"email": "a@x.org", "status": "enrolled"},
    {"email": "b@x.org", "status": "suppressed", "reason": "bounced"},
    {"email": "c", "status": "invalid", "reason": "bad"},
]
EXPECTED = {
    "default": {"sequence_slug": "s", **COUNTS, "results": ENTRIES},
    "counts": {"sequence_slug": "s", **COUNTS},
    "lists": {"enrolled": ["a@x.org"], "already_enrolled": [], "suppressed": ["b@x.org"], "invalid": ["c"]},
    "emails": {
        "enrolled_emails": ["a@x.org"],
        "skipped_already_enrolled_emails": [],
        "suppressed_emails": ["b@x.org"],
        "invalid_emails": ["c"],
        "not_found_emails": [],
    },
    "objects": {
        "enrolled": [{"email": "a@x.org", "reason": None}],
        "already_enrolled": [],
        "suppressed": [{"email": "b@x.org", "reason": "bounced"}],
        "invalid": [{"email": "c", "reason": "bad"}],
    },
    "results": {"results": ENTRIES},
    "details": {"details": ENTRIES},
    "outcomes": {"outcomes": ENTRIES},
    "mapping": {"results": {"a@x.org": "enrolled", "b@x.org": "suppressed", "c": "invalid"}},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_tells_the_same_outcomes(shape):
    assert shaped("s", OUTCOMES, Shape(shape)) == EXPECTED[shape]


def test_the_last_addresses_can_be_left_out():
    assert shaped("s", OUTCOMES, Shape("results", drop=2)) == {"results": ENTRIES[:1]}
    assert shaped("s", OUTCOMES, Shape("results", drop=9)) == {"results": []}


def test_addresses_never_sent_can_be_mentioned():
    body = shaped("s", OUTCOMES, Shape("mapping", extra=2))
    assert list(body["results"])[3:] == ["stranger1@example.net", "stranger2@example.net"]


def test_addresses_can_come_back_in_capitals():
    assert shaped("s", OUTCOMES, Shape("lists", upper=True))["enrolled"] == ["A@X.ORG"]


@pytest.mark.parametrize("status_key", ["status", "outcome", "result"])
@pytest.mark.parametrize("reason_key", ["reason", "error", "message"])
def test_the_names_of_status_and_reason_can_differ(status_key, reason_key):
    shape = Shape("details", status_key=status_key, reason_key=reason_key)
    entry = shaped("s", OUTCOMES, shape)["details"][1]
    assert entry == {"email": "b@x.org", status_key: "suppressed", reason_key: "bounced"}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_fault_gives_the_bulk_response_another_shape(live, sandbox, shape):
    sandbox.fault("bulk_shape", shape=shape, upper=True, drop=1, times=1)
    sent = [f"{shape}{n}@example.org" for n in range(3)]
    response = live.bulk(sent).json()
    if shape == "counts":
        assert response["enrolled"] == 2
    else:
        assert sent[0].upper() in str(response)
        assert sent[2].upper() not in str(response)
    assert live.bulk(sent).json()["already_enrolled"] == 3


def test_a_shape_leaves_refusals_and_other_calls_alone(live, sandbox):
    sandbox.fault("bulk_shape", shape="counts")
    assert "emails" in live.bulk([]).json()
    assert live.enroll("shape-alone@example.org").status_code == 201
    assert "results" in live.get("/sequences/api/list/").json()
