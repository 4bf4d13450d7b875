"""What must hold after every run, whatever happened in it."""

from __future__ import annotations

import json
import re
from collections import Counter

from airflow_provider_meisa.bulk.checkpoint import Checkpoint
from tests.chaos.cases import BULK, FAULTS, INSTEAD, SINGLE
from tests.chaos.factories import DOMAIN, Expected, of, truth_of
from tests.chaos.ledger_invariants import gone, ledger_violations
from tests.chaos.runs import is_over
from tests.chaos.task_setup import KEY
from tests.support.jobs import enroll_batches

OURS = "possibly by this run"
TWICE = "possibly twice"
# What a fault says in Meisa's place and can only be believed: a conflict is read as just this one, and what the body
# of an accepted call holds is not documented.
MADE_UP = {("already_enrolled", "409"), ("enrolled", "json of another service")}

_SHOWN = re.compile(rf"{re.escape(DOMAIN)}|hush\d|{re.escape(KEY)}|topsecret", re.IGNORECASE)
_STATUS_OK = (200, 201)
_MOST_CHECKPOINT = 2048  # 1024 without the pieces of batches that are split
_MOST_XCOM = 4096


def violations(run):
    """Say what was broken; nothing, if every law holds."""
    if not run.is_readable:
        return [*_nothing_is_sent(run), *_nothing_is_shown(run), *_nothing_is_left(run)]
    if run.ledger:
        return [*_of_night(run), *(f"second night: {each}" for each in _of_night(run.second))]
    found = [*_it_ends(run), *_every_contact_has_one_status(run), *_the_statuses_are_true(run)]
    found += [*_nothing_is_sent_twice(run), *_no_contact_is_enrolled_twice(run), *_limits_are_kept(run)]
    return [*found, *_nothing_is_shown(run), *_state_is_small(run), *_nothing_is_left(run)]


def _of_night(run):
    """Say what was broken on one night of a run with a ledger."""
    found = [*_it_ends(run), *_every_contact_has_one_status(run), *_the_statuses_are_true(run)]
    found += [*_no_contact_is_enrolled_twice(run), *_limits_are_kept(run), *ledger_violations(run)]
    return [*found, *_nothing_is_shown(run), *_state_is_small(run), *_nothing_is_left(run)]


def _nothing_is_sent(run):
    """A source of a wrong shape fails every attempt, and nothing is sent."""
    for number, each in enumerate(run.tries, 1):
        if each.ended.how != "failed":
            yield f"try {number} of a wrong shape ended: {each.ended}"
        if each.summary is not None:
            yield f"try {number} of a wrong shape left an account"
    written = [each for each in run.requests if each["method"] != "GET"]
    if written:
        yield f"{len(written)} requests were made for a wrong shape"
    if {row["email"] for row in run.enrollments} != of(run.people, Expected.THERE):
        yield "a wrong shape has changed who is in the sequence"


def _it_ends(run):
    for ended in [each.ended for each in run.tries] + [ended for _, ended in run.orphans]:
        if ended.how == "crashed" or ended.error == "it did not come to an end":
            yield f"a try {ended.how}: {ended.error[-600:]}"
    if not is_over(run):
        yield f"not everybody has a status after {len(run.tries)} tries; the last: {run.tries[-1].ended}"


def _every_contact_has_one_status(run):
    """The account of each attempt, and the lines of its file, are those of all addresses in the source."""
    for number, each in enumerate(run.tries, 1):
        summary, lines = each.summary, each.lines
        if summary is None or run.case.operator == "single":
            continue
        expected = Counter(person.key for person in each.people)
        total, outside = summary["total"], gone(run, each) if run.ledger else []
        expected_total = total if run.orphans else len(each.people) + len(outside)
        if not total == sum(summary["counts"].values()) == expected_total:
            yield f"try {number}: the account is of {total}, not of {len(each.people)} and {len(outside)} who left"
        if lines is None:
            yield f"try {number}: there is an account and no file"
            continue
        if Counter(address.strip().lower() for address, _, _ in lines) != expected:
            yield f"try {number}: the file has {len(lines)} lines that are not those of {len(each.people)} people"
        counts = _merged(run, Counter(summary["counts"]) - Counter(outside))
        # An orphan may still change the result of those who left the source.
        is_exact = not (run.orphans and outside)
        if is_exact and _merged(run, Counter(status for _, status, _ in lines)) != counts:
            yield f"try {number}: the file says otherwise than the account {counts}"


def _merged(run, counts):
    """Leave out what is none; of its last batches an orphan may write 'enrolled', which its successor found there."""
    counts = Counter(counts)
    if run.orphans:
        counts["enrolled"] += counts.pop("already_enrolled", 0)
    return {status: count for status, count in counts.items() if count}


def _the_statuses_are_true(run):
    """The reported status of each address is what the sandbox knows of it."""
    last = run.tries[-1]
    inside = {row["email"] for row in run.enrollments}
    truths = truth_of(run.people)
    unmarked = 0
    for address, status, reason in _reported(run, last):
        key = address.strip().lower()
        if _is_bad(run, key) and status in ("invalid", "failed"):
            continue
        if _has_lost_mark(run, truths[key], status, reason):
            unmarked += 1
        elif status != "duplicate" and not _is_true(run, truths[key], status, reason, inside=key in inside):
            yield f"one who is {truths[key].value!r} is said to be {status} ({reason!r}), inside={key in inside}"
            return
    if unmarked > (last.summary or {}).get("possibly_by_this_run", 0):
        yield f"{unmarked} whom this run may have enrolled are neither marked nor counted"
    if others := inside - of(run.everybody + run.people, Expected.NEW, Expected.THERE, Expected.BEFORE):
        yield f"{len(others)} are in the sequence who should not be"


def _has_lost_mark(run, expected, status, reason):
    """Say whether a mark may be gone with the plan: then it is only counted."""
    is_marked = status == "already_enrolled" and expected is Expected.NEW and reason != OURS
    return is_marked and any(each.lost for each in run.tries)


def _reported(run, last):
    if run.case.operator == "single":
        summary = last.summary or {"status": "untried", "reason": ""}
        return [(run.people[0].raw, summary["status"], summary["reason"])]
    return last.lines or []


def _is_true(run, expected, status, reason, *, inside):
    fault = FAULTS[run.case.fault] or {}
    if run.case.operator == "single" and (status, run.case.fault) in MADE_UP:
        return True
    # A task that is cleared after all addresses have a status starts over, and a single contact has no checkpoint.
    again = reason == OURS or _runs(run) > 1 or (run.case.operator == "single" and len(run.tries) > 1)
    return {
        "enrolled": inside and expected is Expected.NEW,
        "already_enrolled": inside and (expected is Expected.THERE or (expected is Expected.NEW and again)),
        # A cleared task also leaves out contacts whose response its run has lost, enrolled or not.
        "enrolled_before": expected is Expected.BEFORE
        or (_runs(run) > 1 and (inside or reason.startswith("possibly"))),
        "suppressed": not inside and expected in (Expected.SUPPRESSED, Expected.FORGOTTEN),
        "invalid": not inside and expected in (Expected.BROKEN, Expected.REFUSED),
        "failed": 400 <= fault.get("status", 0) < 500,
        "unreported": fault.get("kind") == "bulk_shape" or fault.get("status") == INSTEAD,
    }.get(status, False)


def _is_bad(run, key):
    """Say whether Meisa has refused batches because of this address."""
    fault = FAULTS[run.case.fault] or {}
    return key.endswith(tuple(fault.get("addresses", ())))


def _runs(run):
    """Count the attempts that started over; a retry after all addresses have a status does not."""
    return 1 + sum(each.restarts for each in run.tries)


def _nothing_is_sent_twice(run):
    """An address is sent again only if its status could not be known, and then that is reported."""
    doubtful = _in_doubt(run)
    restarted = [each.first_request for each in run.tries if each.restarts]
    settled = {}
    for number, request in enumerate(run.requests):
        if number in restarted:
            settled = {}
        if not request["path"].endswith((BULK, SINGLE)):
            continue
        for address in request["addresses"]:
            before = settled.get(address)
            if before is not None and address not in doubtful and run.case.operator != "single":
                yield f"request {number + 1} sends again what request {before + 1} had settled"
                return
        if request["status"] in _STATUS_OK and request["answered"]:
            settled.update(dict.fromkeys(request["addresses"], number))


def _no_contact_is_enrolled_twice(run):
    """Each address is enrolled once, unless it is reported that this may be otherwise."""
    last = run.tries[-1]
    if run.orphans or (_runs(run) > 1 and not run.ledger):
        return
    message = {address.strip().lower(): reason for address, _, reason in _reported(run, last)}
    for row in run.enrollments:
        before = run.times.get(row["email"], 0) + (row["email"] in run.finished)
        if row["times_enrolled"] > max(1, before) and message.get(row["email"]) not in (OURS, TWICE):
            yield f"one is enrolled {row['times_enrolled']} times, and it says {message.get(row['email'])!r}"
            return


def _in_doubt(run):
    """Collect the addresses of batches that were on their way when a process ended or lost its task."""
    checkpoints = [each.before for each in run.tries] + [kept for kept, _ in run.orphans]
    found = [Checkpoint.from_json(checkpoint) for checkpoint in checkpoints if checkpoint]
    numbers = {number for checkpoint in found for number in checkpoint.in_flight}
    pieces = [piece for checkpoint in found for piece in checkpoint.pieces if piece.state != "unsent"]
    cut = {batch.number: batch for batch in enroll_batches(person.raw for person in run.people)}
    whole = {address for number in numbers if number in cut for address in cut[number].items}
    return whole.union(*(cut[piece.number].piece(piece.start, piece.stop).items for piece in pieces))


def _limits_are_kept(run):
    if "429" in run.case.fault:
        return
    refused = sum(request["status"] == 429 for request in run.requests)
    if refused:
        yield f"{refused} requests met the rate limit {run.limits}"


def _nothing_is_shown(run):
    """No address and no key is in anything that was written or kept."""
    for file in [run.task.log, *run.task.kept.iterdir(), *run.task.folder.glob("ended.*")]:
        found = _SHOWN.search(file.read_text()) if file.exists() else None
        if found:
            text = file.read_text()
            yield f"{file.name} shows {text[max(0, found.start() - 200) : found.end() + 40]!r}"
    if run.task.log.stat().st_size == 0:
        yield "nothing was logged, so nothing was searched"


def _state_is_small(run):
    kept = run.task.kept / "every.state"
    longest = max(map(len, kept.read_text().splitlines()), default=0) if kept.exists() else 0
    if longest >= _MOST_CHECKPOINT:
        yield f"a checkpoint of {longest} bytes"
    if run.tries[-1].summary and len(json.dumps(run.tries[-1].summary)) >= _MOST_XCOM:
        yield "an XCom of more than 4 KB"


def _nothing_is_left(run):
    """Once all addresses have a status, no part of an outcomes file is left, and no copy of a query."""
    if run.tries[-1].ended.how == "killed":
        return
    parts = list((run.folder / "outcomes").glob("*.parts")) if "outcomes_path" in run.arguments else []
    copies = list((run.folder / "staging").glob("*"))
    if parts or copies:
        yield f"left behind: {[path.name for path in (*parts, *copies)]}"
