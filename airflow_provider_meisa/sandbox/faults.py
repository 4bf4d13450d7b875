"""Faults on demand: errors, resets, delays and unusual responses."""

from __future__ import annotations

import re
import threading
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.sandbox.shapes import BAD_ADDRESSES, SHAPES, Shape

if TYPE_CHECKING:
    from collections.abc import Mapping

BULK_PATH = "/api/v1/sequences/api/bulk-enroll/"

# All faults, with their parameters and defaults.
KINDS: Mapping[str, Mapping[str, Any]] = {
    "status": {"status": 500, "body": None, "content_type": "application/json", "headers": {}},
    "html": {"status": 502, "headers": {}},
    "empty": {"status": 502, "headers": {}},
    "reset_before": {},
    "reset_after": {},
    "slow": {"seconds": 1.0},
    "late": {"seconds": 1.0, "status": 504},
    "huge": {"megabytes": 10, "status": 200, "chunked": True},
    "redirect": {"status": 302, "location": "https://elsewhere.example/"},
    "bulk_shape": asdict(Shape()),
    "bad_addresses": {"addresses": [], "form": "places"},
}
_OF_BULK = {"bulk_shape", "bad_addresses"}
_NUMBERS = (int, float)
_STATUS_RANGES = {"redirect": (300, 399), "late": (0, 599)}  # late, 0: no response before the work is done
_ANY_STATUS = (200, 599)
_CARRIED = re.compile(r"[\t -~\xa0-\xff]*")  # the characters that a header can hold


@dataclass(frozen=True)
class Fault:
    """One fault.

    :param kind: one of the keys of :data:`KINDS`.
    :param path: only requests whose path contains this; empty for every path.
    :param method: only this method; empty for every method.
    :param times: the number of requests to affect; None for all until it is cleared.
    :param skip: the number of matching requests to let pass first.
    :param params: the parameters of this fault.
    """

    kind: str
    path: str = ""
    method: str = ""
    times: int | None = None
    skip: int = 0
    params: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, method: str, path: str) -> bool:
        """Return whether it concerns this request."""
        concerns_path = self.path in path and (self.kind not in _OF_BULK or path == BULK_PATH)
        return concerns_path and self.method in {"", method}


def fault_from(kind: str, params: Mapping[str, Any]) -> Fault:
    """Create a fault from parameters, with its defaults.

    :param params: ``path``, ``method``, ``times``, ``skip`` and the fault's own parameters.
    :raises ValueError: if the fault or a parameter is unknown or invalid.
    """
    if kind not in KINDS:
        raise ValueError(f"Unknown fault {kind!r}: choose one of {', '.join(KINDS)}.")
    where = {name: params[name] for name in ("path", "method", "times", "skip") if name in params}
    own = {name: value for name, value in params.items() if name not in where}
    _check_params(kind, own)
    _check_where(where)
    if "headers" in own:
        own["headers"] = _texts(own["headers"])
    return Fault(
        kind,
        path=where.get("path") or "",
        method=(where.get("method") or "").upper(),
        times=where.get("times"),
        skip=where.get("skip", 0),
        params={**KINDS[kind], **own},
    )


def _check_where(where: Mapping[str, Any]) -> None:
    for name in ("path", "method"):
        if not _is_a(where.get(name) or "", ""):
            raise ValueError(f"{name} must be a string; leave it out for every {name}.")
    times = where.get("times")
    if times is not None and not (_is_a(times, 1) and times > 0):
        raise ValueError("times must be a whole number above 0, or null for every request until cleared.")
    if not (_is_a(where.get("skip", 0), 0) and where.get("skip", 0) >= 0):
        raise ValueError("skip must be a whole number, 0 or more.")


def _check_params(kind: str, own: Mapping[str, Any]) -> None:
    known = KINDS[kind]
    for name, value in own.items():
        if name not in known:
            allowed = ", ".join((*known, "path", "method", "times", "skip"))
            raise ValueError(f"The fault {kind!r} has no parameter {name!r}: it takes {allowed}.")
        if known[name] is not None and not _is_a(value, known[name]):
            raise ValueError(f"{name} must be a {type(known[name]).__name__}, such as {known[name]!r}.")
        if type(value) in _NUMBERS and value < 0:
            raise ValueError(f"{name} must not be negative.")
    _check_status(kind, own.get("status"))
    if own.get("shape", "default") not in SHAPES:
        raise ValueError(f"Unknown shape: choose one of {', '.join(SHAPES)}.")
    if own.get("form", "places") not in BAD_ADDRESSES:
        raise ValueError(f"Unknown form: choose one of {', '.join(BAD_ADDRESSES)}.")
    if not all(isinstance(address, str) and address for address in own.get("addresses", ())):
        raise ValueError("addresses must be a list of strings: addresses, or their endings.")


def _check_status(kind: str, status: int | None) -> None:
    lowest, highest = _STATUS_RANGES.get(kind, _ANY_STATUS)
    if status is not None and not lowest <= status <= highest:
        raise ValueError(f"status must be between {lowest} and {highest} for the fault {kind!r}.")


def _texts(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return headers with their values as strings."""
    texts = {str(name): str(value) for name, value in headers.items() if type(value) in (str, *_NUMBERS)}
    if len(texts) < len(headers) or not all(map(_CARRIED.fullmatch, (*texts, *texts.values()))):
        raise ValueError("headers must hold strings or numbers, in Latin-1 and without line breaks.")
    return texts


def _is_a(value: Any, example: Any) -> bool:
    if type(example) is float:
        return type(value) in _NUMBERS
    return type(value) is type(example)


class _Armed:
    """An armed fault, with the number of requests it skips and has hit."""

    def __init__(self, number: int, fault: Fault) -> None:
        self.number = number
        self.fault = fault
        self.skip = fault.skip
        self.hits = 0

    def strikes(self, method: str, path: str) -> bool:
        """Count this request, and return whether the fault affects it."""
        spent = self.fault.times is not None and self.hits >= self.fault.times
        if spent or not self.fault.matches(method, path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.hits += 1
        return True

    def as_dict(self) -> dict[str, Any]:
        return {"id": self.number, **asdict(self.fault), "hits": self.hits}


class Faults:
    """The armed faults, in the order of arming."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []
        self._numbers = count(1)

    def arm(self, fault: Fault) -> dict[str, Any]:
        """Arm a fault and return it as it is listed."""
        with self._lock:
            armed = _Armed(next(self._numbers), fault)
            self._armed.append(armed)
            return armed.as_dict()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the first armed fault that affects this request; later faults do not count the request."""
        with self._lock:
            return next((armed.fault for armed in self._armed if armed.strikes(method, path)), None)

    def clear(self) -> None:
        """Disarm all."""
        with self._lock:
            self._armed.clear()

    def listed(self) -> list[dict[str, Any]]:
        """List the armed faults, spent ones included, with the number of requests each has hit."""
        with self._lock:
            return [armed.as_dict() for armed in self._armed]
