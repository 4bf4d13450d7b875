"""A task around which the test plays Airflow's part: quicker than a real one, and it can be interrupted anywhere."""

from __future__ import annotations

import pytest

from airflow_provider_meisa.operators import audience
from tests.support.task import Task


@pytest.fixture
def task(meisa_connection, no_backoff):
    """Make a task that enrolls; called with the addresses and the operator's other arguments."""
    return Task


@pytest.fixture
def short_deferrals(mocker):
    """Let a task be deferred for a fraction of a second; return the arguments that defer it."""
    mocker.patch.object(audience, "SHORTEST_DEFERRAL", 0.1)
    mocker.patch.object(audience, "_WAKE_EARLY", 0.1)
    return {"deferrable": True, "defer_after": 0.3}
