"""One Airflow on Celery for all tests of this folder, and a sandbox for each kind of trouble."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.distributed.airflow_on_celery import AirflowOnCelery
from tests.distributed.troubles import DAGS, IN_FLIGHT, TROUBLES, Trouble


class Scene:
    """The Airflow at work, and the troubles by their names."""

    def __init__(self, airflow, troubles):
        self.airflow = airflow
        self.troubles = troubles


@pytest.fixture(scope="session")
def scene():
    from airflow_provider_meisa.sandbox.server import Sandbox
    from tests.support.postgres import postgres_on_loopback
    from tests.support.redis import redis_on_loopback

    home = Path(tempfile.mkdtemp(prefix="meisa-distributed-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        redis = stack.enter_context(redis_on_loopback(home))
        port = stack.enter_context(postgres_on_loopback())
        troubles = {}
        for name, trouble in TROUBLES.items():
            sandbox = Sandbox(
                rate_limits=trouble.get("limits", "none"), latency_ms=trouble.get("latency_ms", 0)
            )
            troubles[name] = Trouble(name, stack.enter_context(sandbox), home / name)
        airflow = AirflowOnCelery(
            home,
            {name: trouble.connection(redis) for name, trouble in troubles.items()},
            database=f"://meisa@127.0.0.1:{port}/postgres",
            broker=redis,
        )
        of = {name: trouble.of_dag() for name, trouble in troubles.items()}
        (airflow.dags / "troubles.py").write_text(DAGS.format(of=of, in_flight=IN_FLIGHT))
        stack.callback(airflow.stop)
        airflow.start()
        yield Scene(airflow, troubles)


def pytest_terminal_summary(terminalreporter):
    """Say what was measured, which no test judges: a machine may be busy."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {name}: {value}")
