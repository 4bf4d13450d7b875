"""Measure how long tasks take worker slots at the default limits: ``python benchmarks/slots.py [--full]``.

It runs a real Airflow with a scheduler and LocalExecutor, in real time: 5 minutes, with ``--full`` about 15.
"""

from __future__ import annotations

import heapq
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_process import SLOTS, Airflow, Slots, airflow
from contenders import BATCH, RespondingTransport, people, runner_of
from figures import Spread, Table, status
from pace import optimum, simulation
from sandbox_process import add_key, received, sandbox

from airflow_provider_meisa.api.rate_limit.limits import DEFAULT_LIMITS

LIMITS = "60/minute, 1000/hour"
COUNT = 100_000
MANY = 1_000_000
SAMPLE = 24 * BATCH
DEFER_AFTER = 30.0
RETRY_DELAY = 60.0
_SUPERVISOR = 6.0  # a slot may stay taken for 5 s after its task has ended

_OURS = ("ours1", "ours2", "ours3")
_KEYS = {name: f"meisa_live_bench_{name}" for name in (*_OURS, "loop", "mapped")}
_APART = 12.0  # seconds from one start to the next, because runs that begin together slow each other down on two cores


@dataclass(frozen=True)
class Use:
    """The measurements of a DAG's task.

    :param slot_seconds: how long its instances took a worker slot, added up.
    :param stretches: how often they took one.
    :param refused: the number of 429s.
    :param seconds: from the first request to the last, on the sandbox's clock.
    """

    slot_seconds: float
    stretches: int
    refused: int
    seconds: float


@dataclass(frozen=True)
class Uses:
    """The measurements of all contenders; several runs of this package."""

    ours: Sequence[Use]
    loop: Use
    mapped: Use

    @property
    def per_stretch(self) -> float:
        """The mean slot-seconds of one run of this package between two deferrals."""
        return sum(use.slot_seconds for use in self.ours) / sum(use.stretches for use in self.ours)


@dataclass(frozen=True)
class Plan:
    """The plan of a run of our operator, from a simulation.

    :param stretches: how often it takes a worker slot.
    :param reading: CPU seconds, in total, for reading the audience again after its deferrals.
    """

    stretches: int
    reading: float


def measured(mapped_count: int) -> Uses:
    """Run all contenders in an Airflow: ours and the loop together with a key each, then the mapped one."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, sandbox(LIMITS) as url:
        home = Path(folder)
        for key in _KEYS.values():
            add_key(url, key)
        with airflow(home, _environment(home, url, mapped_count)) as running:
            side_by_side = _watched(running, "loop", *_OURS)
            for name in _OURS:
                _check(running.xcom(name, side_by_side.runs[name], "enroll"))
            alone = _watched(running, "mapped")
            return Uses(
                ours=[_use(side_by_side.of(name), url, name) for name in _OURS],
                loop=_use(side_by_side.of("loop"), url, "loop"),
                mapped=_use(alone.of_all_but("mapped", "cut"), url, "mapped"),
            )


@dataclass(frozen=True)
class Watched:
    """Runs that have ended, and the slots that they took."""

    running: Airflow
    runs: dict[str, str]
    slots: Slots

    def of(self, dag_id: str) -> tuple[float, int]:
        """Return the slot-seconds of a DAG's task that was tried once, and how often it took a slot."""
        return self.slots.of(self.running.instances(dag_id, self.runs[dag_id], "enroll"))

    def of_all_but(self, dag_id: str, task_id: str) -> tuple[float, int]:
        """Return those of all other tasks: an instance that is retried gets another id, and the old one is lost."""
        others = self.running.instances(dag_id, self.runs[dag_id], task_id)
        return self.slots.of(set(self.slots.seconds) - others)


def _watched(running: Airflow, *dag_ids: str) -> Watched:
    slots = Slots(running.session)
    slots.start()
    runs = {}
    for dag_id in dag_ids:
        runs[dag_id] = running.begin(dag_id)
        time.sleep(_APART)
    for dag_id, run_id in runs.items():
        running.end(dag_id, run_id, within=1800)
    time.sleep(_SUPERVISOR)
    slots.stop()
    return Watched(running, runs, slots)


def _environment(home: Path, url: str, mapped_count: int) -> dict[str, str]:
    extra = {"rate_limit_storage": (home / "rate_limits").as_uri()}
    ours = {"conn_type": "meisa", "host": url, "extra": extra}
    connections = {
        "loop": {"conn_type": "generic", "host": url, "password": _KEYS["loop"]},
        "mapped": {"conn_type": "http", "host": url},
        **{name: {**ours, "password": _KEYS[name]} for name in _OURS},
    }
    return {
        "BENCH_COUNT": str(COUNT),
        "BENCH_MAPPED": str(mapped_count),
        "BENCH_OURS": " ".join(_OURS),
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in connections.items()},
    }


def _check(summary: dict[str, Any]) -> None:
    counts = summary["counts"]
    if counts["enrolled"] + counts["already_enrolled"] != COUNT:
        raise SystemExit(f"Our operator did not enroll all contacts: {summary}")


def _use(taken: tuple[float, int], url: str, name: str) -> Use:
    seconds, stretches = taken
    requests = received(url, _KEYS[name])
    statuses = Counter(each["status"] for each in requests)
    return Use(seconds, stretches, statuses[429], requests[-1]["at"] - requests[0]["at"])


def planned(count: int) -> Plan:
    """Simulate a run with the real runner, with a simulated clock and without a network."""
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.rate_limit.limiter import RateLimiter, Wait
    from airflow_provider_meisa.api.rate_limit.storage.factory import MemoryStorage
    from airflow_provider_meisa.api.settings import Settings
    from airflow_provider_meisa.bulk.checkpoint import Checkpoint

    now = [time.time()]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    transport: Any = RespondingTransport()
    settings = Settings(api_key="meisa_live_bench", base_url="http://127.0.0.1:1/api/v1")
    rate_limiter = RateLimiter(DEFAULT_LIMITS, MemoryStorage(), clock=lambda: now[0])
    start, stretches, reading = Checkpoint(started_at=now[0]), 0, 0.0
    while True:
        client = MeisaClient(settings, rate_limiter=rate_limiter, transport=transport, sleep=sleep)
        begun = time.process_time()
        runner = runner_of(client, people(count), start=start, longest_wait=DEFER_AFTER)
        reading += time.process_time() - begun
        stretches += 1
        step = runner.run()
        if not isinstance(step, Wait):
            return _complete(runner, count, Plan(stretches, reading))
        start = runner.checkpoint()
        sleep(step.seconds)


def _complete(runner: Any, count: int, plan: Plan) -> Plan:
    summary = runner.summary(complete=True)
    if summary["counts"]["enrolled"] != count:
        raise SystemExit(f"The simulation lost addresses: {summary}")
    return plan


def tries_of_mapped(batches: int, cost: float) -> int:
    """Simulate how often instances of the HttpOperator run until each request is admitted.

    :param cost: seconds that one try takes a slot.
    """
    server = simulation.Server([simulation.SlidingLog(limit) for limit in DEFAULT_LIMITS])
    slots, waiting = [simulation.START] * SLOTS, [simulation.START] * batches
    tries = 0
    while waiting:
        begun = max(heapq.heappop(waiting), heapq.heappop(slots))
        tries += 1
        heapq.heappush(slots, begun + cost)
        if server.ask(begun) is not None:
            heapq.heappush(waiting, begun + cost + RETRY_DELAY)
    return tries


def tables(*, full: bool = False) -> list[Table]:
    """Measure and compute everything; ``full`` maps the HttpOperator over all 200 batches."""
    plans = {count: planned(count) for count in (COUNT, MANY)}
    uses = measured(COUNT if full else SAMPLE)
    return [_table_measured(uses, full=full), _table_computed(uses, plans)]


_HEAD = ("", "slot-seconds", "how", "429", "first to last request, s", "target")


def _table_measured(uses: Uses, *, full: bool) -> Table:
    peer = min(uses.loop.slot_seconds, _of_mapped(uses.mapped, COUNT))
    ratio = Spread([peer / use.slot_seconds for use in uses.ours])
    rows = [
        _measured_row("our operator, deferrable", uses.ours, _target(ratio, 5, uses.ours)),
        _measured_row("one task with a `requests` loop that obeys Retry-After", [uses.loop], ""),
    ]
    if full:
        rows.append(_measured_row("HttpOperator mapped over 200 batches", [uses.mapped], ""))
    return Table(
        f"Slots: {COUNT:,} addresses at {LIMITS}",
        f"A real Airflow with scheduler, triggerer and LocalExecutor of {SLOTS} slots, its defaults otherwise, against "
        f"the sandbox in real time; the best possible is {optimum(DEFAULT_LIMITS, COUNT // BATCH):.0f} s. A slot is "
        "taken from when a worker picks up a task instance until that worker is idle again, sampled every 50 ms. "
        "Up to every second time, Airflow's supervisor holds the slot for 5 s after its task has ended; that is in all "
        f"figures. {len(uses.ours)} runs of our operator and one of the loop, at once, with a key each; median "
        f"and spread. {_about_mapped(uses.mapped)}",
        _HEAD,
        [*rows, *_mapped_rows(uses.mapped, COUNT)],
    )


def _table_computed(uses: Uses, plans: dict[int, Plan]) -> Table:
    many = plans[MANY]
    stretches = [use.slot_seconds / use.stretches for use in uses.ours]
    read_once = plans[COUNT].reading / plans[COUNT].stretches
    totals = Spread(
        [
            many.stretches * (stretch - read_once) + many.reading
            for stretch in [uses.per_stretch, min(stretches), max(stretches)]
        ]
    )
    loop = optimum(DEFAULT_LIMITS, MANY // BATCH)
    peer = min(loop, _of_mapped(uses.mapped, MANY))
    ratio = Spread([peer / total for total in totals.values])
    how = f"{many.stretches} slots × {uses.per_stretch - read_once:.1f} s + {many.reading:.0f} s of reading again"
    return Table(
        f"Slots: {MANY:,} addresses at {LIMITS}, computed",
        "Computed, not measured. The cost of taking a slot once is the mean of the runs above, with the lowest and the "
        "highest in brackets. How often ours takes a slot, and the time for reading the audience again, come from a "
        "simulation with the real runner. The loop holds its slot for at least the best possible time. How often the "
        "supervisor holds a slot is random, and causes most of the spread: "
        f"one run proves little. {_about_mapped(uses.mapped)}",
        _HEAD,
        [
            ["our operator, deferrable", totals.text(0), how, "", "", _target(ratio, 25, ())],
            ["one task with a `requests` loop", f"{loop:,.0f}", "the best possible time", "", "", ""],
            *_mapped_rows(uses.mapped, MANY),
        ],
    )


def _about_mapped(mapped: Use) -> str:
    return (
        f"One try of an instance of the HttpOperator took {_a_try(mapped):.2f} s of a slot (mean of "
        f"{mapped.stretches}). Its tries are simulated with {SLOTS} slots and {RETRY_DELAY:.0f} s from a 429 to the "
        "next attempt; the line *if none were refused* is its lower bound."
    )


def _a_try(mapped: Use) -> float:
    return mapped.slot_seconds / mapped.stretches


def _of_mapped(mapped: Use, count: int) -> float:
    return tries_of_mapped(count // BATCH, _a_try(mapped)) * _a_try(mapped)


def _target(ratio: Spread, target: float, ours: Sequence[Use]) -> str:
    met = status(ratio.median, target, at_least=True)
    message = f"{ratio.text(1)} × fewer than the better peer, {met}"
    return f"{message}; no 429: **missed**" if any(use.refused for use in ours) else message


def _measured_row(name: str, uses: Sequence[Use], target: str) -> list[str]:
    return [
        name,
        Spread([use.slot_seconds for use in uses]).text(1),
        f"measured; slots taken: {Spread([use.stretches for use in uses]).text(0)}",
        Spread([use.refused for use in uses]).text(0),
        Spread([use.seconds for use in uses]).text(1),
        target,
    ]


def _mapped_rows(mapped: Use, count: int) -> list[list[str]]:
    batches, cost = count // BATCH, _a_try(mapped)
    tries = tries_of_mapped(batches, cost)
    name = f"HttpOperator mapped over {batches:,} batches"
    return [
        [name, f"{tries * cost:,.0f}", f"computed: {tries:,} tries", f"{tries - batches:,}", "", ""],
        [
            f"{name}, if none were refused",
            f"{batches * cost:,.0f}",
            f"computed: {batches:,} tries",
            "0",
            "",
            "",
        ],
    ]


if __name__ == "__main__":
    for table in tables(full="--full" in sys.argv):
        print(table.markdown())
