"""The fixture ``meisa_sandbox``, to test a pipeline that enrolls contacts.

::

    @pytest.mark.meisa_sandbox(rate_limits="none", latency_ms=5)
    def test_the_nightly_run_enrolls_everyone_once(meisa_sandbox):
        meisa_sandbox.fault("reset_after", times=1)
        ...
        assert len(meisa_sandbox.enrollments("onboarding")) == 3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_meisa.sandbox.extra import missing_extra

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_meisa.sandbox.server import Sandbox


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "meisa_sandbox(rate_limits='60/minute, 1000/hour', latency_ms=0, clock=...): "
        "set the arguments with which the fixture meisa_sandbox starts its sandbox.",
    )


@pytest.fixture
def meisa_sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sandbox]:
    """Start a sandbox of Meisa on this machine, with a database of its own, for one test."""
    problem = missing_extra()
    if problem:
        pytest.fail(problem, pytrace=False)
    from airflow_provider_meisa.sandbox.server import Sandbox  # needs the extra, and takes time to import

    marker = request.node.get_closest_marker("meisa_sandbox")
    wanted = {"database": tmp_path / "meisa-sandbox.db", **(marker.kwargs if marker else {})}
    with Sandbox(**wanted) as sandbox:
        yield sandbox
