"""What a task says in its log: the plan, a line for each batch or for several, and how it ended."""

import re
from collections import Counter

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_meisa.api.outcomes import OutcomeStatus
from airflow_provider_meisa.bulk.batch_log import BatchLog
from airflow_provider_meisa.hooks.meisa import MeisaHook
from tests.support.clock import Clock
from tests.support.people import people

PEOPLE = people(2600)


@pytest.fixture
def message(caplog):
    """Return the lines of the task's log since the last call."""
    caplog.set_level("INFO", logger="airflow.task.meisa")

    def lines():
        found = [record.getMessage() for record in caplog.records if record.name == "airflow.task.meisa"]
        caplog.clear()
        return found

    return lines


def groups(lines):
    """Return the lines of each group, those outside of all under an empty title."""
    found, title = {"": []}, ""
    for line in lines:
        if line.startswith("::group::"):
            assert not title, "groups cannot nest in Airflow 2.11"
            title = line.removeprefix("::group::")
            assert title not in found
            found[title] = []
        elif line == "::endgroup::":
            assert title
            title = ""
        else:
            found[title].append(line)
    assert not title, f"{title} was not closed"
    return found


def test_checks_and_batches_are_folded_and_the_plan_and_the_end_are_not(task, message):
    task(PEOPLE[:1200], max_contacts=1200).run()
    found = groups(message())
    assert found["Before sending"] == [
        "Limit of addresses: at most 1,200 (max_contacts)",
        "The API key is a live key of Sandbox",
        "The sequence onboarding is active",
    ]
    assert len(found["Batches"]) == 3
    planned, plan, end, effort = found[""]
    assert planned == "Plan written: 1,200 of 1,200 rows to send"
    assert re.fullmatch(
        r"Sending to onboarding with a live key: 1,200 addresses, 3 requests, about \d+ s; requests left: .*",
        plan,
    )
    assert end == "onboarding: 1,200 addresses: 1,200 enrolled"
    assert effort == "Requests: 5 (retries: 0, responses with 429: 0), 0 s waited"


def test_the_line_on_a_batch_has_counts_progress_time_and_room(task, message, meisa_connection):
    meisa_connection(extra={"rate_limits": "60/minute, 1000/hour"})
    task([*PEOPLE[:1499], "broken"], max_in_flight=1).run()
    first, *_, last = groups(message())["Batches"]
    assert re.fullmatch(
        r"Batch 1: 500 enrolled \(500 of 1,500, 33%, about \d+ s left\); "
        r"requests left: 57 of 60/minute, 997 of 1000/hour",
        first,
    )
    assert last.startswith("Batch 3: 499 enrolled, 1 invalid (1,500 of 1,500, 100%, about 0 s left)")


def test_empty_audience_opens_no_group_of_batches(task, message):
    task([]).run()
    assert list(groups(message())) == ["", "Before sending"]


def test_people_who_have_unsubscribed_are_warned_of_outside_of_any_group(task, message, meisa_connection):
    meisa_connection(extra={"allow_override_unsubscribe": True})
    task(["unsubscribed@example.com"], override_unsubscribe=True).run()
    assert any("people who have unsubscribed will be mailed" in line for line in groups(message())[""])


@pytest.mark.meisa_sandbox(rate_limits="2/2s")
def test_a_deferral_closes_the_group_and_the_next_leg_opens_another(
    task, message, meisa_connection, short_deferrals
):
    meisa_connection(extra={"rate_limits": "2/2s"})
    ours = task(PEOPLE[:1600], **short_deferrals)
    ours.run()
    assert ours.deferrals
    found = groups(message())
    assert "Batches" in found
    assert all(re.fullmatch(r"Batches from \d on", title) for title in [*found][3:])
    assert sum(map(len, (lines for title, lines in found.items() if title.startswith("Batches")))) == 4


def test_a_check_that_fails_closes_its_group_before_the_error_is_shown(task, message):
    with pytest.raises(AirflowFailException, match="draft"):
        task(PEOPLE, sequence_slug="winback").run()
    assert message()[-2] == "::endgroup::"


def test_what_stops_a_run_leaves_its_account_outside_of_the_group(task, message, meisa_sandbox):
    meisa_sandbox.fault("status", status=401, path="bulk-enroll", skip=1, times=1)
    with pytest.raises(AirflowFailException):
        task(PEOPLE, max_in_flight=1).run()
    found = groups(message())
    assert found["Batches"][1].startswith("Batch 2: the request has failed: ")
    assert found[""][2] == "onboarding: stopped early, 2,600 addresses: 500 enrolled, 2,100 untried"


def test_a_process_that_may_not_go_on_closes_the_group(task, message):
    ours = task(PEOPLE, max_in_flight=1)
    ours.state.fail_at = 3
    with pytest.raises(RuntimeError):
        ours.run()
    groups(message())


def test_no_address_stands_in_the_log(task, message, meisa_sandbox):
    meisa_sandbox.fault("status", status=500, path="bulk-enroll", skip=1, times=1)
    with pytest.raises(AirflowException):
        task([*PEOPLE, "broken@", "unsubscribed@example.com"]).run()
    assert not [line for line in message() if "@" in line]


# Large runs.


@pytest.fixture
def client(meisa_connection):
    return MeisaHook().get_conn()


def feed(log, batches, clock=None, step=0.0):
    """Pass this many batches of 500 to a log, each a number of seconds after the one before."""
    log.begin(0)
    for number in range(1, batches + 1):
        if clock:
            clock.now += step
        log.on_response(number, Counter({OutcomeStatus.ENROLLED: 500}), number * 500)
    log.close(batches * 500)


def counted(lines):
    return sum(int(re.search(r"([\d,]+) enrolled", line)[1].replace(",", "")) for line in lines)


def test_of_many_batches_each_of_the_first_ten_has_a_line_and_then_each_hundredth(client, message):
    clock = Clock()
    feed(BatchLog(client, 500, 1_000_000, clock), 2000, clock, step=0.1)
    lines = message()
    assert [line.partition(":")[0] for line in lines[:11]] == [
        *(f"Batch {number}" for number in range(1, 11)),
        "20 batches up to 30",
    ]
    assert len(lines) == 10 + 100
    assert counted(lines) == 1_000_000
    assert "(1,000,000 of 1,000,000, 100%" in lines[-1]


def test_however_fast_a_run_is_it_has_not_more_than_a_line_a_second_then(client, message):
    clock = Clock()
    feed(BatchLog(client, 500, 1_000_000, clock), 2000, clock, step=0.01)
    lines = message()
    assert 10 + 15 <= len(lines) <= 10 + 20
    assert counted(lines) == 1_000_000


def test_responses_that_come_in_another_order_are_each_named(client, message):
    log = BatchLog(client, 500, 1500, Clock())
    log.begin(0)
    for done, number in enumerate((1, 3, 2), start=1):
        log.on_response(number, Counter({OutcomeStatus.ENROLLED: 500}), done * 500)
    assert [line.partition(":")[0] for line in message()] == ["Batch 1", "Batch 3", "Batch 2"]


def test_a_stream_that_goes_slowly_has_a_line_every_quarter_of_a_minute(client, message):
    clock = Clock()
    feed(BatchLog(client, 500, None, clock), 100, clock, step=3.0)
    lines = message()
    assert len(lines) == 10 + 90 * 3 / 15
    assert counted(lines) == 50_000
    assert "up to 15: 2,500 enrolled (7,500 so far); requests left" in lines[10]


def test_the_time_to_go_is_that_of_the_responses_where_the_limits_leave_room(
    client, message, meisa_connection
):
    clock = Clock()
    feed(BatchLog(client, 500, 500_000, clock), 4, clock, step=30.0)
    assert "about 8 h 18 min left" in message()[-1]


def test_what_was_waited_does_not_count_as_the_time_of_responses(meisa_connection, message):
    meisa_connection(extra={"rate_limits": "1000000/s"})
    client, clock = MeisaHook().get_conn(), Clock()
    log = BatchLog(client, 500, 1000, clock)
    client._sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)
    log.begin(0)
    client.wait(3600)
    log.on_response(1, Counter({OutcomeStatus.ENROLLED: 500}), 500)
    assert "about 0 s left" in message()[0]


def test_estimate_does_not_count_requests_in_flight_again(meisa_connection, message):
    """At 12 requests a minute, 24 requests take a minute: also while four of them are in flight."""
    meisa_connection(extra={"rate_limits": "12/minute"})
    client = MeisaHook().get_conn()
    log = BatchLog(client, 500, 24 * 500, Clock(), requests=24)
    log.begin(0)
    for sent in range(1, 13):
        client.rate_limiter.commit(client.rate_limiter.reserve())
        log.on_send()
        if sent > 4:
            log.on_response(sent - 4, Counter({OutcomeStatus.ENROLLED: 500}), (sent - 4) * 500)
    left = [int(re.search(r"about (\d+) s left", line)[1]) for line in message()]
    assert len(left) == 8
    assert all(58 <= seconds <= 60 for seconds in left)


@pytest.mark.meisa_sandbox(rate_limits="3/2s")
def test_deferral_has_the_time_of_its_end(task, meisa_connection, short_deferrals, capfd):
    meisa_connection(extra={"rate_limits": "3/2s"})
    ours = task(PEOPLE[:1600], **short_deferrals)
    ours.run()
    assert ours.deferrals
    assert re.search(
        r"deferring for \d+ s, resuming at \d\d:\d\d:\d\d UTC \(worker slot released\)",
        "".join(capfd.readouterr()),
    )
