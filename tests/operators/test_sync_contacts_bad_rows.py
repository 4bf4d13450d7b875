"""Contact syncs of rows as they really are: ids, values and tags of any form, and the limits used up by others."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_meisa.bulk.ledger import Ledger
from tests.support.summary import counts
from tests.support.sync_task import SyncTask, held, row, upserts

pytestmark = [pytest.mark.meisa_sandbox(rate_limits="none"), pytest.mark.usefixtures("ledgers")]


@pytest.fixture
def sync(meisa_connection, no_backoff):
    meisa_connection(extra={"rate_limits": "none"})
    return SyncTask


def ids(sandbox):
    return {contact["external_id"] for contact in sandbox.contacts()}


# Record ids.


def test_ids_of_any_type_are_one_contact_every_night(sync, meisa_sandbox):
    key = uuid.UUID(int=7)
    ours = sync([row(1), row(2.0), row("3"), row(Decimal("4.00")), row(key)])
    assert counts(ours.run()) == {"created": 5}
    assert ids(meisa_sandbox) == {"1", "2", "3", "4", str(key)}
    before = [row(1.0), row(Decimal(2)), row(3), row("4"), row(str(key))]
    same_addresses = [
        {**new, "email": old["email"]} for new, old in zip(before, ours.arguments["contacts"], strict=True)
    ]
    assert counts(ours.night(same_addresses)) == {"unchanged": 5}


@pytest.mark.parametrize("bad", [None, "", " ", 2.0**53, float("nan"), True, b"1", [1]], ids=str)
def test_row_without_an_id_is_invalid_and_the_others_are_sent(sync, meisa_sandbox, bad):
    summary = sync([row(1), {**row(2), "id": bad}, row(3)]).run()
    assert counts(summary) == {"created": 2, "invalid": 1}
    assert ids(meisa_sandbox) == {"1", "3"}
    assert "id" in summary["attention"][0]["reason"]


def test_no_row_with_an_id_sends_nothing(sync, meisa_sandbox):
    """A join that has lost its key: the address does not take the place of the id."""
    with pytest.raises(AirflowFailException, match="invalid"):
        sync([{**row(number), "id": None} for number in range(5)]).run()
    assert upserts(meisa_sandbox) == []


# Addresses.


@pytest.mark.parametrize("fields", [{"email": "email", "external_id": "id"}, {"email": "email"}], ids=str)
def test_case_of_an_address_is_no_other_contact(sync, meisa_sandbox, fields):
    ours = sync([row(1), row(2)], fields=fields)
    ours.run()
    before = len(meisa_sandbox.contacts())
    summary = ours.night([row(1, email="P1@EXAMPLE.com"), row(2, email="p2@EXAMPLE.COM")])
    assert counts(summary) == {"updated": 1, "unchanged": 1}  # only the domain has no case
    assert len(meisa_sandbox.contacts()) == before == 2
    assert counts(ours.night([row(1, email="P1@example.com"), row(2)])) == {"unchanged": 2}


# Values.


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("-inf"),
        Decimal("NaN"),
        b"secret",
        memoryview(b"secret"),
        [1, float("nan")],
        {"secret": {"deep": float("inf")}},
        "sec\0ret",
        ["\ud800"],
        10**400,
        {1: "secret"},
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_value_that_json_cannot_hold_leaves_out_only_its_row(sync, meisa_sandbox, value, everything_written):
    summary = sync([row(1), row(2, plan=value), row(3)]).run()
    assert counts(summary) == {"created": 2, "invalid": 1}
    assert summary["attention"][0]["reason"].startswith("plan: ")
    assert "secret" not in everything_written() + json.dumps(summary)
    assert ids(meisa_sandbox) == {"1", "3"}


def test_values_nested_200_deep_leave_out_only_their_row(sync, meisa_sandbox):
    nested = []
    for _ in range(200):
        nested = [nested]
    text = "[" * 200 + "]" * 200
    summary = sync(
        [row(1), row(2, plan=nested), row(3, mrr=text), row(4, mrr='{"a": [1.0]}')], json_columns=["mrr"]
    ).run()
    assert counts(summary) == {"created": 2, "invalid": 2}
    assert held(meisa_sandbox)["4"][2]["mrr"] == {"a": [1]}


def test_ten_megabytes_of_json_are_not_sent(sync, meisa_sandbox):
    rows = [row(1, plan=json.dumps({"a": "x" * 10_000_000})), row(2, plan="{}"), row(3, plan="[]")]
    ours = sync(rows, json_columns=["plan"])
    summary = ours.run()
    assert counts(summary) == {"created": 2, "invalid": 1}
    assert summary["attention"][0]["reason"] == "plan: the row has more than 2 MiB as JSON"
    assert counts(ours.night(rows)) == {"unchanged": 2, "invalid": 1}
    assert set(held(meisa_sandbox)) == {"2", "3"}


def test_two_megabytes_of_json_are_sent_and_compared(sync, meisa_sandbox):
    rows = [row(1, plan=json.dumps({"a": "x" * 2_000_000}))]
    ours = sync(rows, json_columns=["plan"])
    assert counts(ours.run()) == {"created": 1}
    assert len(held(meisa_sandbox)["1"][2]["plan"]["a"]) == 2_000_000
    assert counts(ours.night(rows)) == {"unchanged": 1}


def test_forms_of_one_number_are_no_change(sync, meisa_sandbox):
    """A driver may give another type each night, or in each batch."""
    ours = sync([row(number, mrr=number) for number in range(2_500)])
    ours.run()
    forms = (int, float, Decimal, lambda number: Decimal(f"{number}.00"))
    mixed = [row(number, mrr=forms[number % 4](number)) for number in range(2_500)]
    assert counts(ours.night(mixed)) == {"unchanged": 2_500}


# Tags.


def test_tags_of_a_column_are_split_and_empty_ones_left_out(sync, meisa_sandbox):
    labels = {1: "b, a,,  ,b", 2: ["x,y", " z ", ""], 3: "", 4: None, 5: ","}
    rows = [{**row(number), "labels": each} for number, each in labels.items()]
    ours = sync(rows, tags="labels")
    assert counts(ours.run()) == {"created": 5}
    found = {each["external_id"]: {tag["name"] for tag in each["tags"]} for each in meisa_sandbox.contacts()}
    assert found == {"1": {"a", "b"}, "2": {"x,y", "z"}, "3": set(), "4": set(), "5": set()}
    again = [{**rows[0], "labels": "a,b"}, *rows[1:]]
    assert counts(ours.night(again)) == {"unchanged": 5}
    assert counts(ours.night([{**rows[0], "labels": "a,b,c"}, *rows[1:]])) == {"updated": 1, "unchanged": 4}


# What others do.


def test_limits_used_up_by_others_delay_a_sync_only(sync, meisa_sandbox):
    """Another program uses the key and is not counted here, so that Meisa refuses requests with 429."""
    ours = sync([row(number) for number in range(20)])
    meisa_sandbox.fault("status", status=429, headers={"Retry-After": "1"}, path="upsert", skip=5, times=3)
    summary = ours.run()
    assert counts(summary) == {"created": 20}
    assert summary["rate_limited"] >= 1
    assert len(ids(meisa_sandbox)) == 20
    assert counts(ours.night([row(number) for number in range(20)])) == {"unchanged": 20}


def test_cleared_run_is_sent_again_by_the_next_night(sync, meisa_sandbox, ledgers):
    ours = sync([row(number) for number in range(5)])
    ours.run()
    Ledger.open_existing(ledgers, "users").clear_run("dag/task/run", by="a person")
    assert counts(ours.night([row(number) for number in range(5)])) == {"updated": 5}
    assert counts(ours.night([row(number) for number in range(5)])) == {"unchanged": 5}
