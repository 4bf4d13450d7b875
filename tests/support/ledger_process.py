"""Processes that write, compact and are killed: each reports in a log what the ledger must have from then on."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from airflow_provider_meisa.bulk.ledger import Ledger, State
from tests.support.ledgers import SUBJECT, s3_path

NAME = "reactivation"
RUN = "dag.task.night.-1"
STATES = {state.name: state for state in State}


def root_of(place: str) -> Any:
    """Return the folder of all ledgers: a path on this disk, or ``URL bucket/folder``."""
    url, _, path = place.rpartition(" ")
    return s3_path(url, path, skip_instance_cache=True) if url else Path(place)


class Log:
    """Reports states of records, each line in one write, so that a kill cuts off at most the last."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def report(self, state: State, record_ids: Iterable[str]) -> None:
        """Say that these records have at least this state in the ledger."""
        os.write(self._file, "".join(f"{state.name} {each}\n" for each in record_ids).encode())


def reported(folder: Path) -> dict[str, State]:
    """Return the highest state that was reported of each record."""
    found: dict[str, State] = {}
    for log in folder.glob("*.log"):
        for line in log.read_text().splitlines(keepends=True):
            name, _, record_id = line.partition(" ")
            if line.endswith("\n"):
                found[record_id[:-1]] = max(found.get(record_id[:-1], State.PENDING), STATES[name])
    return found


def run_batches(place: str, log: Path, seed: int) -> None:
    """Send batches as one run does, attempt after attempt: intents, results, ends and deferrals."""
    chance, reports = random.Random(seed), Log(log)
    while True:
        ledger = Ledger.open(root_of(place), NAME, SUBJECT)
        writer = ledger.writer(RUN, repeat="ambiguous")
        writer.start()
        results: list[str] = []
        for number in range(chance.randrange(1, 6)):
            batch = [f"run-{seed}-{number}-{chance.random()}" for _ in range(chance.randrange(1, 20))]
            writer.put(dict.fromkeys(batch, 0))
            reports.report(State.ACCEPTED, results)
            reports.report(State.INTENT, batch)
            for each in batch:
                writer.add(each, State.ACCEPTED)
            results = batch
        writer.end() if chance.random() < 0.5 else writer.defer(until=0)
        reports.report(State.ACCEPTED, results)


def write_once(place: str, log: Path, seed: int) -> None:
    """Write parts that wait for no one, as the command line does."""
    chance, reports = random.Random(seed), Log(log)
    while True:
        ledger = Ledger.open(root_of(place), NAME, SUBJECT)
        for number in range(5):
            state = chance.choice([State.RECORDED, State.ACCEPTED, State.CLEARED, State.FORGOTTEN])
            records = [f"cli-{seed}-{number}-{chance.random()}" for _ in range(chance.randrange(1, 20))]
            ledger.write([(each, 0) for each in records], state, by=f"command {seed}")
            reports.report(state, records)


def compact(place: str, log: Path, seed: int) -> None:
    """Compact again and again."""
    while True:
        Ledger.open(root_of(place), NAME, SUBJECT).compact(at_least=2 + seed % 4)
