"""The state of one sandbox."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.sandbox.store import ENVIRONMENTS, Store

if TYPE_CHECKING:
    import asyncio

    from airflow_provider_meisa.sandbox.faults import Faults
    from airflow_provider_meisa.sandbox.journal import Journal
    from airflow_provider_meisa.sandbox.throttle import Throttle


@dataclass(frozen=True)
class World:
    """The state that the API, the control API, the page and the `Sandbox` object share.

    :param rate_limits: the limits of the throttle, as text.
    :param latency: minimum duration of a request in seconds, half before and half after the work.
    :param late: the requests that are still to be carried out (the fault ``late``).
    """

    store: Store
    journal: Journal
    throttle: Throttle
    faults: Faults
    rate_limits: str
    latency: float
    late: set[asyncio.Task[Any]] = field(default_factory=set)


def summary(world: World) -> dict[str, Any]:
    """Count contacts and enrollments per environment and sequence, and requests by status."""
    return {
        "environments": {name: _environment(world.store, name) for name in ENVIRONMENTS},
        "requests": world.journal.by_status(),
    }


def _environment(store: Store, environment: str) -> dict[str, Any]:
    return {
        "contacts": store.contact_count(environment),
        "sequences": {
            row["slug"]: {
                "status": row["status"],
                "enrolled_now": row["enrolled_now"],
                "total_enrolled": row["total_enrolled"],
            }
            for row in store.sequences(environment)
        },
    }
