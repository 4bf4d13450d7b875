import pytest

from airflow_provider_meisa.bulk.ledger import Ledger
from tests.support.clock import Clock
from tests.support.ledgers import NOON, SUBJECT


@pytest.fixture
def clock():
    return Clock(NOON)


@pytest.fixture
def open_ledger(tmp_path, clock):
    """Open the same ledger again and again, as one run after the other does."""

    def opened(root=tmp_path, name="reactivation", subject=SUBJECT, **arguments):
        return Ledger.open(root, name, subject, **{"clock": clock, **arguments})

    return opened
