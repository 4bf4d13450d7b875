"""The benchmarks do their work, with few addresses: `make bench` runs too seldom to notice what broke them."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

CONTENDERS = (
    "bare",
    "handwritten",
    "deduplicated",
    "ours",
    "ours_with_rate_limit_file",
    "ours_with_outcomes",
    "ours_unsent",
    "reading",
)


@pytest.fixture
def benchmark(monkeypatch):
    """Import a module of the benchmarks."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parent.parent / "benchmarks")
    return importlib.import_module


@pytest.mark.parametrize("name", CONTENDERS)
def test_contender_does_its_work(benchmark, name):
    contenders = benchmark("contenders")
    assert set(contenders.CONTENDERS) == set(CONTENDERS)
    with benchmark("echo_server").echo_server() as url:
        needs_url = "url" in inspect.signature(contenders.CONTENDERS[name]).parameters
        took = contenders.run(name, 1_200, *([url] if needs_url else []))
    assert {"wall", "cpu", "peak"} <= took.keys()


def test_simulated_run_takes_a_slot_after_each_wait(benchmark):
    assert benchmark("slots").planned(31_000).stretches == 2


def test_paced_process_sends_one_address_a_request(benchmark, meisa_sandbox):
    limits = (meisa_sandbox.url, meisa_sandbox.key, "60/minute", "memory")
    took = benchmark("pace_process").together("paced", 1, 3, *limits)
    assert (took["done"], took["refused"]) == (3, 0)
    assert [len(each["addresses"] or []) for each in meisa_sandbox.requests()] == [1, 1, 1]
