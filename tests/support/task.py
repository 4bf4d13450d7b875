"""A task through all its tries and legs, each with an operator of its own as in a process of its own."""

from __future__ import annotations

import asyncio
import json

from airflow.exceptions import TaskDeferred

from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator


class TaskState:
    """The state of a task as Airflow 3.3 keeps it: JSON by key, through tries, kills and clears.

    `writes` are those of the checkpoint, one of which can be made to fail; `progress` are those of the progress.
    """

    def __init__(self):
        self.values = {}
        self.writes = []
        self.progress = []
        self.fail_at = None

    def get(self, key, default=None):
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key, value, *, retention=None):
        writes = self.writes if key == "meisa" else self.progress
        if self.fail_at == len(self.writes) and writes is self.writes:
            raise RuntimeError("this try is not the task's any more")
        self.values[key] = json.dumps(value)
        writes.append(value)


class Ti:
    """What is asked of a task instance."""

    dag_id, run_id, task_id, map_index = "dag", "run", "task", -1

    def __init__(self):
        self.xcoms = {}
        self.max_tries = 0

    def xcom_push(self, key, value):
        self.xcoms[key] = json.loads(json.dumps(value))


class Task:
    """One task instance: what it is told, and what outlives its processes."""

    def __init__(self, emails=(), **arguments):
        self.arguments = {"emails": emails, "sequence_slug": "onboarding", **arguments}
        self.state = TaskState()
        self.ti = Ti()
        self.deferrals = []
        self.operator = None

    def make(self):
        """Make the operator, as each process does."""
        self.operator = MeisaBulkEnrollOperator(task_id="task", **self.arguments)
        return self.operator

    def context(self):
        return {"ti": self.ti, "task_state_store": self.state}

    def run(self, **changes):
        """Run one try to its end, through all its deferrals, and return the summary."""
        self.arguments |= changes
        leg = lambda: self.make().execute(self.context())  # noqa: E731
        while True:
            try:
                return leg()
            except TaskDeferred as deferred:
                leg = self.after(deferred)

    def clear(self):
        """Do what *Clear* in the UI does: more tries, and nothing of what is kept is gone but the XComs."""
        self.ti.max_tries += 1
        self.ti.xcoms.clear()
        return self

    def after(self, deferred):
        """Wait as the triggerer does; return the leg that follows."""
        trigger = deferred.trigger
        self.deferrals.append(trigger)
        path, arguments = trigger.serialize()
        assert path.endswith("MeisaQuotaTrigger")
        again = type(trigger)(**json.loads(json.dumps(arguments)))

        async def fire():
            return [event async for event in again.run()]

        (event,) = asyncio.run(asyncio.wait_for(fire(), 60))
        return lambda: getattr(self.make(), deferred.method_name)(self.context(), event.payload)


def bulk_requests(sandbox):
    return [request for request in sandbox.requests() if request["path"].endswith("bulk-enroll/")]
