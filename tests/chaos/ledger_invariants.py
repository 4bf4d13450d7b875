"""What must hold of a run with a ledger, over both of its nights."""

from __future__ import annotations

import time
from itertools import pairwise

from airflow_provider_meisa.bulk.ledger import State
from tests.chaos.cases import BULK
from tests.chaos.factories import DOMAIN
from tests.chaos.ledgers import SENT, keeps_away

# What the client can know to have done nothing: Meisa has refused the request.
_CERTAIN = (400, 401, 403, 404, 409, 413, 422, 429, 503)
_ENROLLED = ("enrolled", "already_enrolled")
_STATES = {
    "enrolled": {State.ACCEPTED},
    "already_enrolled": {State.PRESENT},
    "unreported": {State.INTENT},
    "enrolled_before": {State.INTENT, State.RECORDED, State.PRESENT, State.ACCEPTED},
    "failed": {State.CLEARED},
}
_STATUSES = {State.ACCEPTED: "enrolled", State.PRESENT: "already_enrolled", State.INTENT: "unreported"}


def ledger_violations(run):
    """Say what was broken of a run with a ledger, on one night."""
    found = [*_no_known_contact_is_sent(run), *_nothing_enrolled_is_missing(run)]
    found += [
        *_non_events_leave_no_intent(run),
        *_ledger_has_the_statuses(run),
        *_runs_have_ended(run),
        *_summaries_count_the_entries(run),
    ]
    return [*found, *_no_address_is_in_clear(run)]


def gone(run, each):
    """Return the statuses of contacts that earlier attempts of the run have sent, and the source no longer has."""
    if each.restarts or not any(before.lost for before in _up_to(run, each)):
        return []
    there = run.ledger.hashes({person.key for person in each.people})
    return [
        _STATUSES[entry.state]
        for record, entry in each.ledger.entries.items()
        if record not in there and entry != run.history.entries.get(record) and entry.state in SENT
    ]


def _up_to(run, each):
    return run.tries[: run.tries.index(each) + 1]


def _sent(run):
    """Give each attempt and the addresses that were sent during it, with the status of their request."""
    firsts = [each.first_request for each in run.tries] + [len(run.requests)]
    for each, (first, last) in zip(run.tries, pairwise(firsts), strict=True):
        batches = [one for one in run.requests[first:last] if one["path"].endswith(BULK)]
        yield each, [(address, one["status"]) for one in batches for address in one["addresses"]]


def _no_known_contact_is_sent(run):
    """A contact in the ledger is sent by no later run, nor by this one, unless it was in doubt."""
    now = time.time()
    for number, (each, sent) in enumerate(_sent(run), 1):
        addresses = {address.lower() for address, _ in sent}
        before = run.history if run.orphans else each.ledger_before
        for record in run.ledger.hashes(addresses):
            entry = before.entries.get(record)
            is_ours = entry != run.history.entries.get(record) and not each.restarts
            if keeps_away(entry, now) and not (is_ours and entry.state is State.INTENT):
                yield f"try {number}: one is sent who is {entry.state.name} in the ledger, ours={is_ours}"
                break


def _nothing_enrolled_is_missing(run):
    """The ledger has each contact that this run enrolled, or may have: at any time, also right after a kill."""
    for number, each in enumerate(run.tries, 1):
        found = run.ledger.hashes(each.enrolled)
        lost = [each.ledger.entries.get(record) for record in found]
        wrong = [entry for entry in lost if entry is None or entry.state not in SENT]
        if wrong:
            yield f"try {number}: {len(wrong)} of {len(lost)} enrolled contacts are {wrong[0]} in the ledger"


def _non_events_leave_no_intent(run):
    """No contact is in doubt if all its requests were refused; after a kill, that is known at the end."""
    if run.orphans or any(each.ended.how in ("killed", "outlived") for each in run.tries):
        return
    refused = {}
    for number, (each, sent) in enumerate(_sent(run), 1):
        for address, status in sent:
            refused[address.lower()] = refused.get(address.lower(), True) and status in _CERTAIN
        doubtful = _ours(run, each.ledger, State.INTENT)
        found = {address for record, address in run.ledger.hashes(refused).items() if record in doubtful}
        others = len(doubtful) - len(found)
        certain = sum(refused[address] for address in found)
        if certain or others:
            yield f"try {number}: {certain} in doubt whose requests were refused, {others} never sent"


def _ours(run, snapshot, state):
    return {
        record
        for record, entry in snapshot.entries.items()
        if entry.state is state and entry != run.history.entries.get(record)
    }


def _ledger_has_the_statuses(run):
    """What a try reports of each contact is what the ledger has."""
    for number, each in enumerate(run.tries, 1):
        if each.lines is None:
            continue
        records = {
            key: record for record, key in run.ledger.hashes({_key(line) for line in each.lines}).items()
        }
        for line in each.lines:
            status, entry = line[1], each.ledger.entries.get(records[_key(line)])
            states = SENT if run.orphans and status in _ENROLLED else _STATES.get(status)
            if states and (entry is None or entry.state not in states):
                yield f"try {number}: one is {status} ({line[2]!r}), and in the ledger {entry}"
                break


def _key(line):
    return line[0].strip().lower()


def _runs_have_ended(run):
    last = run.tries[-1]
    if alive := [name for name, ended in last.ledger.ended.items() if not ended]:
        yield f"in the ledger these runs have not ended: {alive}"
    for number, each in enumerate(run.tries, 1):
        if each.ended.how in ("killed", "outlived", "crashed") or run.orphans:
            return
        if not each.ledger.ended.get(run.task.run_name, True):
            yield f"try {number} has ended ({each.ended.how}), and in the ledger its run has not"


def _summaries_count_the_entries(run):
    for number, each in enumerate(run.tries, 1):
        if each.summary is None or run.orphans:
            continue
        found = (each.summary.get("ledger") or {}).get("entries")
        if found != len(each.ledger.entries):
            yield f"try {number}: the account is of {found} entries, not of {len(each.ledger.entries)}"


def _no_address_is_in_clear(run):
    for file in run.ledger.root.rglob("*"):
        content = file.read_bytes().lower() if file.is_file() else b""
        if DOMAIN.encode() in content or b"hush" in content:
            yield f"{file.name} of the ledger shows an address"
