"""One Airflow on Celery for all tests of this folder, and a sandbox for each type of trouble."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.distributed.airflow_on_celery import AirflowOnCelery
from tests.distributed.support import DAGS, IN_FLIGHT, SCENARIOS, DagUnderTest


class Environment:
    """The Airflow at work, and the troubles by their names."""

    def __init__(self, airflow, support):
        self.airflow = airflow
        self.support = support


@pytest.fixture(scope="session")
def environment():
    from airflow_provider_meisa.sandbox.server import Sandbox
    from tests.support.postgres import postgres_on_loopback
    from tests.support.redis import redis_on_loopback

    home = Path(tempfile.mkdtemp(prefix="meisa-distributed-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        redis = stack.enter_context(redis_on_loopback(home))
        port = stack.enter_context(postgres_on_loopback())
        support = {}
        for name, dag in SCENARIOS.items():
            sandbox = Sandbox(rate_limits=dag.get("limits", "none"), latency_ms=dag.get("latency_ms", 0))
            support[name] = DagUnderTest(name, stack.enter_context(sandbox), home / name)
        airflow = AirflowOnCelery(
            home,
            {name: dag.connection(redis) for name, dag in support.items()},
            database=f"://meisa@127.0.0.1:{port}/postgres",
            broker=redis,
        )
        of = {name: dag.of_dag() for name, dag in support.items()}
        (airflow.dags / "troubles.py").write_text(DAGS.format(of=of, in_flight=IN_FLIGHT))
        stack.callback(airflow.stop)
        airflow.start()
        yield Environment(airflow, support)


def pytest_terminal_summary(terminalreporter):
    """Say what was measured, which no test judges: a machine may be busy."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {name}: {value}")
