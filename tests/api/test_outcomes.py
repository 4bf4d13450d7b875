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
    Tally,
    Verdict,
    in_words,
    objections,
    possibly_ours,
    summary,
)
from airflow_provider_meisa.api.redaction import scrub

FIGURES = {
    "job": "enroll",
    "identity": {"sequence_slug": "onboarding"},
    "statuses": ENROLL_STATUSES,
    "complete": True,
    "requests": 3,
    "repeats": 1,
    "rate_limited": 0,
    "waited_s": 1.26,
    "elapsed_s": 2.71,
}


def outcomes(verdict, count, reason=""):
    return [Outcome(f"jane.doe{number}@acme.example", verdict, reason) for number in range(count)]


def test_an_outcome_does_not_show_its_address():
    assert repr(Outcome("jane@acme.example", Verdict.FAILED, "why")) == "Outcome(failed, 'why')"


def test_a_tally_counts_and_returns_what_it_has_just_counted():
    tally = Tally()
    assert tally.add(outcomes(Verdict.ENROLLED, 3)) == {Verdict.ENROLLED: 3}
    assert tally.add(outcomes(Verdict.FAILED, 2) + outcomes(Verdict.ENROLLED, 1)) == {
        Verdict.FAILED: 2,
        Verdict.ENROLLED: 1,
    }
    assert tally.counts == {Verdict.ENROLLED: 4, Verdict.FAILED: 2}
    assert (tally.total, tally.wanting_attention) == (6, 2)


def test_a_tally_keeps_the_first_twenty_that_want_attention_without_their_addresses():
    tally = Tally()
    tally.add(outcomes(Verdict.SUPPRESSED, 5))
    tally.add(outcomes(Verdict.INVALID, 3) + outcomes(Verdict.UNREPORTED, 1000))
    assert len(tally.attention) == 20
    assert tally.wanting_attention == 1003
    assert tally.attention[0] == {"address": "j***@***.example", "verdict": "invalid", "reason": ""}


def test_a_tally_goes_on_from_an_earlier_one_and_can_be_added():
    first = Tally()
    first.add(outcomes(Verdict.FAILED, 1, "first") + outcomes(Verdict.ENROLLED, 1))
    second = Tally({verdict.value: count for verdict, count in first.counts.items()}, first.attention)
    second.add(outcomes(Verdict.FAILED, 1, "second"))
    assert second.counts == {Verdict.FAILED: 2, Verdict.ENROLLED: 1}
    assert [entry["reason"] for entry in second.attention] == ["first", "second"]
    both = first + second
    assert both.total == 5
    assert [entry["reason"] for entry in both.attention] == ["first", "first", "second"]
    assert (first.total, second.total) == (2, 3)


def test_only_what_is_enrolled_can_be_ours():
    told = {Verdict.ALREADY_ENROLLED: "possibly by this run", Verdict.ENROLLED: "possibly twice"}
    assert [possibly_ours(Outcome("a@b.example", verdict, "why")).reason for verdict in Verdict] == [
        told.get(verdict, "why") for verdict in Verdict
    ]


def test_counts_are_put_into_words():
    assert in_words({Verdict.SUPPRESSED: 2, Verdict.ENROLLED: 1498}) == "1,498 enrolled, 2 suppressed"
    assert in_words(Counter()) == "none"


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
    counted = {Verdict(name): count for name, count in counts.items()}
    assert objections(counted, max_failed=max_failed, max_invalid=max_invalid) == found


@pytest.mark.parametrize("percent", range(1, 100))
def test_exactly_the_allowed_share_is_allowed_and_one_more_is_not(percent):
    # 0.29 * 100 is 28.999999999999996.
    limit = float(f"0.{percent:02}")
    allowed = {Verdict.FAILED: percent, Verdict.ENROLLED: 100 - percent}
    assert objections(allowed, max_failed=limit, max_invalid=None) == []
    more = {Verdict.INVALID: percent + 1, Verdict.ENROLLED: 99 - percent}
    assert len(objections(more, max_failed=None, max_invalid=limit)) == 1


@pytest.mark.parametrize("limit", [None, 0, 1, 10**9, 0.0, 0.5, 1.0])
def test_a_usable_limit_is_accepted(limit):
    check_limit("max_failed", limit)


@pytest.mark.parametrize("limit", [-1, 1.5, -0.1, float("nan"), float("inf"), True, "5", "5%", [1]])
def test_another_limit_is_refused_by_its_name(limit):
    with pytest.raises(MeisaInputError, match="max_failed must be a number of addresses"):
        check_limit("max_failed", limit)


# The summary.


def test_the_summary_has_the_fields_of_the_contract():
    tally = Tally()
    tally.add([*outcomes(Verdict.ENROLLED, 3), Outcome("jane@acme.example", Verdict.FAILED, "why")])
    assert summary(
        tally, **FIGURES, meisa_conn_id="meisa_eu", outcomes_path="s3://bucket/outcomes.jsonl"
    ) == {
        "job": "enroll",
        "sequence_slug": "onboarding",
        "meisa_conn_id": "meisa_eu",
        "total": 4,
        "counts": {
            verdict.value: {"enrolled": 3, "failed": 1}.get(verdict.value, 0) for verdict in ENROLL_STATUSES
        },
        "possibly_twice": 0,
        "possibly_by_this_run": 0,
        "complete": True,
        "requests": 3,
        "repeats": 1,
        "rate_limited": 0,
        "waited_s": 1.3,
        "elapsed_s": 2.7,
        "resumed": False,
        "outcomes_path": "s3://bucket/outcomes.jsonl",
        "attention": [{"address": "j***@***.example", "verdict": "failed", "reason": "why"}],
        "attention_truncated": False,
    }


addresses = st.builds("{}@{}".format, st.text(min_size=1, max_size=64), st.text(max_size=100))
# A reason is a foreign text that was scrubbed.
found = st.builds(Outcome, addresses, st.sampled_from(ENROLL_STATUSES), st.text(max_size=400).map(scrub))


@given(st.lists(found, max_size=60), st.text(max_size=60), st.none() | st.text(max_size=150))
def test_the_summary_is_small_plain_json_whatever_is_in_it(all_outcomes, slug, path):
    tally = Tally()
    tally.add(all_outcomes)
    figures = {**FIGURES, "identity": {"sequence_slug": slug}, "outcomes_path": path}
    account = summary(tally, **figures)
    text = json.dumps(account, allow_nan=False)
    assert len(text) < 4096
    assert json.loads(text) == account
    assert sum(account["counts"].values()) == account["total"] == len(all_outcomes)
    wanting = sum(outcome.verdict in {"failed", "unreported", "invalid"} for outcome in all_outcomes)
    assert account["attention_truncated"] == (len(account["attention"]) < wanting)


def test_long_reasons_cost_entries_not_space():
    tally = Tally()
    tally.add(outcomes(Verdict.FAILED, 20, "ü" * 200))
    account = summary(tally, **FIGURES)
    assert 1 <= len(account["attention"]) < 20
    assert account["attention_truncated"]
    assert len(json.dumps(account)) < 4096


def test_no_address_stands_in_the_summary():
    tally = Tally()
    tally.add(outcomes(Verdict.FAILED, 30, scrub("jane.doe1@acme.example was refused")))
    text = json.dumps(summary(tally, **FIGURES))
    assert "jane" not in text
    assert "acme" not in text
