"""What a bulk run is asked to do, and where it reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from airflow_provider_meisa.bulk.batching import LARGEST_BATCH

OnAmbiguous = Literal["resend", "fail"]
OnChangedAudience = Literal["fail", "restart"]


def _nothing() -> None:
    """Clean up nothing."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the addresses come from.

    :param read: returns them, in the same order at each call; a stream need not fit into memory.
    :param cleanup: removes what was kept for a later reading.
    """

    read: Callable[[], Iterable[object]]
    cleanup: Callable[[], None] = _nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of one bulk run; those that are parameters of `AudienceOperator` mean the same there.

    :param check_first: check what would stop the run before the first batch is sent.
    :param longest_wait: the longest wait, in seconds, that the run sits out; a longer one ends the stretch.
    :param batch_size: addresses a request.
    """

    sequence_slug: str
    meisa_conn_id: str = ""
    override_unsubscribe: bool = False
    skip_suppressed: bool = False
    max_contacts: int | None = None
    outcomes_path: str | None = None
    on_ambiguous: OnAmbiguous = "resend"
    on_changed_audience: OnChangedAudience = "fail"
    max_in_flight: int = 4
    check_first: bool = True
    longest_wait: float = math.inf
    batch_size: int = LARGEST_BATCH
