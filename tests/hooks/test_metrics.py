"""What StatsD receives of our tasks, over a real socket."""

import asyncio
import re
import socket
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator, MeisaEnrollOperator
from airflow_provider_meisa.sensors.sequences import MeisaSequenceSensor
from airflow_provider_meisa.triggers import sequences as triggers
from tests.support.people import people

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "metrics.md"
PEOPLE = people(1600)


class StatsD:
    """Receives metrics on a port of this machine."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        self._lines = []

    def lines(self):
        """Return all metrics of this package that have come: ``name:value|kind``."""
        while True:
            try:
                packet = self._socket.recv(65536).decode()
            except BlockingIOError:
                return [line for line in self._lines if line.startswith("airflow.meisa.")]
            self._lines += packet.splitlines()

    def sums(self):
        """Return the sum of all values by name, without Airflow's prefix."""
        sums = Counter()
        for line in self.lines():
            name, value = re.fullmatch(r"airflow\.(.+):([\d.]+)\|(?:c|ms)", line).groups()
            sums[name] += float(value)
        return sums

    def close(self):
        self._socket.close()


@pytest.fixture
def turn_on(monkeypatch):
    """Turn Airflow's metrics on for the test, with options of its section ``metrics``."""
    statsd = StatsD()

    def on(**options):
        reported = {"statsd_on": True, "statsd_host": "127.0.0.1", "statsd_port": statsd.port, **options}
        for name, value in reported.items():
            monkeypatch.setenv(f"AIRFLOW__METRICS__{name.upper()}", str(value))
        stats.initialize(
            factory=get_stats_factory(), export_legacy_names=bool(options.get("legacy_names_on", True))
        )

    on.statsd = statsd
    yield on
    stats.initialize(factory=NoStatsLogger, export_legacy_names=True)
    statsd.close()


@pytest.fixture
def statsd(turn_on):
    turn_on()
    return turn_on.statsd


@pytest.fixture
def bulk(run_task):
    def run(emails=PEOPLE, sequence_slug="onboarding", **arguments):
        return run_task(MeisaBulkEnrollOperator, emails=emails, sequence_slug=sequence_slug, **arguments)

    return run


def test_an_audience_is_counted_by_status_beside_the_requests(bulk, statsd, meisa_sandbox):
    summary = bulk([*PEOPLE[:600], PEOPLE[0], "broken", "unsubscribed@example.com"]).xcom("task")
    sums = statsd.sums()
    assert sums["meisa.addresses"] == summary["total"] == 603
    for status, count in summary["counts"].items():
        assert sums[f"meisa.addresses.meisa_default.onboarding.{status}"] == count
    assert sums["meisa.requests"] == sums["meisa.requests.meisa_default.onboarding"] == 4
    assert sums["meisa.requests"] == len(meisa_sandbox.requests())
    assert "meisa.retries" not in sums


@pytest.mark.meisa_sandbox(rate_limits="2/2s")
def test_nothing_counts_twice_after_deferrals(bulk, statsd, meisa_sandbox, meisa_connection, short_deferrals):
    meisa_connection(extra={"rate_limits": "2/2s"})
    summary = bulk(**short_deferrals).xcom("task")
    sums = statsd.sums()
    assert sums["meisa.addresses"] == 1600
    assert sums["meisa.requests"] == len(meisa_sandbox.requests()) == summary["requests"]
    assert sums["meisa.waits"] / 1000 == pytest.approx(summary["waited_s"], abs=0.3)
    assert summary["waited_s"] > 0.5


def test_nothing_counts_twice_after_a_retry_and_what_a_retry_will_send_does_not_count(
    bulk, statsd, meisa_sandbox
):
    meisa_sandbox.fault("status", status=500, path="bulk-enroll", skip=2, times=1)
    summary = bulk(max_in_flight=1, retries=1, retry_delay=timedelta(0)).xcom("task")
    sums = statsd.sums()
    assert summary["resumed"] is True
    assert sums["meisa.addresses"] == sums["meisa.addresses.meisa_default.onboarding.enrolled"] == 1600
    assert sums["meisa.requests"] == len(meisa_sandbox.requests())


def test_the_requests_of_a_run_that_may_not_begin_count(bulk, statsd):
    assert bulk(sequence_slug="winback").state == "failed"
    assert statsd.sums() == {"meisa.requests": 2, "meisa.requests.meisa_default.winback": 2}


@pytest.mark.meisa_sandbox(rate_limits="3/1s")
def test_the_page_names_every_metric_that_is_told_and_no_other(bulk, statsd):
    bulk()
    page = PAGE.read_text(encoding="utf-8")
    plain = set(re.findall(r"^\| `(meisa\.\w+)` \|", page, re.MULTILINE))
    patterns = re.findall(r"^\| `(meisa\.\w+\..*)` \|", page, re.MULTILINE)
    values = {"<conn_id>": "meisa_default", "<sequence>": "onboarding", "<status>": "enrolled"}
    filled = {re.sub(r"<\w+>", lambda gap: values[gap[0]], pattern) for pattern in patterns}
    assert statsd.sums().keys() == plain | filled


@pytest.mark.meisa_sandbox(rate_limits="3/1s")
def test_refusals_for_the_rate_count_with_their_retries_and_waits(bulk, statsd):
    summary = bulk().xcom("task")
    sums = statsd.sums()
    assert summary["rate_limited"] >= 1
    assert sums["meisa.rate_limited"] == summary["rate_limited"]
    assert sums["meisa.retries"] == summary["retries"]
    assert sums["meisa.waits"] > 0


def test_a_single_contact_counts(run_task, statsd):
    run_task(MeisaEnrollOperator, contact_email="ada@example.com", sequence_slug="onboarding")
    assert statsd.sums() == {
        "meisa.addresses": 1,
        "meisa.addresses.meisa_default.onboarding.enrolled": 1,
        "meisa.requests": 1,
        "meisa.requests.meisa_default.onboarding": 1,
    }


def test_a_single_contact_that_could_not_be_sent_counts_its_requests(
    run_task, statsd, meisa_sandbox, no_backoff
):
    meisa_sandbox.fault("status", status=500, path="/enroll/", times=None)
    ran = run_task(MeisaEnrollOperator, contact_email="ada@example.com", sequence_slug="onboarding")
    assert ran.state == "failed"
    sums = statsd.sums()
    assert sums["meisa.requests"] == len(meisa_sandbox.requests())
    assert "meisa.addresses" not in sums


def test_the_looks_of_a_sensor_count_wherever_they_are_made(run_task, statsd, meisa_sandbox):
    triggers._listings.clear()
    run_task(MeisaSequenceSensor, sequence_slug="onboarding")
    assert statsd.sums()["meisa.requests.meisa_default.onboarding"] == 1
    asyncio.run(triggers.listing("meisa_default", ["onboarding"], max_age=0))
    assert statsd.sums() == {
        "meisa.requests": 2,
        "meisa.requests.meisa_default": 1,  # a trigger's look is shared by all who wait
        "meisa.requests.meisa_default.onboarding": 1,
    }
    triggers._listings.clear()


def test_where_the_backend_knows_tags_they_are_told(bulk, turn_on):
    turn_on(statsd_influxdb_enabled=True, legacy_names_on=False)
    bulk(PEOPLE[:3])
    assert sorted(turn_on.statsd.lines()) == [
        "airflow.meisa.addresses,conn_id=meisa_default,sequence=onboarding,status=enrolled:3|c",
        "airflow.meisa.requests,conn_id=meisa_default,sequence=onboarding:3|c",
    ]


def test_a_slug_with_characters_that_metrics_do_not_take_counts_too(run_task, statsd, meisa_sandbox):
    meisa_sandbox.put_sequence("win.back, 2", name="Odd", status="active")
    run_task(MeisaBulkEnrollOperator, emails=PEOPLE[:3], sequence_slug="win.back, 2")
    assert statsd.sums()["meisa.addresses.meisa_default.win__back__2.enrolled"] == 3


def test_where_metrics_are_off_nothing_is_told(bulk, turn_on):
    turn_on(statsd_on=False)
    assert bulk(PEOPLE[:3]).state == "success"
    assert turn_on.statsd.lines() == []


def test_metrics_that_fail_do_not_fail_the_task(bulk, turn_on, caplog):
    class Broken(NoStatsLogger):
        def incr(self, stat, *arguments, **options):
            if stat.startswith("meisa."):  # Airflow's own code does not survive it
                raise OSError("no buffer space")

    stats.initialize(factory=Broken, export_legacy_names=True)
    assert bulk().state == "success"
    assert caplog.text.count("Metrics cannot be sent, so this task sends no more of them: OSError") == 1
