"""Contact syncs, night after night: what is sent, what is not, and what stops a night before it sends."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_meisa.bulk.ledger import LedgerWriter, State
from airflow_provider_meisa.bulk.plan import PlanStore
from airflow_provider_meisa.jobs.sync_contacts import SyncContactsJob
from tests.support.summary import counts
from tests.support.sync_task import COLUMNS, SyncTask, contact_ledger, held, row, upserts

pytestmark = [pytest.mark.meisa_sandbox(rate_limits="none"), pytest.mark.usefixtures("ledgers")]

ROWS = [row(number) for number in range(40)]


@pytest.fixture
def sync(meisa_connection, no_backoff):
    meisa_connection(extra={"rate_limits": "none"})
    return lambda contacts=ROWS, **arguments: SyncTask(contacts, **arguments)


@pytest.fixture
def ledger(ledgers, meisa_sandbox):
    """Open the ledger, as of a number of days ago."""
    return partial(contact_ledger, ledgers, meisa_sandbox)


def states(ledger):
    found = [entry.state for _, entry in ledger.entries()]
    return {state: found.count(state) for state in set(found)}


# What is sent.


def test_only_changed_and_new_rows_are_sent(sync, meisa_sandbox, ledger):
    ours = sync()
    first = ours.run()
    assert (counts(first), first["new"], first["changed"], first["gone"]) == ({"created": 40}, 40, 0, 0)
    before = len(meisa_sandbox.requests())
    changed = [*ROWS[2:39], row(39, plan="team"), row(50)]
    second = ours.night(changed)
    assert counts(second) == {"updated": 1, "created": 1, "unchanged": 37}
    assert (second["new"], second["changed"], second["gone"]) == (1, 1, 2)
    assert second["ledger"]["entries"] == 41
    assert len(meisa_sandbox.requests()) - before <= 2 + 2
    assert held(meisa_sandbox)["39"] == ("p39@example.com", "Ada", {"mrr": 1.5, "plan": "team"})
    assert states(ledger()) == {State.ACCEPTED: 41}


def test_night_without_changes_sends_no_upsert(sync, meisa_sandbox):
    ours = sync()
    ours.run()
    before = len(meisa_sandbox.requests())
    as_another_driver_has_them = [{**each, "id": float(each["id"]), "mrr": Decimal("1.50")} for each in ROWS]
    summary = ours.night(as_another_driver_has_them[::-1])
    assert counts(summary) == {"unchanged": 40}
    assert len(upserts(meisa_sandbox)) == 40
    assert len(meisa_sandbox.requests()) - before <= 2


def test_log_has_the_requests_of_the_plan(sync, caplog):
    caplog.set_level("INFO")
    ours = sync()
    ours.run()
    ours.night([*ROWS[1:], row(0, plan="team")])
    assert "Sending 1 of 40 contacts with a live key, about 0 s" in caplog.text


def test_automations_see_only_what_changed(sync, meisa_sandbox):
    ours = sync()
    ours.run()
    before = len(meisa_sandbox.automation_events())
    ours.night([row(number, plan="team" if number < 3 else "free") for number in range(40)])
    new = meisa_sandbox.automation_events()[before:]
    assert [(each["name"], each["about"]) for each in new] == [
        ("contact_updated", ["custom_fields.plan"])
    ] * 3


def test_changed_address_moves_the_contact(sync, meisa_sandbox):
    ours = sync()
    ours.run()
    assert counts(ours.night([*ROWS[1:], row(0, email="new@example.com")])) == {"updated": 1, "unchanged": 39}
    assert len(meisa_sandbox.contacts()) == 40
    assert held(meisa_sandbox)["0"][0] == "new@example.com"


def test_rows_that_come_back_are_sent_only_if_changed(sync, meisa_sandbox):
    ours = sync()
    ours.run()
    ours.night(ROWS[1:])
    assert counts(ours.night(ROWS)) == {"unchanged": 40}
    assert ours.ti.xcoms["return_value"]["gone"] == 0


def test_null_empties_what_meisa_has(sync, meisa_sandbox):
    ours = sync(ROWS[:1])
    ours.run()
    ours.night([row(0, name=None, mrr=None)])
    assert held(meisa_sandbox)["0"] == ("p0@example.com", "", {"mrr": None, "plan": "free"})
    kept = sync(ROWS[:1], nulls="omit", ledger="others", sync_name="others")
    kept.run()
    kept.night([row(0, name=None, mrr=None)])
    assert held(meisa_sandbox)["0"] == ("p0@example.com", "Ada", {"mrr": 1.5, "plan": "free"})


def test_tables_of_pandas_are_synced(sync, meisa_sandbox):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([row(0, mrr=float("nan")), row(1)])
    assert counts(sync(frame).run()) == {"created": 2}
    assert held(meisa_sandbox)["0"][2] == {"mrr": None, "plan": "free"}


def test_order_of_fields_changes_no_contact(sync, meisa_sandbox):
    ours = sync()
    ours.run()
    turned = dict(reversed(COLUMNS["fields"].items()))
    assert counts(ours.night(ROWS, fields=turned)) == {"unchanged": 40}


def test_any_name_of_a_custom_field_is_sent_and_compared(sync, meisa_sandbox):
    named = {'"big" \\ plan': "a", "Größe.m²": "b", "tab\t": "c"}
    ours = sync([{**row(0), **named}], custom_fields=list(named))
    ours.run()
    assert held(meisa_sandbox)["0"][2] == named
    assert counts(ours.night([{**row(0), **named}])) == {"unchanged": 1}
    assert counts(ours.night([{**row(0), **named, "tab\t": "d"}])) == {"updated": 1}


@pytest.mark.parametrize("listed", [False, True])
def test_unchanged_rows_are_in_the_outcomes_file_if_there_is_one(sync, tmp_path, listed, mocker):
    path = tmp_path / "outcomes.jsonl" if listed else None
    written = mocker.spy(PlanStore, "_fill")
    ours = sync(outcomes_path=path)
    ours.run()
    assert counts(ours.night([*ROWS[1:], row(0, plan="team")])) == {"updated": 1, "unchanged": 39}
    assert written.spy_return.batches <= 2
    assert written.spy_return.counts == {"unchanged": 39}
    if path:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert Counter(line["status"] for line in lines) == {"updated": 1, "unchanged": 39}
        assert {line["address"] for line in lines} == {each["email"] for each in ROWS}


# What is not sent.


def test_rows_that_contradict_each_other_are_invalid(sync, meisa_sandbox):
    rows = [
        *ROWS[:30],
        row(3),  # the same row again
        row(4, plan="team"),  # another row of the same id
        row(99, email="p5@example.com"),  # the address of another id
    ]
    summary = sync(rows, max_failed=0).run()
    assert counts(summary) == {"created": 28, "duplicate": 1, "invalid": 4}
    assert not {"4", "5", "99"} & held(meisa_sandbox).keys()


@pytest.mark.parametrize("order", [1, -1])
def test_known_row_stays_unchanged_next_to_a_contradicting_one(sync, meisa_sandbox, order):
    ours = sync(ROWS[:10])
    ours.run()
    contradicting = [row(4, plan="team"), row(99, email="p5@example.com")]
    summary = ours.night([*ROWS[:10], *contradicting][::order])
    assert counts(summary)["invalid"] >= 2
    assert "updated" not in counts(summary)
    assert held(meisa_sandbox)["4"][2]["plan"] == "free"
    assert "99" not in held(meisa_sandbox)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([row(4)], {"unchanged": 10, "duplicate": 1}),
        ([row(4), row(4)], {"unchanged": 10, "duplicate": 2}),
        ([row(4, plan="team"), row(4)], {"unchanged": 10, "invalid": 2}),
        ([row(4), row(4, plan="team")], {"unchanged": 10, "duplicate": 1, "invalid": 1}),
    ],
)
def test_more_rows_of_an_unchanged_contact_are_not_sent(sync, meisa_sandbox, more, expected):
    ours = sync(ROWS[:10])
    ours.run()
    summary = ours.night([*ROWS[:10], *more])
    assert (counts(summary), summary["gone"]) == (expected, 0)
    assert len(upserts(meisa_sandbox)) == 10


@pytest.mark.parametrize("between", [0, 2_500])
def test_row_before_the_unchanged_one_of_its_contact_is_not_sent(sync, meisa_sandbox, between):
    """Whether they are read together or apart."""
    ours = sync([*ROWS[:10], *(row(number) for number in range(100, 100 + between))], first_run="record")
    ours.run()
    rows = [row(4, plan="team"), *(row(number) for number in range(100, 100 + between)), *ROWS[:10]]
    assert counts(ours.night(rows))["invalid"] >= 1
    assert upserts(meisa_sandbox) == []


@pytest.mark.parametrize("order", [1, -1])
def test_address_of_an_unchanged_contact_is_not_sent_for_another(sync, meisa_sandbox, order):
    ours = sync(ROWS[:10])
    ours.run()
    summary = ours.night([*ROWS[:9], row(9, email="P3@Example.com"), row(10)][::order])
    assert counts(summary) == {"unchanged": 9, "invalid": 1, "created": 1}
    assert held(meisa_sandbox)["9"][0] == "p9@example.com"


def test_forgotten_contact_is_never_sent(sync, meisa_sandbox, ledger):
    ours = sync(ROWS[:2])
    ours.run()
    ledger().forget(["0"], by="a person")
    assert counts(ours.night([row(0, plan="team"), row(1, plan="team")])) == {"suppressed": 1, "updated": 1}
    assert held(meisa_sandbox)["0"][2]["plan"] == "free"


def test_contact_forgotten_during_a_run_is_not_sent(sync, meisa_sandbox, ledger, monkeypatch):
    """Forgotten once the first rows are sent; its own row is announced later."""
    send = SyncContactsJob.send

    def send_and_forget(job, client, items, reservation):
        if not meisa_sandbox.contacts():
            ledger().forget(["250"], by="a person")
        return send(job, client, items, reservation)

    monkeypatch.setattr(SyncContactsJob, "send", send_and_forget)
    summary = sync([row(number) for number in range(300)], max_in_flight=1).run()
    assert counts(summary) == {"created": 299, "suppressed": 1}
    assert "250" not in held(meisa_sandbox)


def test_invalid_rows_are_counted_and_too_many_fail(sync, meisa_sandbox):
    bad = [row(number, mrr=float("nan")) for number in range(3)]
    assert counts(sync([*bad, *ROWS[3:10]]).run()) == {"created": 7, "invalid": 3}
    with pytest.raises(AirflowFailException, match="invalid"):
        sync([*bad, row(3)], ledger="others", sync_name="others").run()


def test_refused_row_is_not_sent_again_before_it_changes(sync, meisa_sandbox, ledger):
    meisa_sandbox.fault("status", status=400, path="upsert", times=1)
    ours = sync(ROWS[:3], max_failed=None)
    assert counts(ours.run()) == {"created": 2, "failed": 1}
    before = len(upserts(meisa_sandbox))
    assert counts(ours.night(ROWS[:3])) == {"unchanged": 2, "refused_before": 1}
    assert len(upserts(meisa_sandbox)) == before
    corrected = [row(number, plan="team") for number in range(3)]
    assert counts(ours.night(corrected)) == {"created": 1, "updated": 2}


def test_retry_refused_sends_refused_rows(sync, meisa_sandbox):
    meisa_sandbox.fault("status", status=422, path="upsert", times=1)
    ours = sync(ROWS[:3], max_failed=None)
    ours.run()
    assert counts(ours.night(ROWS[:3], retry_refused="True")) == {"unchanged": 2, "created": 1}


@pytest.mark.parametrize(
    ("body", "times", "days", "expected"),
    [
        ({"detail": "Not valid."}, 1, 6, "refused_before"),
        ({"detail": "Not valid."}, 1, 8, "created"),
        ({"email": ["Another contact has this email."]}, 2, 0.1, "created"),
        ({"non_field_errors": ["The fields email must make a unique set."]}, 2, 0.1, "created"),
    ],
)
def test_refusals_and_conflicts_are_tried_again_later(
    sync, meisa_sandbox, body, times, days, expected, mocker
):
    meisa_sandbox.fault("status", status=400, body=body, path="upsert", times=times)
    ours = sync(ROWS[:1], max_failed=None)
    assert counts(ours.run()) == {"failed": 1}
    later = time.time() + days * 86400
    mocker.patch("airflow_provider_meisa.bulk.run_ledger.time.time", return_value=later)
    assert counts(ours.night(ROWS[:1])) == {expected: 1}


def test_conflict_of_two_contacts_fails_one(sync, meisa_sandbox, ledger):
    ours = sync(ROWS[:2], max_failed=None)
    ours.run()
    swapped = [row(0, email="p1@example.com"), row(1, email="p0@example.com")]
    summary = ours.night(swapped)
    assert counts(summary) == {"failed": 2}
    assert states(ledger()) == {State.PRESENT: 2}
    assert held(meisa_sandbox)["0"][0] == "p0@example.com"


def test_response_without_id_is_failed_and_not_recorded(sync, meisa_sandbox, ledger):
    meisa_sandbox.fault("status", status=200, body={}, path="upsert", times=1)
    ours = sync(ROWS[:3], max_failed=None)
    assert counts(ours.run()) == {"created": 2, "failed": 1}
    assert states(ledger()) == {State.ACCEPTED: 2, State.PENDING: 1}
    assert counts(ours.night(ROWS[:3])) == {"created": 1, "unchanged": 2}


# First runs.


def test_first_run_fails_unless_a_person_decides(sync, meisa_sandbox):
    with pytest.raises(AirflowFailException, match=r"first_run is 'fail'.*'send'.*'record'"):
        sync(first_run=None).run()
    assert upserts(meisa_sandbox) == []


def test_first_run_can_record_what_is_there(sync, meisa_sandbox, ledger):
    ours = sync(first_run="record")
    assert counts(ours.run()) == {"unchanged": 40}
    assert upserts(meisa_sandbox) == []
    assert states(ledger()) == {State.RECORDED: 40}
    assert counts(ours.night([*ROWS[1:], row(0, plan="team")])) == {"created": 1, "unchanged": 39}


# Guards.


def test_too_many_changes_send_nothing(sync, meisa_sandbox):
    ours = sync(max_changes=5)
    ours.run()
    changed = [row(number, plan="team") for number in range(6)] + ROWS[6:]
    with pytest.raises(AirflowFailException, match=r"6 rows are new or have changed.*\(5\)"):
        ours.night(changed)
    assert len(upserts(meisa_sandbox)) == 40
    assert counts(ours.run(max_changes=6)) == {"updated": 6, "unchanged": 34}


def test_share_of_changes_is_never_below_a_thousand(sync, meisa_sandbox):
    ours = sync()
    ours.run()
    assert counts(ours.night([row(number, plan="team") for number in range(40)])) == {"updated": 40}


def test_new_form_of_ids_counts_as_changes(sync, meisa_sandbox):
    ours = sync(max_changes=5)
    ours.run()
    with pytest.raises(AirflowFailException, match="40 rows are new or have changed"):
        ours.night([{**each, "id": f"u-{each['id']}"} for each in ROWS])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"custom_fields": ["plan"]}, "left out mrr"),
        ({"custom_fields": ["plan", "mrr", "seats"]}, "added seats"),
        ({"fields": {**COLUMNS["fields"], "last_name": "plan"}}, "fields of last_name"),
        ({"types": {"mrr": "text"}}, "types of mrr"),
        ({"tags": ["trial"]}, "tags"),
        ({"nulls": "omit"}, "nulls"),
    ],
    ids=str,
)
def test_changed_mapping_stops_before_it_sends(sync, meisa_sandbox, change, named):
    ours = sync()
    ours.run()
    rows = [{**each, "seats": 1} for each in ROWS]
    with pytest.raises(AirflowFailException, match=f"another one than in the last run: {named}"):
        ours.night(rows, **change)
    assert len(upserts(meisa_sandbox)) == 40


def test_resync_sends_all_rows_once_for_a_mapping(sync, meisa_sandbox):
    ours = sync(max_changes=0)
    ours.run()
    rows = [{**each, "seats": 1} for each in ROWS]
    change = {"custom_fields": ["plan", "mrr", "seats"], "resync": "all"}
    assert counts(ours.night(rows, **change)) == {"updated": 40}
    assert counts(ours.night(rows, **change)) == {"unchanged": 40}
    assert counts(ours.night(rows, resync=None)) == {"unchanged": 40}


def test_resync_can_record_instead_of_sending(sync, meisa_sandbox, ledger):
    ours = sync()
    ours.run()
    rows = [{**each, "seats": 1} for each in [*ROWS, row(50)]]
    change = {"custom_fields": ["plan", "mrr", "seats"], "resync": "record"}
    assert counts(ours.night(rows, **change)) == {"unchanged": 40, "created": 1}
    assert states(ledger()) == {State.RECORDED: 40, State.ACCEPTED: 1}
    rows[0]["seats"] = 2
    assert counts(ours.night(rows)) == {"updated": 1, "unchanged": 40}


def test_new_column_is_left_out_until_resync(sync, meisa_sandbox, caplog):
    ours = sync(custom_fields="*")
    ours.run()
    rows = [{**each, "country": "de"} for each in ROWS]
    assert counts(ours.night(rows)) == {"unchanged": 40}
    assert "New columns are not sent before resync is set: country" in caplog.text
    assert counts(ours.night(rows, resync="all")) == {"updated": 40}
    assert held(meisa_sandbox)["0"][2] == {"country": "de", "mrr": 1.5, "plan": "free"}


def test_dropped_column_stops_before_it_sends(sync, meisa_sandbox):
    ours = sync(custom_fields="*")
    ours.run()
    with pytest.raises(AirflowFailException, match="left out mrr"):
        ours.night([{name: value for name, value in each.items() if name != "mrr"} for each in ROWS])


def test_older_run_does_not_overwrite_newer_values(sync, meisa_sandbox):
    ours = sync()
    ours.run()
    ours.night([row(number, plan="team") for number in range(40)])
    ours.next_night(contacts=ROWS).date -= timedelta(days=2)
    with pytest.raises(AirflowFailException, match="it could write old values over newer ones"):
        ours.run()
    assert held(meisa_sandbox)["0"][2]["plan"] == "team"
    assert counts(ours.run(on_older_run="send")) == {"updated": 40}


def test_run_of_the_same_interval_may_send(sync):
    ours = sync()
    ours.run()
    assert counts(ours.clear().run()) == {"unchanged": 40}


def test_empty_source_leaves_everything_as_it_is(sync, meisa_sandbox, ledger):
    ours = sync()
    ours.run()
    summary = ours.night([])
    assert (counts(summary), summary["gone"]) == ({}, 0)
    with pytest.raises(AirflowFailException, match="no contacts"):
        ours.night([], on_empty="fail")
    assert states(ledger()) == {State.ACCEPTED: 40}


def test_rows_are_sent_again_after_a_period_each_at_its_time(sync, meisa_sandbox, mocker):
    ours = sync(resync_after=timedelta(days=10))
    ours.run()
    base, sent = time.time(), []
    for day in range(1, 11):
        mocker.patch("airflow_provider_meisa.bulk.run_ledger.time.time", lambda now=base + day * 86400: now)
        mocker.patch(
            "airflow_provider_meisa.bulk.ledger.writer.minute_at", lambda _now, day=day: minute(base, day)
        )
        sent.append(counts(ours.night(ROWS)).get("updated", 0))
    assert sum(sent) >= 40
    assert max(sent) < 20


def minute(base, day):
    from airflow_provider_meisa.bulk.ledger.entry import minute_at

    return minute_at(base + day * 86400)


# Failures.


def test_retry_after_a_failure_sends_only_what_is_left(sync, meisa_sandbox, ledger):
    meisa_sandbox.fault("status", status=500, path="upsert", skip=10)
    ours = sync()
    with pytest.raises(AirflowException):
        ours.run()
    meisa_sandbox.clear_faults()
    assert sum(counts(ours.run()).values()) == 40
    assert len(held(meisa_sandbox)) == 40
    assert states(ledger()) == {State.ACCEPTED: 40}


def test_run_that_stops_announces_no_more_rows(sync, meisa_sandbox, ledger, mocker):
    """A revoked key ends the run: the rows that are left get no intents, which would only be withdrawn again."""
    put = mocker.spy(LedgerWriter, "put")
    meisa_sandbox.fault("status", status=401, path="upsert")
    with pytest.raises(AirflowFailException):
        sync([row(number) for number in range(1500)]).run()
    assert len(put.mock_calls) < 5
    assert set(states(ledger())) <= {State.CLEARED}


def test_deferrals_send_each_contact_once(sync, meisa_connection, meisa_sandbox, short_deferrals, ledger):
    ours = sync(**short_deferrals)
    meisa_connection(extra={"rate_limits": "12/1s"})
    assert counts(ours.run()) == {"created": 40}
    assert ours.deferrals
    assert len(upserts(meisa_sandbox)) == 40
    assert states(ledger()) == {State.ACCEPTED: 40}


def test_other_run_that_has_not_ended_stops_this_one(sync, meisa_sandbox, ledger):
    writer = ledger().writer("another run", repeat="harmless")
    writer.start()
    with pytest.raises(AirflowException, match="The run another run writes the same ledger") as raised:
        sync().run()
    assert not isinstance(raised.value, AirflowFailException)
    assert upserts(meisa_sandbox) == []


def test_twenty_refusals_stop_a_night_and_the_next_ones_continue(sync, meisa_sandbox):
    """Rows that Meisa refuses one after the other: the next night sends them after all others."""
    ours = sync(max_failed=None)
    meisa_sandbox.fault("status", status=400, path="upsert", times=30)
    with pytest.raises(AirflowFailException, match="does not accept the request"):
        ours.run()
    assert counts(ours.night(ROWS)) == {"created": 30, "failed": 10}
    assert counts(ours.night(ROWS)) == {"unchanged": 30, "refused_before": 10}


def test_lost_plan_is_made_again(sync, meisa_sandbox, ledger):
    meisa_sandbox.fault("status", status=401, path="upsert", skip=10)
    ours = sync()
    with pytest.raises(AirflowFailException):
        ours.run()
    meisa_sandbox.clear_faults()
    summary = ours.lose_plan().run(contacts=ROWS[::-1])
    assert sum(counts(summary).values()) == 40
    assert states(ledger()) == {State.ACCEPTED: 40}


def test_contacts_in_doubt_are_sent_again_by_the_next_run(sync, meisa_sandbox, ledger):
    """The response is lost, and then the row is what it was before: Meisa may have the other values."""
    ours = sync(ROWS[:1])
    ours.run()
    meisa_sandbox.fault("reset_after", path="upsert")
    with pytest.raises(AirflowException):
        ours.night([row(0, plan="team")])
    assert states(ledger()) == {State.INTENT: 1}
    meisa_sandbox.clear_faults()
    assert held(meisa_sandbox)["0"][2]["plan"] == "team"
    assert counts(ours.night(ROWS[:1])) == {"updated": 1}
    assert held(meisa_sandbox)["0"][2]["plan"] == "free"


# Previews.


def test_preview_counts_and_sends_nothing(sync, meisa_sandbox, ledger):
    ours = sync(max_changes=0)
    ours.run()
    changed = [*ROWS[1:38], row(38, plan="team"), row(50), row(51, mrr=float("inf"))]
    report = ours.night(changed, preview=True)
    assert (report["new"], report["changed"], report["gone"]) == (1, 1, 2)
    assert (report["to_send"], report["requests"], report["total"]) == (2, 2, 40)
    assert report["counts"]["unchanged"] == 37
    assert report["counts"]["invalid"] == 1
    assert len(upserts(meisa_sandbox)) == 40


def test_approved_plan_is_applied_without_reading_again(sync, meisa_sandbox, ledger):
    ours = sync(preview=True)
    ours.ti.task_id = "preview"
    plan = ours.run()["plan"]
    applied = sync([], plan=plan)
    assert counts(applied.run()) == {"created": 40}
    assert counts(applied.night(ROWS, plan=None)) == {"unchanged": 40}


def test_approved_plan_leaves_out_contradicting_rows(sync, meisa_sandbox):
    ours = sync([*ROWS[:3], row(0, plan="team")], preview=True)
    ours.ti.task_id = "preview"
    report = ours.run()
    assert report["to_send"] == 2
    assert counts(sync([], plan=report["plan"]).run()) == {"created": 2, "invalid": 2}
    assert "0" not in held(meisa_sandbox)


# Privacy.


def test_nothing_of_a_row_is_written_anywhere(sync, meisa_sandbox, ledgers, everything_written):
    rows = [row(0, name="Jane", plan="gold", email="jane@example.com"), row(1, mrr=b"secret-7781")]
    ours = sync(rows, max_failed=None, max_invalid=None)
    ours.run()
    meisa_sandbox.fault("status", status=400, body={"error": "jane@example.com has gold"}, path="upsert")
    ours.night([row(0, name="Jane", plan="gold", mrr=2, email="jane@example.com")])
    written = everything_written() + str(ours.ti.xcoms)
    parts = b"".join(part.read_bytes() for part in (ledgers / "users").rglob("*.part"))
    assert not any(word in written for word in ("jane", "Jane", "gold", "7781", "secret"))
    assert not any(word in parts for word in (b"jane", b"Jane", b"gold"))
    assert "jane" not in str(ours.make().contacts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fields": ["email"]}, "fields must be a dict"),
        ({"custom_fields": "plan"}, "custom_fields must be a list"),
        ({"nulls": "keep"}, "nulls must be one of"),
        ({"max_changes": "5"}, "max_changes must be"),
        ({"resync": "some"}, "resync must be one of"),
        ({"resync_after": 5}, "resync_after must be a timedelta"),
        ({"on_older_run": "skip"}, "on_older_run must be one of"),
        ({"sync_name": ""}, "sync_name is empty"),
        ({"retry_refused": "maybe"}, "retry_refused"),
        ({"source": "airflow"}, "source must be one of"),
        ({"contacts": 3}, "contacts is a value of type int; pass a list of dicts"),
        ({"contacts": {"email": "a@example.com"}}, "contacts is a value of type dict; pass a list"),
        ({"contacts": "a@example.com"}, "contacts is a text that is not a JSON list"),
        ({"contacts": ["a@example.com"]}, "contacts holds a text, not a record"),
    ],
)
def test_wrong_parameter_stops_before_anything_is_sent(sync, meisa_sandbox, arguments, message):
    with pytest.raises(AirflowFailException, match=message):
        sync(**arguments).run()
    assert upserts(meisa_sandbox) == []
