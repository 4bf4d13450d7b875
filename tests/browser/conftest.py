"""One running Airflow for all tests of this folder, which has enrolled contacts into a sandbox, and a browser."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.airflow_processes import AirflowAtWork
from tests.support.chromium import headless_chromium

DAGS = '''
"""Tasks whose outcome the tests check in the browser."""
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from airflow_provider_meisa.operators.sync_contacts import MeisaSyncContactsOperator

OF = {of!r}

for name, (people, arguments) in OF.items():
    with DAG(name, schedule=None, is_paused_upon_creation=False) as dag:
        emails = [f"person{{number:05}}@example.com" for number in range(people)]
        if not people:
            EmptyOperator(task_id="task")
        else:
            MeisaBulkEnrollOperator(task_id="task", emails=[*emails, emails[0].upper(), "broken"], **arguments)
    globals()[name] = dag

with DAG("contacts", schedule=None, is_paused_upon_creation=False) as contacts:
    MeisaSyncContactsOperator(
        task_id="task",
        contacts=[{{"email": f"member{{number}}@example.com"}} for number in range(12)],
        ledger="contacts",
        first_run="send",
    )
'''


class Environment:
    """The running Airflow, its sandboxes, and the runs that have ended."""

    def __init__(self, airflow, sandboxes, outcomes):
        self.airflow = airflow
        self.sandboxes = sandboxes
        self.outcomes = outcomes
        self.runs = {}

    def run(self, dag_id):
        """Start a run of a DAG, and return where its task's tab is."""
        self.runs[dag_id] = self.airflow.trigger(dag_id)
        return f"/dags/{dag_id}/runs/{quote(self.runs[dag_id], safe='')}/tasks/task/plugin/meisa-run"


# Not for the whole session: while Playwright is there, an event loop is running, and no other test can run its own.
@pytest.fixture(scope="module")
def browser():
    with headless_chromium() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def environment(browser):
    from airflow_provider_meisa.sandbox.server import Sandbox

    home = Path(tempfile.mkdtemp(prefix="meisa-browser-"))
    (home / "rate_limits").mkdir(mode=0o700)
    outcomes = str(home / "outcomes.jsonl")
    to_onboarding = {"sequence_slug": "onboarding"}
    of = {
        "nightly": (1200, {**to_onboarding, "outcomes_path": outcomes}),
        # Into a sequence of its own: it runs before or after the tests that count the others.
        "slow": (
            5000,
            {"sequence_slug": "reactivation", "meisa_conn_id": "meisa_slow", "max_in_flight": 1},
        ),
        "misspelled": (10, {"sequence_slug": "onbording"}),
        "unrelated": (0, {}),
    }
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        sandboxes = {
            "meisa_default": stack.enter_context(Sandbox()),
            "meisa_slow": stack.enter_context(Sandbox(rate_limits="none", latency_ms=1500)),
        }
        sandboxes["meisa_default"].put_contacts({"person00007@example.com": "unsubscribed"})
        limits = {"meisa_default": "60/minute, 1000/hour", "meisa_slow": "10000/minute"}
        connections = {name: _connection(sandboxes[name], limits[name], home) for name in sandboxes}
        users = {"admin": "admin", "viewer": "viewer"}
        settings = {"AIRFLOW__MEISA__LEDGER_PATH": str(home / "ledgers")}
        airflow = AirflowAtWork(home, connections, users, path="/airflow", settings=settings)
        (airflow.dags / "looked_at.py").write_text(DAGS.format(of=of))
        stack.callback(airflow.stop)
        airflow.start()
        environment = Environment(airflow, sandboxes, outcomes)
        ended = {"nightly": "success", "misspelled": "failed", "unrelated": "success", "contacts": "success"}
        for dag_id, state in ended.items():
            environment.run(dag_id)
            assert airflow.ended(dag_id, environment.runs[dag_id]) == state
        yield environment


def _connection(sandbox, limits, home):
    extra = {"rate_limit_storage": (home / "rate_limits").as_uri(), "rate_limits": limits, "timeout": 20}
    return {"conn_type": "meisa", "host": sandbox.url, "password": sandbox.key, "extra": extra}


@pytest.fixture
def visit(environment, browser):
    """Open a page of Airflow's UI as a user; at the end of the test, check that it logged no errors."""
    complaints, pending = [], set()

    def finish(sent):
        pending.discard(sent)

    def finish_requests(page):
        """Wait until the plugin has no pending requests, so that none arrives during the next test."""
        deadline = time.monotonic() + 20
        while pending and time.monotonic() < deadline:
            page.wait_for_timeout(20)

    with ExitStack() as stack:

        def open_page(path, user="admin", theme="light", width=1280):
            context = browser.new_context(viewport={"width": width, "height": 900})
            stack.callback(context.close)
            context.add_cookies(
                [{"name": "_token", "value": environment.airflow.token(user), "url": environment.airflow.url}]
            )
            context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
            page = context.new_page()
            page.set_default_timeout(30_000)
            page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda sent: "/meisa/" in sent.url and pending.add(sent))
            page.on("requestfinished", finish)
            page.on("requestfailed", finish)
            stack.callback(finish_requests, page)
            page.goto(environment.airflow.url + path)
            return page

        yield open_page
    assert complaints == []
