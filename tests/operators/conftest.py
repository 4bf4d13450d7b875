"""A task around which the test plays Airflow's part: quicker than a real one, and it can be interrupted anywhere."""

from __future__ import annotations

import pytest

from tests.support.task import Task


@pytest.fixture
def task(meisa_connection, no_backoff):
    """Make a task that enrolls; called with the addresses and the operator's other arguments."""
    return Task
