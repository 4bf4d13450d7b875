"""Under a real scheduler: a contact sync is killed midway, and its retry brings Meisa in step with the table."""

import pytest

from tests.scheduler.contact_sync import PEOPLE
from tests.support.summary import counts

pytestmark = pytest.mark.timeout(300)

MOST_IN_FLIGHT = 4


def test_killed_contact_sync_ends_in_step_with_the_table(contact_sync, record_property):
    first = contact_sync.play()
    assert counts(first) == {"unchanged": PEOPLE}
    assert contact_sync.upserts() == []

    contact_sync.change()
    run = contact_sync.begin()
    sent = contact_sync.kill(after=150)
    assert 150 <= sent < 200
    second = contact_sync.play(run)
    assert contact_sync.airflow.task("synced", run)["try_number"] == 2
    assert second["total"] == sum(second["counts"].values()) == PEOPLE
    assert contact_sync.held() == contact_sync.table()
    # The ledger has the first hundred: what came after them is sent again, and what was in flight.
    again = len(contact_sync.upserts()) - 200
    record_property("upserts before the kill", sent)
    record_property("upserts sent again", again)
    assert 0 <= again <= sent - 100 + 2 * MOST_IN_FLIGHT
    assert contact_sync.events() == {"contact_updated": 200}
    assert not contact_sync.statuses()[429]

    before = len(contact_sync.upserts())
    assert counts(contact_sync.play()) == {"unchanged": PEOPLE}
    assert len(contact_sync.upserts()) == before
