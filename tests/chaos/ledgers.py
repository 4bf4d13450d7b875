"""The ledger of a run: what earlier nights have left in it, what is in it at a moment, and the nights that follow."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from airflow_provider_meisa.api.errors import MeisaLedgerError
from airflow_provider_meisa.bulk.ledger import Ledger, State, Subject
from tests.chaos.factories import AGAIN_AFTER, FORGOTTEN
from tests.chaos.task_setup import LEDGER, SLUG

SENT = frozenset({State.INTENT, State.PRESENT, State.ACCEPTED})
"""The states of who has been sent, or may have been."""

_DAY = 86_400
_EARLIER_STATES = (State.INTENT, State.RECORDED, State.PRESENT, State.ACCEPTED)


@dataclass
class Snapshot:
    """What is in the ledger at a moment.

    :param entries: by hash of the address.
    :param ended: whether each run has ended, by its name.
    """

    entries: dict = field(default_factory=dict)
    ended: dict = field(default_factory=dict)


class LedgerOnDisk:
    """The ledger of a run.

    :param folder: of the run.
    :param url: of the sandbox.
    """

    def __init__(self, folder, url):
        self.root = folder / "ledgers"
        self._subject = Subject(
            base_url=f"{url}/api/v1",
            environment="live",
            product="Sandbox",
            job="enroll",
            target=SLUG,
            record_id="address",
        )
        self._hash = Ledger.open(self.root, LEDGER, self._subject).hash_records

    def hashes(self, keys):
        """Return the hash of each address: ``{hash: address}``."""
        keys = list(keys)
        return dict(zip(self._hash(keys), keys, strict=True))

    def snapshot(self):
        """Read what is in it now."""
        try:
            ledger = Ledger.open_existing(self.root, LEDGER)
        except MeisaLedgerError:
            return Snapshot()
        return Snapshot(dict(ledger.entries()), {run: status.ended for run, status in ledger.runs.items()})

    def write(self, rng, history):
        """Write what earlier nights have left, in so many parts that the next run may compact them.

        :param history: by address how many days ago it was enrolled, or `FORGOTTEN`.
        """
        rounds = rng.choice((1, 1, 3))
        for turn in range(rounds):
            some = {key: days for place, (key, days) in enumerate(history.items()) if place % rounds == turn}
            for days in set(some.values()):
                ledger = Ledger.open(self.root, LEDGER, self._subject, clock=lambda ago=days: _ago(ago))
                keys = [key for key, each in some.items() if each == days]
                state = State.FORGOTTEN if days == FORGOTTEN else rng.choice(_EARLIER_STATES)
                ledger.write([(key, 0) for key in keys], state, by=f"night {turn}-{days}")


def keeps_away(entry, now):
    """Return whether another run may not send a contact with this entry."""
    if entry is None or entry.state in (State.CLEARED, State.REFUSED, State.PENDING):
        return False
    return entry.state is State.FORGOTTEN or now - entry.written_at < AGAIN_AFTER * _DAY


def _ago(days):
    return time.time() - max(days, 0) * _DAY
