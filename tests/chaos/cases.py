"""The table of the campaign: every fault, by every operator, in every scenario; the rest is drawn from the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

BULK = "/sequences/api/bulk-enroll/"
SINGLE = "/sequences/enroll/"

# What only the sandbox can respond, so that the journal shows which responses are Meisa's.
INSTEAD = 299

FAULTS = {
    "no fault": None,
    "400": {"kind": "status", "status": 400},
    "400 that names a field": {"kind": "status", "status": 400, "body": {"emails": ["Refused."]}},
    "401": {"kind": "status", "status": 401},
    "403": {"kind": "status", "status": 403},
    "404": {"kind": "status", "status": 404},
    "409": {"kind": "status", "status": 409},
    "413": {"kind": "status", "status": 413},
    "429 with a wait": {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}},
    "429 without one": {"kind": "status", "status": 429},
    "429 for a century": {"kind": "status", "status": 429, "headers": {"Retry-After": "3155760000"}},
    "500": {"kind": "status", "status": 500},
    "502": {"kind": "html", "status": 502},
    "503": {"kind": "status", "status": 503, "body": "", "headers": {"Retry-After": "1"}},
    "504": {"kind": "empty", "status": 504},
    "html that says success": {"kind": "html", "status": INSTEAD},
    "nothing that says success": {"kind": "empty", "status": INSTEAD},
    "json of another service": {"kind": "status", "status": INSTEAD, "body": {"ok": True}},
    "an answer without end": {"kind": "huge", "status": INSTEAD},
    "redirect": {"kind": "redirect", "location": "http://127.0.0.1:9/"},
    "reset before": {"kind": "reset_before"},
    "reset after": {"kind": "reset_after"},
    "slow": {"kind": "slow", "seconds": 0.1},
    "too slow": {"kind": "slow", "seconds": 2.0},
    "slow server behind a proxy": {"kind": "late", "seconds": 0.15},
    "slow server that says nothing": {"kind": "late", "seconds": 1.3, "status": 0},
    "shape counts": {"kind": "bulk_shape", "shape": "counts"},
    "shape lists": {"kind": "bulk_shape", "shape": "lists"},
    "shape objects": {"kind": "bulk_shape", "shape": "objects", "reason_key": "message"},
    "shape results": {"kind": "bulk_shape", "shape": "results", "status_key": "outcome"},
    "shape details": {"kind": "bulk_shape", "shape": "details", "upper": True},
    "shape outcomes": {"kind": "bulk_shape", "shape": "outcomes", "status_key": "result"},
    "shape mapping": {"kind": "bulk_shape", "shape": "mapping"},
    "some are left out": {"kind": "bulk_shape", "drop": 7},
    "split batch, named": {"kind": "bad_addresses", "addresses": ["33x@private.example"]},
    "split batch": {"kind": "bad_addresses", "addresses": ["333x@private.example"], "form": "nothing"},
    "strangers": {"kind": "bulk_shape", "shape": "results", "extra": 3},
}
OPERATORS = ("bulk", "sql", "file", "single", "ledger")
"""``ledger`` is ``bulk`` with a ledger."""
SCENARIOS = (
    "retried",
    "killed as it notes",
    "killed as it sends",
    "killed as it records",
    "killed at the ledger",
    "told to stop",
    "orphaned",
    "cleared",
    "short of requests",
    "deferred",
    "wrong shape",
)
# Faults in which the client gives up before the response comes.
IMPATIENT = ("too slow", "slow server that says nothing")
_OF_ONE = ("retried", "killed as it sends", "cleared")
_OF_LEDGER = (
    "retried",
    "killed as it notes",
    "killed as it sends",
    "killed at the ledger",
    "told to stop",
    "orphaned",
    "cleared",
    "deferred",
)
_OF_MANY = [scenario for scenario in SCENARIOS if scenario != "killed at the ledger"]
_SCENARIOS_OF = {
    "single": _OF_ONE,
    "file": [scenario for scenario in _OF_MANY if scenario != "wrong shape"],
    "ledger": _OF_LEDGER,
}
_SEEDS = range(1)
# So many places at which a process is killed, one after the other: before and after, with the plan kept and lost.
_PLACES = {"killed as it notes": 9, "killed at the ledger": 12}
_ROUND = [(side, loses_plan) for side in (1, -1) for loses_plan in (False, True)]


@dataclass(frozen=True)
class Case:
    """One run of the campaign."""

    operator: str
    fault: str
    scenario: str
    seed: int

    def __str__(self):
        return f"{self.operator}, {self.fault}, {self.scenario}, {self.seed}"

    def rng(self):
        """Return the dice of this run: the same ones every time."""
        return random.Random(str(self))

    @property
    def many(self):
        """Whether the run needs several batches."""
        return self.has_ledger or self.scenario not in ("retried", "cleared")

    @property
    def has_ledger(self):
        """Whether the task has a ledger; then the run has a second night."""
        return self.operator == "ledger"

    @property
    def place(self):
        """The write at which the process is killed, negative if just after it; 0 if the dice decide."""
        place, turn = divmod(self.seed - 1, len(_ROUND))
        return (place + 1) * _ROUND[turn][0] if self.seed else 0

    @property
    def loses_plan(self):
        """Whether the worker's disk is gone before the second attempt, and the source has changed."""
        if self.seed:
            return _ROUND[(self.seed - 1) % len(_ROUND)][1]
        return self.has_ledger and random.Random(f"{self}: plan").random() < 0.5


def table():
    """Return every run of the campaign."""
    drawn = [
        Case(operator, fault, scenario, seed)
        for seed in _SEEDS
        for operator in OPERATORS
        for fault in FAULTS
        for scenario in _SCENARIOS_OF.get(operator, _OF_MANY)
        if operator != "single" or (FAULTS[fault] or {}).get("kind") not in ("bulk_shape", "bad_addresses")
    ]
    placed = [
        Case("ledger", "no fault", scenario, seed)
        for scenario, places in _PLACES.items()
        for seed in range(1, places * len(_ROUND) + 1)
    ]
    return drawn + placed


def sample(size):
    """Return a part of the table in which everything occurs: each fault, each scenario, each operator.

    :param size: about how many runs.
    """
    cases = table()
    random.Random(size).shuffle(cases)
    seen, first = set(), []
    for case in cases:
        signs = {(case.operator, case.scenario), case.fault}
        if not signs <= seen:
            first.append(case)
            seen |= signs
    rest = [case for case in cases if case not in first]
    return first + rest[: max(0, size - len(first))]
