"""How the service behaves where the published API leaves it open; a test sets it in the database."""

from __future__ import annotations

from typing import Any

from lifecycle.models import Switch

DEFAULTS: dict[str, Any] = {
    "bulk_shape": "lists",  # a key of `lifecycle.bulk_responses.SHAPES`
    "bulk_creates_contacts": True,
    "bulk_one_at_a_time": False,  # a second bulk request meets 409 while the first is at work
    "already": "detail_409",  # a key of `lifecycle.refusals.ALREADY`
    "inactive_status": 409,
    "refusal": "",  # what every enrollment is refused with, with the status above
    "single_status": "active",  # what a successful enroll says
    "guarded": True,  # look and insert in one transaction; else in two steps, as without a unique constraint
    "wrong_key_status": 403,  # 401 is what an authentication class with `authenticate_header` gives
    "minute_rate": "60/minute",
    "hour_rate": "1000/hour",
}


def switch(name: str) -> Any:
    """Return what a test has set, else the default."""
    found = Switch.objects.filter(name=name).values_list("value", flat=True).first()
    return DEFAULTS[name] if found is None else found
