"""A part of the campaign, in which each fault, each scenario and each operator occurs; `make chaos` plays all of it."""

import re
from pathlib import Path

import pytest

from airflow_provider_meisa.sandbox.faults import KINDS
from tests.chaos import campaign
from tests.chaos.cases import FAULTS, OPERATORS, SCENARIOS, sample, table
from tests.chaos.shapes import is_readable

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "proof.md").read_text(encoding="utf-8")
PART = sample(0)


@pytest.mark.parametrize("case", PART, ids=str)
def test_every_contact_has_one_true_status_whatever_happens(case, monkeypatch):
    for name in ("MEISA_DEFAULT", "WAREHOUSE"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", "")  # put back after the run, which sets them
    found, _, requests = campaign.broken_by(case)
    assert not found, "\n".join([*found, f"again: {campaign.repeat(case)}"])
    assert requests or case.operator == "single" or not is_readable(case)


def test_the_part_leaves_no_fault_scenario_or_operator_out():
    assert {case.fault for case in PART} == set(FAULTS)
    assert {case.scenario for case in PART} == set(SCENARIOS)
    assert {case.operator for case in PART} == set(OPERATORS)


def test_the_table_knows_every_fault_of_the_sandbox():
    assert {fault["kind"] for fault in FAULTS.values() if fault} == set(KINDS)


def test_the_page_tells_of_a_whole_campaign_in_which_nothing_broke():
    written = PAGE.partition(campaign.BEGIN)[2].partition(campaign.END)[0]
    assert f"{len(table()):,} runs" in written
    assert ": 0 broken." in written
    for scenario in SCENARIOS:
        assert re.search(rf"^\| {scenario} \| \d+ \| 0 \|$", written, re.MULTILINE)
        assert re.search(rf"^\| {scenario} \| [A-Z`]", PAGE, re.MULTILINE)
