"""Read the JSON that tasks have pushed, field by field, because any task can push any JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_provider_meisa.api.outcomes import OutcomeStatus
from airflow_provider_meisa.api.redaction import mask_address, redact, redact_message

_STATES = ("sending", "waiting", "stopped", "complete")
_MOST_ATTENTION = 50
_MOST_REASONS = 20
_LONGEST_ERROR = 500
_ENVIRONMENTS = ("live", "test")
_SYNC = ("new", "changed", "gone", "backlog")
_LONGEST_PATH = 1000


def read_json(stored: object) -> object:
    """Read a value of the database: an XCom is JSON in a JSON column, a task state is JSON text.

    This package writes plain JSON only. Airflow's own decoder would also create objects of foreign classes.
    """
    if not isinstance(stored, str):
        return stored
    try:
        return json.loads(stored)
    except (ValueError, RecursionError):
        return None


def read_summary(value: object) -> dict[str, Any] | None:
    """Read the return value of a Meisa task: a summary, a preview, or the status of one contact.

    :return: ``kind`` (``bulk``, ``preview`` or ``one``), ``job``, ``target`` (the sequence or the sync),
        ``connection``, ``environment``, ``total``, ``counts`` of the statuses that occur, ``attention``, and for
        ``bulk`` and ``preview`` the other fields of the table and the tab; ``None`` if it is none of these.
    """
    if not isinstance(value, Mapping) or _target_field(value) is None:
        return None
    if isinstance(value.get("status"), str):
        return _one(value)
    if not isinstance(value.get("counts"), Mapping):
        return None
    return _preview(value) if value.get("preview") is True else _bulk(value)


def read_progress(value: object) -> dict[str, Any] | None:
    """Read the progress of a running task (Airflow 3.3 and later)."""
    if not isinstance(value, Mapping) or value.get("state") not in _STATES:
        return None
    return {
        **_common(value),
        "state": value["state"],
        "done": _number(value, "done") or 0,
        "total": _number(value, "total"),
        "counts": _counts(value),
        "requests": _number(value, "requests"),
        "rate_limited": _number(value, "rate_limited"),
        "waiting_until": _text(value, "waiting_until"),
        "updated_at": _text(value, "updated_at"),
    }


def read_error(value: object) -> dict[str, Any] | None:
    """Read the error that a failed attempt of a task has pushed."""
    if not isinstance(value, Mapping) or not isinstance(value.get("message"), str):
        return None
    return {**_common(value), "message": _message(value, "message")}


def read_ledger(value: object) -> dict[str, Any] | None:
    """Read the ledger in a summary or in the report of a preview: its ``name`` and ``entries``."""
    return _ledger(value) if isinstance(value, Mapping) else None


def _bulk(value: Mapping[str, Any]) -> dict[str, Any]:
    counts = _counts(value)
    return {
        "kind": "bulk",
        **_common(value),
        "total": sum(counts.values()),
        "counts": counts,
        "complete": value.get("complete") is not False,
        **_sync(value),
        "reasons": _reasons(value),
        "stopped_by": _message(value, "stopped_by"),
        "resumed": value.get("resumed") is True,
        **{name: _number(value, name) for name in ("possibly_twice", "possibly_by_this_run", "in_doubt")},
        "ledger": _ledger(value),
        **{name: _number(value, name) for name in ("requests", "retries", "rate_limited")},
        **{name: _number(value, name) for name in ("waited_s", "elapsed_s")},
        "outcomes_path": _path(value),
        "attention": _attention(value),
        "attention_truncated": value.get("attention_truncated") is True,
    }


def _preview(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": "preview",
        **_common(value),
        "total": _number(value, "total") or 0,
        "counts": _counts(value),
        "to_send": _number(value, "to_send"),
        **_sync(value),
        "reasons": _reasons(value),
        "ledger": _ledger(value),
        "to_send_suppressed": _number(value, "to_send_suppressed"),
        "requests": _number(value, "requests"),
        "seconds": _number(value, "seconds"),
        "attention": [],
    }


def _one(value: Mapping[str, Any]) -> dict[str, Any]:
    entry = _entry(value)
    counts = {entry["status"]: 1} if entry["status"] else {}
    return {
        "kind": "one",
        **_common(value),
        "total": 1,
        "counts": counts,
        "complete": True,
        "attention": [entry],
    }


def _common(value: Mapping[str, Any]) -> dict[str, Any]:
    field = _target_field(value) or "sequence_slug"
    environment = value.get("environment")
    return {
        "job": _text(value, "job") or ("sync_contacts" if field == "sync_name" else "enroll"),
        "target": _text(value, field),
        "connection": _text(value, "meisa_conn_id"),
        "environment": environment if environment in _ENVIRONMENTS else "",
    }


def _target_field(value: Mapping[str, Any]) -> str | None:
    return next((name for name in ("sequence_slug", "sync_name") if isinstance(value.get(name), str)), None)


def _sync(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a contact sync has found out about its rows; ``None`` where it has not."""
    found = {name: _number(value, name) for name in _SYNC}
    return {**found, "backlog_since": _text(value, "backlog_since")}


def _reasons(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return ``{status, reason, count}`` of the most frequent reasons, most frequent first."""
    reasons = value.get("reasons")
    if not isinstance(reasons, Mapping):
        return []
    found: list[dict[str, Any]] = [
        {"status": status.value, "reason": redact(reason), "count": int(_number(by_reason, reason) or 0)}
        for status in OutcomeStatus
        if isinstance(by_reason := reasons.get(status.value), Mapping)
        for reason in by_reason
        if isinstance(reason, str)
    ]
    found.sort(key=lambda entry: -entry["count"])
    return [entry for entry in found if entry["count"]][:_MOST_REASONS]


def _counts(value: Mapping[str, Any]) -> dict[str, int]:
    counts = value.get("counts")
    if not isinstance(counts, Mapping):
        return {}
    numbers = {status.value: _number(counts, status.value) for status in OutcomeStatus}
    return {status: int(number) for status, number in numbers.items() if number}


def _ledger(value: Mapping[str, Any]) -> dict[str, Any] | None:
    ledger = value.get("ledger")
    if not isinstance(ledger, Mapping):
        return None
    return {"name": _text(ledger, "name"), "entries": _number(ledger, "entries") or 0}


def _number(value: Mapping[str, Any], name: str) -> float | None:
    number = value.get(name)
    usable = isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number < 10**15
    return number if usable else None


def _text(value: Mapping[str, Any], name: str) -> str:
    text = value.get(name)
    return redact(text) if isinstance(text, str) else ""


def _message(value: Mapping[str, Any], name: str) -> str:
    text = value.get(name)
    return redact_message(text, longest=_LONGEST_ERROR) if isinstance(text, str) else ""


def _path(value: Mapping[str, Any]) -> str:
    """Return the path of the outcomes file, without the credentials that a URI may hold."""
    path = value.get("outcomes_path")
    if not isinstance(path, str) or not path.isprintable():
        return ""
    scheme, mark, rest = path.partition("://")
    authority, slash, tail = rest.partition("/")
    if mark and "@" in authority:
        path = f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{tail}"
    return path.partition("?")[0][:_LONGEST_PATH] if mark else path[:_LONGEST_PATH]


def _attention(value: Mapping[str, Any]) -> list[dict[str, str]]:
    entries = value.get("attention")
    if not isinstance(entries, list):
        return []
    return [_entry(entry) for entry in entries[:_MOST_ATTENTION] if isinstance(entry, Mapping)]


def _entry(value: Mapping[str, Any]) -> dict[str, str]:
    address, status = value.get("address"), value.get("status")
    return {
        # Tasks of this package have masked it already; masking it again changes nothing.
        "address": mask_address(address) if isinstance(address, str) else "",
        "status": status if status in list(OutcomeStatus) else "",
        "reason": _text(value, "reason"),
    }
