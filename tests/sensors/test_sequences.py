import threading
from datetime import timedelta

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException

from airflow_provider_meisa.api.client import TRIES
from airflow_provider_meisa.api.errors import MeisaError
from airflow_provider_meisa.sensors.sequences import MeisaSequenceSensor
from airflow_provider_meisa.triggers import sequences as triggers

MODES = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}


@pytest.fixture(params=MODES)
def wait(request, run_task):
    """Run the sensor in each of its modes."""

    def run(sequence_slug="onboarding", **arguments):
        arguments = {"poke_interval": 0.1, "timeout": 20, **MODES[request.param], **arguments}
        return run_task(MeisaSequenceSensor, sequence_slug=sequence_slug, **arguments)

    return run


def test_an_active_sequence_lets_the_task_go_on_and_is_returned(wait):
    ran = wait()
    assert ran.state == "success"
    assert ran.xcom("task") == {
        "slug": "onboarding",
        "name": ran.xcom("task")["name"],
        "status": "active",
        "total_enrolled": 0,
    }


def test_one_request_serves_all_sequences_of_a_list(wait, meisa_sandbox):
    ran = wait(["reactivation", "onboarding"])
    assert [sequence["slug"] for sequence in ran.xcom("task")] == ["reactivation", "onboarding"]
    assert len(meisa_sandbox.requests()) == 1


def test_the_slug_is_a_template(wait):
    assert wait("{{ params.slug }}", params={"slug": "reactivation"}).xcom("task")["slug"] == "reactivation"


def test_another_status_can_be_waited_for(wait):
    assert wait("legacy", status="paused").xcom("task")["status"] == "paused"


def test_a_missing_sequence_fails_at_once_and_names_close_ones(wait, everything_written):
    assert wait("onbording", retries=2).state == "failed"
    assert "onboarding" in everything_written()


def test_with_soft_fail_a_missing_sequence_skips(wait):
    assert wait("onbording", soft_fail=True).state == "skipped"


def test_with_never_fail_a_missing_sequence_skips(wait):
    assert wait("onbording", never_fail=True).state == "skipped"


@pytest.mark.parametrize("status", ["Active", " ACTIVE"])
def test_the_documented_status_may_be_spelled_with_capitals(wait, status):
    assert wait(status=status).xcom("task")["status"] == "active"


@pytest.mark.parametrize("slug", ["", [], ["onboarding", " "], "onboarding ", 7, [7], [None], None])
def test_what_is_no_slug_fails_before_anything_is_sent(wait, meisa_sandbox, everything_written, slug):
    assert wait(slug).state == "failed"
    assert meisa_sandbox.requests() == []
    assert "sequence_slug " in everything_written()


def test_a_template_that_gives_a_number_fails_before_anything_is_sent(
    wait, meisa_sandbox, everything_written
):
    assert wait("{{ 2024 }}", render_template_as_native_obj=True).state == "failed"
    assert meisa_sandbox.requests() == []
    assert "sequence_slug must be a slug" in everything_written()


@pytest.mark.parametrize("status", ["", " ", None, 7])
def test_what_is_no_status_fails_before_anything_is_sent(wait, meisa_sandbox, everything_written, status):
    assert wait(status=status).state == "failed"
    assert meisa_sandbox.requests() == []
    assert "status must be a word" in everything_written()


def test_a_wrong_choice_of_on_missing_fails_before_anything_is_sent(wait, meisa_sandbox):
    assert wait(on_missing="hope").state == "failed"
    assert meisa_sandbox.requests() == []


def test_a_wrong_key_fails_at_once(wait, meisa_connection, meisa_sandbox):
    meisa_connection(password="meisa_live_unknown")
    assert wait(retries=2).state == "failed"
    assert len(meisa_sandbox.requests()) == 1


class Activation:
    """Activates a sequence once the sandbox was asked for it a number of times."""

    def __init__(self, sandbox, slug, *, after):
        self.sandbox, self.slug, self.after = sandbox, slug, after
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        while len(self.sandbox.requests()) < self.after and not self.done.wait(0.02):
            continue
        self.sandbox.put_sequence(self.slug, name="Late", status="active")

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *failure):
        self.done.set()
        self.thread.join()


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
@pytest.mark.parametrize("slug", ["winback", "not-made-yet"])
def test_a_sequence_that_becomes_active_while_we_wait_ends_the_wait(run_task, meisa_sandbox, mode, slug):
    with Activation(meisa_sandbox, slug, after=3):
        ran = run_task(
            MeisaSequenceSensor,
            sequence_slug=slug,
            on_missing="wait",
            poke_interval=0.1,
            timeout=20,
            **MODES[mode],
        )
    assert ran.state == "success"
    assert ran.xcom("task")["name"] == "Late"
    assert len(meisa_sandbox.requests()) >= 3


def test_a_sensor_that_pokes_times_out(run_task):
    ran = run_task(MeisaSequenceSensor, sequence_slug="winback", poke_interval=0.05, timeout=0.2)
    assert ran.state == "failed"


@pytest.mark.meisa_sandbox(rate_limits="1/1s")
@pytest.mark.parametrize("mode", ["poke", "deferrable"])
def test_while_the_rate_limit_is_used_up_the_sensor_waits_on(run_task, meisa_sandbox, meisa_connection, mode):
    meisa_connection(extra={"rate_limits": "1/1s"})
    with Activation(meisa_sandbox, "winback", after=2):
        ran = run_task(
            MeisaSequenceSensor, sequence_slug="winback", poke_interval=0.1, timeout=20, **MODES[mode]
        )
    assert ran.state == "success"


def test_a_poke_that_finds_no_room_in_the_rate_limit_says_not_yet(meisa_sandbox, meisa_connection):
    meisa_connection(extra={"rate_limits": "1/day"})
    sensor = _sensor(poke_interval=0)
    assert sensor.poke({}).is_done is True
    assert sensor.poke({}).is_done is False


def _sensor(**arguments):
    with DAG("sensor", schedule=None):
        return MeisaSequenceSensor(task_id="task", **{"sequence_slug": "onboarding", **arguments})


@pytest.mark.parametrize("event", [None, {}, {"status": "done"}, {"status": "error", "message": 3}, "ready"])
def test_an_event_of_an_unknown_kind_fails_loudly(event):
    with pytest.raises(AirflowFailException, match="does not know"):
        _sensor().execute_complete({}, event)


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
def test_soft_fail_treats_a_server_failure_alike_in_each_mode(run_task, meisa_sandbox, mode, no_backoff):
    meisa_sandbox.fault("status", status=502, path="/list/", times=None)
    ran = run_task(
        MeisaSequenceSensor, sequence_slug="winback", soft_fail=True, poke_interval=0.1, **MODES[mode]
    )
    assert ran.state == "failed"


def test_soft_fail_treats_a_server_failure_seen_by_the_trigger_as_one_seen_by_a_poke(
    run_task, meisa_sandbox, no_backoff
):
    meisa_sandbox.fault("status", status=502, path="/list/", times=None, skip=1)
    ran = run_task(
        MeisaSequenceSensor, sequence_slug="winback", soft_fail=True, poke_interval=0.1, deferrable=True
    )
    assert ran.state == "failed"


def test_a_final_failure_seen_by_the_trigger_is_not_retried(run_task, meisa_sandbox):
    meisa_sandbox.fault("status", status=401, path="/list/", times=None, skip=1)
    ran = run_task(
        MeisaSequenceSensor,
        sequence_slug="winback",
        poke_interval=0.1,
        deferrable=True,
        retries=2,
        retry_delay=timedelta(0),
    )
    assert ran.state == "failed"
    assert len(meisa_sandbox.requests()) == 2


def test_a_failure_that_a_retry_may_mend_is_raised_as_one():
    with pytest.raises(MeisaError, match="later"):
        _sensor().execute_complete({}, {"status": "error", "message": "later", "final": False})


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
def test_never_fail_skips_a_later_look_that_fails_in_each_mode(run_task, meisa_sandbox, mode, no_backoff):
    meisa_sandbox.fault("status", status=502, path="/list/", times=None, skip=1)
    ran = run_task(
        MeisaSequenceSensor, sequence_slug="winback", never_fail=True, poke_interval=0.1, **MODES[mode]
    )
    assert ran.state == "skipped"


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
def test_silent_fail_looks_again_after_a_later_look_that_fails_in_each_mode(
    run_task, meisa_sandbox, mode, no_backoff
):
    meisa_sandbox.fault("status", status=502, path="/list/", skip=1, times=TRIES)
    with Activation(meisa_sandbox, "winback", after=1 + TRIES):
        ran = run_task(
            MeisaSequenceSensor,
            sequence_slug="winback",
            silent_fail=True,
            poke_interval=0.1,
            timeout=20,
            **MODES[mode],
        )
    assert ran.state == "success"
    assert len(meisa_sandbox.requests()) > 1 + TRIES


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
@pytest.mark.parametrize(("choice", "state"), [("silent_fail", "failed"), ("never_fail", "skipped")])
def test_a_final_failure_seen_later_ends_the_wait_alike_in_each_mode(
    run_task, meisa_sandbox, mode, choice, state
):
    meisa_sandbox.fault("status", status=401, path="/list/", times=None, skip=1)
    ran = run_task(
        MeisaSequenceSensor,
        sequence_slug="winback",
        poke_interval=0.1,
        timeout=20,
        **{choice: True},
        **MODES[mode],
    )
    assert ran.state == state
    assert len(meisa_sandbox.requests()) == 2


def test_timeout_names_the_sequence_and_its_status(run_task, everything_written):
    arguments = {"poke_interval": 0.1, "timeout": 0.3}
    assert run_task(MeisaSequenceSensor, sequence_slug="winback", **arguments).state == "failed"
    written = everything_written()
    assert "At the last check: winback is draft. Activate the sequence" in written
    assert "Still waiting: winback is draft" in written


def test_sensor_logs_what_it_found(run_task, everything_written):
    assert run_task(MeisaSequenceSensor, sequence_slug="onboarding").state == "success"
    assert "Found: onboarding is active" in everything_written()


TIMEOUTS = ["Trigger timeout", "Trigger/execution timeout"]  # of Airflow 3, of 2.11


@pytest.mark.parametrize("message", TIMEOUTS)
def test_a_deferred_sensor_that_has_timed_out_fails_for_good(message):
    with pytest.raises(AirflowSensorTimeout):
        _sensor().resume_execution("__fail__", {"error": message}, {})


@pytest.mark.parametrize("message", [*TIMEOUTS, "Trigger failure"])
@pytest.mark.parametrize("choice", ["soft_fail", "never_fail"])
def test_a_deferred_sensor_that_may_not_fail_skips_when_it_has_timed_out_or_lost_its_trigger(choice, message):
    with pytest.raises(AirflowSkipException):
        _sensor(**{choice: True}).resume_execution("__fail__", {"error": message}, {})


def test_a_deferred_sensor_whose_trigger_is_lost_may_be_retried():
    with pytest.raises(Exception, match="Trigger failure") as caught:
        _sensor().resume_execution("__fail__", {"error": "Trigger failure"}, {})
    assert not isinstance(caught.value, AirflowSensorTimeout | AirflowFailException)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [({"never_fail": True}, AirflowSkipException), ({"silent_fail": True}, None), ({}, Exception)],
    ids=["never_fail", "silent_fail", "neither"],
)
def test_the_look_before_deferring_fails_as_a_poke_does(
    meisa_sandbox, meisa_connection, no_backoff, arguments, expected
):
    meisa_sandbox.fault("status", status=502, path="/list/", times=None)
    sensor = _sensor(**arguments)
    if expected is None:
        assert sensor._check_once({}).is_done is False
    else:
        with pytest.raises(expected):
            sensor._check_once({})


def test_triggers_of_one_process_share_a_look(meisa_sandbox, meisa_connection):
    import asyncio

    async def look(times):
        return await asyncio.gather(
            *(triggers.listing("meisa_default", ["onboarding"], max_age=60) for _ in range(times))
        )

    triggers._listings.clear()
    assert len({len(listed) for listed in asyncio.run(look(5))}) == 1
    assert len(meisa_sandbox.requests()) == 1


@pytest.fixture(autouse=True)
def nothing_seen_yet():
    triggers._listings.clear()
