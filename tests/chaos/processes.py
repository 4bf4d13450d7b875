"""A task and its attempts, each stretch in a process of its own, as in Airflow: what dies there is really dead."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk.exceptions import TaskDeferred

from tests.support.task_on_disk import TaskInstanceOnDisk, TaskStateOnDisk, die, write_whole

_LONGEST_STRETCH = 60.0


@dataclass
class Ended:
    """How a stretch ended.

    :param how: ``success``, ``skipped``, ``failed`` (for good), ``retry``, ``deferred`` or ``killed``.
    :param deferral: the arguments of the trigger, and the method to resume with.
    """

    how: str
    error: str = ""
    deferral: tuple = ()


@dataclass
class Task:
    """A task instance, and what outlives its processes.

    :param make: makes the operator.
    :param folder: where its state and its XComs are.
    :param log: the file that everything written goes to.
    :param patches: what is changed in each process: ``(object, name, value)``.
    :param run_id: of its run.
    :param earlier: what the run before it has pushed.
    """

    make: object
    folder: Path
    log: Path
    patches: list = field(default_factory=list)
    run_id: str = "run"
    earlier: object = None
    tries: int = 0
    max_tries: int = 0

    def clear(self):
        """Do what of clearing a task it can see: Airflow grants it more tries."""
        self.max_tries += 1

    def begin(self):
        """Begin a try: the task is its own from now on, at one stroke, and the XComs of the one before are gone."""
        before, self.tries = self.kept, self.tries + 1
        before.rename(self.kept) if before.exists() else self.kept.mkdir()
        for file in self.kept.glob("*.xcom"):
            file.unlink()

    @property
    def run_name(self):
        """What a ledger calls its run."""
        return f"dag/task/{self.run_id}"

    @property
    def kept(self):
        """Where what is kept of the task is, for its latest try."""
        return self.folder / f"kept-{self.tries}"

    def start(self, deferral=(), *, die_at=0, die_recording=0, die_at_part=0):
        """Start a stretch, and return the id of its process."""
        (self.folder / f"ended.{self.tries}").unlink(missing_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            try:
                self._live(deferral, die_at, die_recording, die_at_part)
            except BaseException:  # noqa: BLE001 (any error, the parent reports it)
                write_whole(
                    self.folder / f"ended.{self.tries}", json.dumps(vars(Ended("crashed", _traceback())))
                )
            finally:
                os._exit(1)
        return pid

    def wait(self, pid, seconds=_LONGEST_STRETCH):
        """Wait for a stretch, and return how it ended."""
        deadline = time.monotonic() + seconds
        while not os.waitpid(pid, os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return Ended("killed", "it did not come to an end")
            time.sleep(0.002)
        file = self.folder / f"ended.{self.tries}"
        return Ended(**json.loads(file.read_text())) if file.exists() else Ended("killed")

    def xcom(self, key="return_value"):
        """Return what the latest try has pushed."""
        file = self.kept / f"{key}.xcom"
        return json.loads(file.read_text()) if file.exists() else None

    def state(self, key="meisa"):
        """Return what is kept of the task."""
        return TaskStateOnDisk(self.kept).get(key)

    def _live(self, deferral, die_at, die_recording, die_at_part):
        number = self.tries
        with contextlib.ExitStack() as patched:
            _write_everything_to(self.log)
            for target, name, value in self.patches:
                patched.enter_context(mock.patch.object(target, name, value))
            if die_recording:
                patched.enter_context(_death_while_recording(die_recording))
            if die_at_part:
                patched.enter_context(_death_at_part(die_at_part))
            operator = self.make()
            signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
            context = {
                # The first attempt of a case has a retry after it; those that follow are the last ones, and cleared.
                "ti": TaskInstanceOnDisk(
                    self.kept, self.max_tries, self.run_id, self.earlier, try_number=self.tries - 1
                ),
                "task_state_store": TaskStateOnDisk(self.kept, die_at),
            }
            ended = _stretch(operator, context, deferral)
        write_whole(self.folder / f"ended.{number}", json.dumps(vars(ended)))
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _stretch(operator, context, deferral):
    try:
        if deferral:
            arguments, method = deferral
            event = {"status": "go", **arguments}
            value = getattr(operator, method)(context, event)
        else:
            value = operator.execute(context)
    except TaskDeferred as deferred:
        _path, arguments = deferred.trigger.serialize()
        return Ended("deferred", deferral=(arguments, deferred.method_name))
    except AirflowSkipException:
        return Ended("skipped")
    except AirflowFailException:
        return Ended("failed", _traceback())
    except AirflowException:
        return Ended("retry", _traceback())
    except Exception as error:  # noqa: BLE001 (what is not known below is a finding)
        # What Airflow itself raises to a try that is not the task's any more; all else is a finding.
        known = isinstance(error, RuntimeError) and "not the task's" in str(error)
        return Ended("outlived" if known else "crashed", _traceback())
    context["ti"].xcom_push("return_value", value)
    return Ended("success")


def _traceback():
    """Write what Airflow writes into a task's log."""
    text = traceback.format_exc()
    sys.stderr.write(text)
    return text


def _write_everything_to(path):
    """Send all that is printed, and all that is logged at whatever level, to a file."""
    descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    root = logging.getLogger()
    sys.stdout = sys.stderr = os.fdopen(descriptor, "a", buffering=1)  # pytest has put others in their places
    root.handlers[:] = [logging.StreamHandler(sys.stderr)]
    root.setLevel(logging.DEBUG)
    for name in ("urllib3", "airflow.task", "airflow_provider_meisa"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.propagate = True
            logger.handlers.clear()


def _death_while_recording(number):
    """Die when an outcomes file, or a part of one, is opened for the nth time: it is there, and empty."""
    from airflow_provider_meisa.bulk import outcome_file

    create, opened = outcome_file.create, iter(range(1, 10_000))

    def create_and_die(place):
        file = create(place)
        if next(opened) == number:
            die()
        return file

    return mock.patch.object(outcome_file, "create", create_and_die)


@contextlib.contextmanager
def _death_at_part(number):
    """Die at the nth time that parts of a ledger are written or removed; negative: just after it."""
    from airflow_provider_meisa.bulk.ledger.store import DiskStore

    counted = iter(range(1, 10_000))

    def dying(name):
        original = getattr(DiskStore, name)

        def put_or_remove(store, given):
            now = next(counted)
            if now == number:
                die()
            result = original(store, given)
            if now == -number:
                die()
            return result

        return mock.patch.object(DiskStore, name, put_or_remove)

    with dying("put"), dying("remove"):
        yield
