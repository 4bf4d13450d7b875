import pytest

from airflow_provider_meisa.api.errors import MeisaLedgerError
from airflow_provider_meisa.bulk.ledger import LedgerSummary
from airflow_provider_meisa.bulk.ledger.guard import EarlierSummary, check_not_lost

DATE = "2026-11-25T02:00:00+00:00"
LAST = EarlierSummary(LedgerSummary("reactivation", 9150), DATE)


def found(entries, name="reactivation"):
    return LedgerSummary(name, entries)


@pytest.mark.parametrize("entries", [0, 1, 9149])
@pytest.mark.parametrize("name", ["reactivation", "renamed"])
@pytest.mark.parametrize("accepted", [None, "", "2026-11-24T02:00:00+00:00"])
def test_ledger_with_fewer_entries_stops_the_task(entries, name, accepted):
    with pytest.raises(MeisaLedgerError) as stopped:
        check_not_lost(found(entries, name), LAST, accepted=accepted, has_first_run=True)
    message = str(stopped.value)
    assert f"{entries:,} entries" in message
    assert "9,150 in reactivation" in message
    assert f'accept_lost_ledger="{DATE}"' in message


def test_loss_is_confirmed_once():
    check_not_lost(found(0), LAST, accepted=DATE)
    after = EarlierSummary(found(40), "2026-11-26T02:00:00+00:00")
    check_not_lost(found(40), after, accepted=DATE)
    with pytest.raises(MeisaLedgerError, match="left 40"):
        check_not_lost(found(0), after, accepted=DATE)


@pytest.mark.parametrize("entries", [9150, 9151])
def test_ledger_that_has_not_shrunk_passes(entries):
    check_not_lost(found(entries), LAST)


def test_empty_ledger_of_a_task_that_ran_before_stops_it():
    with pytest.raises(MeisaLedgerError, match="set first_run"):
        check_not_lost(found(0), None, has_earlier_runs=True)
    check_not_lost(found(0), None, has_earlier_runs=True, has_first_run=True)
    check_not_lost(found(5), None, has_earlier_runs=True)
    check_not_lost(found(0), None)
