from airflow_provider_meisa.api.errors import MeisaLedgerBusyError, MeisaLedgerError
from airflow_provider_meisa.hooks.meisa import is_final


def test_airflow_retries_a_busy_ledger_and_no_other():
    assert not is_final(MeisaLedgerBusyError("another run writes it"))
    assert is_final(MeisaLedgerError("it is damaged"))
