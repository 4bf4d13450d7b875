"""Stopping a client, also from a signal handler."""

from __future__ import annotations

import subprocess
import sys
import threading

from airflow_provider_meisa.api.cancellation import CancellationEvent

# A client is stopped in the middle of its waits, as `on_kill` does it: in the main thread, whenever the signal
# comes.
KILLED_OFTEN = """
import random, signal, sys
from airflow_provider_meisa.api.client import MeisaClient
from airflow_provider_meisa.api.errors import MeisaStoppedError
from airflow_provider_meisa.api.settings import Settings

settings = Settings(api_key="meisa_live_RawKey123", rate_limit_storage="memory")
client = None
signal.signal(signal.SIGALRM, lambda *_: client.stop())
for _ in range(int(sys.argv[1])):
    client = MeisaClient(settings)
    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00002, 0.0004))
    try:
        while True:
            client.check_not_stopped()
            client.wait(0.000001)
    except MeisaStoppedError:
        pass
print("never stuck")
"""


def test_a_wait_ends_after_its_time_and_says_that_nothing_was_told():
    stop = CancellationEvent()
    assert not stop.wait(0.01)
    assert not stop.wait(0)
    assert not stop.wait(-1)
    assert not stop.is_set


def test_what_was_told_before_ends_a_wait_at_once():
    stop = CancellationEvent()
    stop.set()
    stop.set()
    assert stop.is_set
    assert stop.wait(60)
    assert stop.wait(60)


def test_all_who_wait_are_woken():
    stop, woken = CancellationEvent(), []
    threads = [threading.Thread(target=lambda: woken.append(stop.wait(60))) for _ in range(8)]
    for thread in threads:
        thread.start()
    stop.set()
    for thread in threads:
        thread.join()
    assert woken == [True] * 8


def test_a_signal_that_tells_to_stop_never_sticks_in_the_wait_that_it_interrupts():
    ran = subprocess.run(
        [sys.executable, "-c", KILLED_OFTEN, "3000"], capture_output=True, text=True, timeout=200, check=False
    )
    assert (ran.stdout, ran.stderr) == ("never stuck\n", "")
