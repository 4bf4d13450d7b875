"""Runs, commands and compactions at once, killed at any point: nothing that was reported is ever missing."""

import contextlib
import multiprocessing
import multiprocessing.connection
import random

import pytest

from airflow_provider_meisa.bulk.ledger import Ledger
from airflow_provider_meisa.bulk.ledger.store import store_at
from tests.support.ledger_process import NAME, compact, reported, root_of, run_batches, write_once
from tests.support.ledgers import SUBJECT, s3_server

pytestmark = pytest.mark.system

KILLS = 40
ROLES = (
    run_batches,
    run_batches,
    write_once,
    compact,
    compact,
)  # the run has a twin: a worker that was given up


class Crowd:
    """Processes of every role; one that is killed is followed by another of the same role."""

    def __init__(self, place, logs):
        self._place, self._logs = place, logs
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.support.ledger_process", "s3fs"])
        self._seed = 0
        self._alive = []

    def __enter__(self):
        for role in ROLES:
            self._begin(role)
        return self

    def __exit__(self, *_):
        for process, _ in self._alive:
            process.kill()
            process.join()

    def kill_one(self, chance):
        number = chance.randrange(len(self._alive))
        process, role = self._alive.pop(number)
        assert process.is_alive(), f"{role.__name__} has failed by itself"
        process.kill()
        process.join()
        self._begin(role)

    def _begin(self, role):
        self._seed += 1
        log = self._logs / f"{self._seed}.log"
        process = self._context.Process(target=role, args=(self._place, log, self._seed))
        process.start()
        self._alive.append((process, role))


def check(ledger, expected):
    found = dict(zip(expected, ledger.known_all(list(expected)), strict=True))
    missing = [each for each, entry in found.items() if entry is None]
    assert not missing, f"{len(missing)} of {len(expected)} reported records are missing"
    lower = [each for each, entry in found.items() if entry.state < expected[each]]
    assert not lower, f"{len(lower)} of {len(expected)} records have an earlier state than was reported"


@pytest.fixture(params=["disk", "s3"])
def place(request, tmp_path):
    with contextlib.ExitStack() as stack:
        if request.param == "disk":
            yield str(tmp_path / "ledgers")
        else:
            yield f"{stack.enter_context(s3_server('ledgers'))} ledgers/airflow"


def test_nothing_reported_is_missing_after_any_kill(place, tmp_path):
    chance = random.Random(7)
    logs = tmp_path / "logs"
    logs.mkdir()
    root = root_of(place)
    long_lived = Ledger.open(root, NAME, SUBJECT)
    compacted = 0
    with Crowd(place, logs) as crowd:
        for _ in range(KILLS):
            seen = dict(long_lived.entries())
            expected = reported(logs)
            fresh = Ledger.open(root, NAME, SUBJECT)
            check(fresh, expected)
            now = dict(fresh.entries())
            assert all(now.get(record_hash, (-1,)) >= entry for record_hash, entry in seen.items())
            compacted += fresh.parts < long_lived.parts
            long_lived.refresh()
            check(long_lived, expected)
            multiprocessing.connection.wait([], timeout=chance.random() / 5)
            crowd.kill_one(chance)
    expected = reported(logs)
    last = Ledger.open(root, NAME, SUBJECT)
    check(last, expected)
    entries = list(last.entries())
    last.compact()
    whole = Ledger.open(root, NAME, SUBJECT)
    assert len(store_at(root / NAME).names()) == 1
    assert list(whole.entries()) == entries
    assert len(expected) > 100
    assert compacted > 0
