"""What a bulk run is asked to do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

OnAmbiguous = Literal["resend", "fail"]
OnChangedAudience = Literal["fail", "restart"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of one bulk run, whatever its job; those that are parameters of `BulkOperator` mean the same there.

    :param plan: the id of an approved plan; empty for one of the run's own.
    :param check_first: check what would stop the run before the first batch is sent.
    :param longest_wait: the longest wait, in seconds, that the run sits out; a longer one ends the stretch.
    """

    meisa_conn_id: str = ""
    max_contacts: int | None = None
    outcomes_path: str | None = None
    on_ambiguous: OnAmbiguous = "resend"
    on_changed_audience: OnChangedAudience = "fail"
    plan: str = ""
    max_in_flight: int = 4
    check_first: bool = True
    longest_wait: float = math.inf
