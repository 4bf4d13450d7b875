"""The fixtures that tests of all folders share, and the three speeds at which tests run."""

from __future__ import annotations

import gc
import itertools
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.support.airflow_process import Ran, load_example, make_database, make_home, run_dag
from tests.support.webhook import Webhook, webhook

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from airflow_provider_meisa.sandbox.server import Sandbox

TESTS = Path(__file__).resolve().parent
SPEEDS = ("unit", "airflow", "system")
SPEED_OF_FOLDER = {
    "api": "unit",
    "bulk": "unit",
    "jobs": "unit",
    "sandbox": "unit",
    "browser": "system",
    "distributed": "system",
    "scheduler": "system",
}
"""The speed of a test that has no mark of its own; in all other folders it is ``airflow``."""

# Airflow reads its home when it is first imported, so this comes before any test module.
HOME = make_home()

# Programs that a test starts keep their files here, and not next to those of earlier runs. Some run as other users.
TEMPORARY = Path(tempfile.mkdtemp(prefix="meisa-tests-"))
TEMPORARY.chmod(0o1777)
os.environ["TMPDIR"] = str(TEMPORARY)

# Seldom: a collection that falls into a parser at its deepest, and finds a socket left open, fails that test.
gc.set_threshold(100_000)

# An input that takes long to draw on a busy machine is not a failure, and a run repeats the one before it.
hypothesis.settings.register_profile(
    "tests",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile("fuzz", hypothesis.settings.get_profile("tests"), derandomize=False)
hypothesis.settings.load_profile("tests")


def pytest_unconfigure() -> None:
    for folder in (HOME, TEMPORARY):
        shutil.rmtree(folder, ignore_errors=True)


def speed_of_folder(path: Path) -> str:
    """Return the speed of the tests of a file that have no mark of their own."""
    return SPEED_OF_FOLDER.get(path.relative_to(TESTS).parts[0], "airflow")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the folders whose tests import Airflow alone where only unit tests run."""
    if config.option.markexpr != "unit" or collection_path == TESTS or TESTS not in collection_path.parents:
        return None
    return speed_of_folder(collection_path) != "unit" or None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Give each test a speed; run the tests of the system one by one, and first: each takes a core for itself."""
    for item in items:
        if not any(item.get_closest_marker(speed) for speed in SPEEDS):
            item.add_marker(speed_of_folder(item.path))
        if item.get_closest_marker("system"):
            item.add_marker(pytest.mark.xdist_group("system"))
    yield
    items.sort(key=lambda item: item.get_closest_marker("system") is None)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Keep unit tests what they are."""
    if item.config.option.markexpr == "unit":
        assert "airflow" not in sys.modules, "a unit test has imported Airflow: mark it `airflow`"


@pytest.fixture(autouse=True)
def plans_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the plans of each test apart: many have a task of the same name."""
    folder = tmp_path_factory.mktemp("plans")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture(scope="session")
def airflow_database(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Migrate the database of this process's Airflow, or copy one that an earlier run has migrated."""
    has_cache = pytestconfig.pluginmanager.hasplugin("cacheprovider")
    templates = pytestconfig.cache.mkdir("airflow") if has_cache else tmp_path_factory.mktemp("airflow")
    make_database(HOME, templates)


@pytest.fixture
def meisa_connection(meisa_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Point a connection at the sandbox; called again, change what it says."""

    def connect(conn_id: str = "meisa_default", **changes: Any) -> None:
        extra = {"rate_limit_storage": "memory", "timeout": 5, **changes.pop("extra", {})}
        fields = {"conn_type": "meisa", "host": meisa_sandbox.url, "password": meisa_sandbox.key, **changes}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({**fields, "extra": extra}))

    connect()
    return connect


@pytest.fixture(autouse=True)
def resend_after(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float | None:
    """Let a write whose response was lost be sent again soon; not in tests whose time passes only by sleeping."""
    if "clock" in request.fixturenames:
        return None
    from airflow_provider_meisa.api.settings import Settings

    seconds = 0.1
    monkeypatch.setattr(Settings, "resend_after", seconds)
    return seconds


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without a pause."""
    monkeypatch.setattr("airflow_provider_meisa.api.client._BACKOFF", lambda _state: 0.0)


@pytest.fixture
def short_deferrals(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let a task be deferred for a fraction of a second; return the arguments that defer it."""
    from airflow_provider_meisa.operators import bulk

    monkeypatch.setattr(bulk, "SHORTEST_DEFERRAL", 0.1)
    monkeypatch.setattr(bulk, "_WAKE_EARLY", 0.1)
    return {"deferrable": True, "defer_after": 0.3}


@pytest.fixture
def ledgers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep all ledgers in a folder of this test, and return it."""
    folder = tmp_path / "ledgers"
    monkeypatch.setenv("AIRFLOW__MEISA__LEDGER_PATH", str(folder))
    return folder


_numbers = itertools.count()


@pytest.fixture
def run(airflow_database: None, meisa_connection: Callable[..., None]) -> Iterator[Callable[..., Ran]]:
    """Run a DAG as `airflow dags test` does; a task that fails unasserted fails the test."""
    runs = []

    def run_and_keep(dag: DAG, **arguments: Any) -> Ran:
        runs.append(run_dag(dag, **arguments))
        return runs[-1]

    yield run_and_keep
    for ran in runs:
        ran.check()


@pytest.fixture
def run_task(run: Callable[..., Ran]) -> Callable[..., Ran]:
    """Run one operator in a DAG of its own."""

    def run_operator(operator: type, /, **arguments: Any) -> Ran:
        from airflow.sdk import DAG

        for_dag = ("params", "render_template_as_native_obj")
        dag_arguments = {name: arguments.pop(name) for name in for_dag if name in arguments}
        with DAG(f"one_task_{next(_numbers)}", schedule=None, **dag_arguments) as dag:
            operator(task_id="task", **arguments)
        return run(dag)

    return run_operator


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Write a file into the folder of this test, and return its path."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def example(run: Callable[..., Ran]) -> Callable[..., Ran]:
    """Run one of the example DAGs."""
    return lambda name, **arguments: run(load_example(name), **arguments)


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    """Return the webhook of the connection ``slack``."""
    with webhook() as server:
        fields = {"conn_type": "slackwebhook", "password": server.url}
        monkeypatch.setenv("AIRFLOW_CONN_SLACK", json.dumps(fields))
        yield server


@pytest.fixture
def everything_written(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[[], str]]:
    """Collect everything that is logged at any level or printed."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("urllib3").setLevel(logging.DEBUG)

    def written() -> str:
        out, err = capfd.readouterr()
        return "\n".join([out, err, caplog.text])

    yield written
    sys.stdout.flush()
