"""Metrics of tasks through Airflow's own metrics (``[metrics]`` in its configuration), if these are on."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from airflow.providers.common.compat.sdk import Stats, conf

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient

log = logging.getLogger("airflow.task.meisa")

_NOT_ALLOWED = re.compile(r"[^a-zA-Z0-9_.-]")


class Work(Protocol):
    """Counts so far, as in a client's `RequestStats` and a task's `Checkpoint`."""

    @property
    def requests(self) -> int:
        """Return the requests sent, including retries."""

    @property
    def retries(self) -> int:
        """Return the retries."""

    @property
    def rate_limited(self) -> int:
        """Return the responses with 429."""

    @property
    def waited(self) -> float:
        """Return the seconds spent waiting for the rate limits or between retries."""


class Meter:
    """Sends the counts of one task to Airflow's metrics, each request and address once.

    Each metric has a plain name and tags. With ``[metrics] legacy_names_on``, the default, there is a second name
    with the values of the tags in it, as for Airflow's own metrics, because StatsD drops tags.

    :param meisa_conn_id: the tag ``conn_id``.
    :param sequence_slug: the tag ``sequence``; empty for several.
    """

    def __init__(self, meisa_conn_id: str, sequence_slug: str = "") -> None:
        self._tags = {"conn_id": meisa_conn_id, **({"sequence": sequence_slug} if sequence_slug else {})}
        self._reported: dict[str, float] = {}
        self._broken = False

    def skip(self, work: Work, counts: Mapping[str, int]) -> None:
        """Skip the counts from before a deferral."""
        self._reported = {**_amounts(work), **counts}

    def work(self, so_far: Work) -> None:
        """Send the counts since the last call."""
        for name, amount in _amounts(so_far).items():
            if (new := self._new(name, amount)) > 0:
                self._emit(f"meisa.{name}", new, self._tags)

    def addresses(self, so_far: Mapping[str, int]) -> None:
        """Send the number of addresses per status since the last call."""
        for status, amount in so_far.items():
            if (new := self._new(status, amount)) > 0:
                self._emit("meisa.addresses", new, {**self._tags, "status": str(status)})

    def _new(self, name: str, amount: float) -> float:
        reported, self._reported[name] = self._reported.get(name, 0), amount
        return amount - reported

    def _emit(self, name: str, new: float, tags: Mapping[str, str]) -> None:
        if self._broken:
            return
        allowed = {tag: _NOT_ALLOWED.sub("_", value) for tag, value in tags.items()}
        try:
            _emit_metric(name, new, allowed)
            if conf.getboolean("metrics", "legacy_names_on", fallback=True):
                _emit_metric(
                    ".".join((name, *(value.replace(".", "__") for value in allowed.values()))), new, {}
                )
        except Exception as error:  # noqa: BLE001 (any error of a backend: a task must not fail because of metrics)
            self._broken = True
            log.warning(
                "Metrics cannot be sent, so this task sends no more of them: %s", type(error).__name__
            )


@contextmanager
def metered(client: MeisaClient, meisa_conn_id: str, sequence_slug: str = "") -> Iterator[Meter]:
    """Send the counts of a client at the end, also after an error; the parameters are those of `Meter`."""
    meter = Meter(meisa_conn_id, sequence_slug)
    try:
        yield meter
    finally:
        meter.work(client.stats)


def _amounts(work: Work) -> dict[str, float]:
    return {
        "requests": work.requests,
        "retries": work.retries,
        "rate_limited": work.rate_limited,
        "waits": work.waited,
    }


def _emit_metric(name: str, new: float, tags: Mapping[str, str]) -> None:
    if name.startswith("meisa.waits"):
        Stats.timing(name, timedelta(seconds=new), tags=dict(tags))
    else:
        Stats.incr(name, int(new), tags=dict(tags))
