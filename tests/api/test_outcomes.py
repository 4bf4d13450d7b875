from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.api.checks import check_limit
from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import (
    ENROLL_STATUSES,
    Outcome,
    OutcomeCounter,
    OutcomeStatus,
    build_summary,
    format_counts,
    possibly_ours,
    threshold_violations,
)
from airflow_provider_meisa.api.redaction import redact

SEQUENCES = {
    "job": "enroll",
    "identity": {"sequence_slug": "onboarding"},
    "statuses": ENROLL_STATUSES,
    "complete": True,
    "requests": 3,
    "retries": 1,
    "rate_limited": 0,
    "waited_s": 1.26,
    "elapsed_s": 2.71,
}


def outcomes(status, count, reason=""):
    return [Outcome(f"jane.doe{number}@acme.example", status, reason) for number in range(count)]


def test_an_outcome_does_not_show_its_address():
    assert repr(Outcome("jane@acme.example", OutcomeStatus.FAILED, "why")) == "Outcome(failed, 'why')"


def test_a_tally_counts_and_returns_what_it_has_just_counted():
    counter = OutcomeCounter()
    assert counter.add(outcomes(OutcomeStatus.ENROLLED, 3)) == {OutcomeStatus.ENROLLED: 3}
    assert counter.add(outcomes(OutcomeStatus.FAILED, 2) + outcomes(OutcomeStatus.ENROLLED, 1)) == {
        OutcomeStatus.FAILED: 2,
        OutcomeStatus.ENROLLED: 1,
    }
    assert counter.counts == {OutcomeStatus.ENROLLED: 4, OutcomeStatus.FAILED: 2}
    assert (counter.total, counter.wanting_attention) == (6, 2)


def test_a_tally_keeps_the_first_twenty_that_want_attention_without_their_addresses():
    counter = OutcomeCounter()
    counter.add(outcomes(OutcomeStatus.SUPPRESSED, 5))
    counter.add(outcomes(OutcomeStatus.INVALID, 3) + outcomes(OutcomeStatus.UNREPORTED, 1000))
    assert len(counter.attention) == 20
    assert counter.wanting_attention == 1003
    assert counter.attention[0] == {"address": "j***@***.example", "status": "invalid", "reason": ""}


def test_a_tally_goes_on_from_an_earlier_one_and_can_be_added():
    first = OutcomeCounter()
    first.add(outcomes(OutcomeStatus.FAILED, 1, "first") + outcomes(OutcomeStatus.ENROLLED, 1))
    second = OutcomeCounter({status.value: count for status, count in first.counts.items()}, first.attention)
    second.add(outcomes(OutcomeStatus.FAILED, 1, "second"))
    assert second.counts == {OutcomeStatus.FAILED: 2, OutcomeStatus.ENROLLED: 1}
    assert [entry["reason"] for entry in second.attention] == ["first", "second"]
    both = first + second
    assert both.total == 5
    assert [entry["reason"] for entry in both.attention] == ["first", "first", "second"]
    assert (first.total, second.total) == (2, 3)


def test_only_what_is_enrolled_can_be_ours():
    reported = {
        OutcomeStatus.ALREADY_ENROLLED: "possibly by this run",
        OutcomeStatus.ENROLLED: "possibly twice",
    }
    assert [possibly_ours(Outcome("a@b.example", status, "why")).reason for status in OutcomeStatus] == [
        reported.get(status, "why") for status in OutcomeStatus
    ]


def test_counts_are_put_into_words():
    assert (
        format_counts({OutcomeStatus.SUPPRESSED: 2, OutcomeStatus.ENROLLED: 1498})
        == "1,498 enrolled, 2 suppressed"
    )
    assert format_counts(Counter()) == "none"


# What makes a run a failure.


@pytest.mark.parametrize(
    ("counts", "max_failed", "max_invalid", "found"),
    [
        ({}, 0, 0, []),
        ({}, 0.0, 0.0, []),
        ({"enrolled": 9, "suppressed": 1, "duplicate": 1, "already_enrolled": 1, "untried": 1}, 0, 0, []),
        ({"failed": 1}, 0, None, ["1 failed or unreported (max_failed=0)"]),
        ({"unreported": 1}, 0, None, ["1 failed or unreported (max_failed=0)"]),
        ({"failed": 1, "unreported": 1}, 1, None, ["2 failed or unreported (max_failed=1)"]),
        ({"failed": 1, "unreported": 1}, 2, None, []),
        ({"failed": 1000}, None, None, []),
        ({"failed": 1}, None, 0, []),
        ({"invalid": 5}, 0, None, []),
        ({"invalid": 5}, 0, 4, ["5 invalid (max_invalid=4)"]),
        (
            {"invalid": 5, "failed": 5},
            0,
            0,
            ["5 failed or unreported (max_failed=0)", "5 invalid (max_invalid=0)"],
        ),
        ({"failed": 1, "enrolled": 99}, 0.01, None, []),
        ({"failed": 2, "enrolled": 98}, 0.01, None, ["2 failed or unreported (max_failed=0.01)"]),
        ({"failed": 5}, 1.0, None, []),
        ({"failed": 1, "enrolled": 10**9}, 0.0, None, ["1 failed or unreported (max_failed=0.0)"]),
        ({"failed": 1}, 1, None, []),
        ({"failed": 2}, 1, None, ["2 failed or unreported (max_failed=1)"]),
    ],
)
def test_a_run_fails_where_more_went_wrong_than_allowed(counts, max_failed, max_invalid, found):
    counted = {OutcomeStatus(name): count for name, count in counts.items()}
    assert threshold_violations(counted, max_failed=max_failed, max_invalid=max_invalid) == found


@pytest.mark.parametrize("percent", range(1, 100))
def test_exactly_the_allowed_share_is_allowed_and_one_more_is_not(percent):
    # 0.29 * 100 is 28.999999999999996.
    limit = float(f"0.{percent:02}")
    allowed = {OutcomeStatus.FAILED: percent, OutcomeStatus.ENROLLED: 100 - percent}
    assert threshold_violations(allowed, max_failed=limit, max_invalid=None) == []
    more = {OutcomeStatus.INVALID: percent + 1, OutcomeStatus.ENROLLED: 99 - percent}
    assert len(threshold_violations(more, max_failed=None, max_invalid=limit)) == 1


@pytest.mark.parametrize("limit", [None, 0, 1, 10**9, 0.0, 0.5, 1.0])
def test_a_usable_limit_is_accepted(limit):
    check_limit("max_failed", limit)


@pytest.mark.parametrize("limit", [-1, 1.5, -0.1, float("nan"), float("inf"), True, "5", "5%", [1]])
def test_another_limit_is_refused_by_its_name(limit):
    with pytest.raises(MeisaInputError, match="max_failed must be a number of addresses"):
        check_limit("max_failed", limit)


# The summary.


def test_the_summary_has_the_fields_of_the_contract():
    counter = OutcomeCounter()
    counter.add(
        [*outcomes(OutcomeStatus.ENROLLED, 3), Outcome("jane@acme.example", OutcomeStatus.FAILED, "why")]
    )
    assert build_summary(
        counter, **SEQUENCES, meisa_conn_id="meisa_eu", outcomes_path="s3://bucket/outcomes.jsonl"
    ) == {
        "job": "enroll",
        "sequence_slug": "onboarding",
        "meisa_conn_id": "meisa_eu",
        "environment": None,
        "total": 4,
        "counts": {
            status.value: {"enrolled": 3, "failed": 1}.get(status.value, 0) for status in ENROLL_STATUSES
        },
        "reasons": {"failed": {"why": 1}},
        "possibly_twice": 0,
        "possibly_by_this_run": 0,
        "in_doubt": 0,
        "complete": True,
        "stopped_by": None,
        "requests": 3,
        "retries": 1,
        "rate_limited": 0,
        "waited_s": 1.3,
        "elapsed_s": 2.7,
        "resumed": False,
        "ledger": None,
        "outcomes_path": "s3://bucket/outcomes.jsonl",
        "attention": [{"address": "j***@***.example", "status": "failed", "reason": "why"}],
        "attention_truncated": False,
    }


addresses = st.builds("{}@{}".format, st.text(min_size=1, max_size=64), st.text(max_size=100))
# A reason is a foreign text that was scrubbed.
found = st.builds(Outcome, addresses, st.sampled_from(ENROLL_STATUSES), st.text(max_size=400).map(redact))


@given(
    st.lists(found, max_size=60),
    st.text(max_size=60),
    st.none() | st.text(max_size=150),
    st.none() | st.text(max_size=150),
)
def test_the_summary_is_small_plain_json_whatever_is_in_it(all_outcomes, slug, path, message):
    counter = OutcomeCounter()
    counter.add(all_outcomes)
    figures = {**SEQUENCES, "identity": {"sequence_slug": slug}, "outcomes_path": path, "stopped_by": message}
    summary = build_summary(counter, **figures)
    text = json.dumps(summary, allow_nan=False)
    assert len(text) < 4096
    assert json.loads(text) == summary
    assert sum(summary["counts"].values()) == summary["total"] == len(all_outcomes)
    wanting = sum(outcome.status in {"failed", "unreported", "invalid"} for outcome in all_outcomes)
    assert summary["attention_truncated"] == (len(summary["attention"]) < wanting)


def test_long_reasons_cost_entries_not_space():
    counter = OutcomeCounter()
    counter.add(outcomes(OutcomeStatus.FAILED, 20, "ü" * 200))
    summary = build_summary(counter, **SEQUENCES)
    assert 1 <= len(summary["attention"]) < 20
    assert summary["attention_truncated"]
    assert len(json.dumps(summary)) < 4096


def test_long_message_keeps_both_its_ends():
    counter = OutcomeCounter()
    counter.add(outcomes(OutcomeStatus.FAILED, 20, "ü" * 200))
    message = f"POST /sequences/api/bulk-enroll/: {'ü' * 900} Meisa responded: jane@acme.example {'ü' * 900}"
    summary = build_summary(counter, **{**SEQUENCES, "complete": False, "stopped_by": message})
    assert summary["stopped_by"].startswith("POST /sequences/api/bulk-enroll/: üü")
    assert "… Meisa responded: <address> üü" in summary["stopped_by"]
    assert len(summary["stopped_by"]) < 420
    assert len(json.dumps(summary)) < 4096


def test_no_address_stands_in_the_summary():
    counter = OutcomeCounter()
    counter.add(outcomes(OutcomeStatus.FAILED, 30, redact("jane.doe1@acme.example was refused")))
    text = json.dumps(build_summary(counter, **SEQUENCES))
    assert "jane" not in text
    assert "acme" not in text
