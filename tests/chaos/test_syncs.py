"""A part of the contact syncs of `tests.chaos.syncs`: Meisa holds the table in the end, whatever happens."""

import pytest

from tests.chaos.syncs import play, sample


@pytest.mark.parametrize("case", sample(), ids=str)
def test_meisa_holds_the_table_in_the_end_whatever_happens(case, tmp_path, monkeypatch):
    for name in ("MEISA_DEFAULT", "WAREHOUSE"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", "")  # put back after the run, which sets them
    assert play(case, tmp_path) == []
