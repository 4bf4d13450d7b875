"""A home for one Airflow: its settings, its database and its commands."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import world
from environment import Environment, output_of, outside
from lines import ROOT


class Home:
    """An Airflow in a folder of its own.

    :param folder: a folder that does not exist yet; it is created.
    :param environment: where Airflow is installed.
    """

    def __init__(self, folder: Path, environment: Environment) -> None:
        self.folder = folder
        self.environment = environment
        self.variables = {
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__FERNET_KEY": "bm90aGluZyBzZWNyZXQgaW4gYSB0ZXN0J3MgaG9tZSE=",
            "COLUMNS": "250",
            "NO_PROXY": "127.0.0.1",
        }
        (folder / "dags").mkdir(parents=True)
        (folder / "rate_limits").mkdir(mode=0o700)
        for file in (*ROOT.glob("example_dags/*.py"), *Path(__file__).parent.glob("dags/*.py")):
            shutil.copy(file, folder / "dags")
        world.fill(folder)

    def meet(self, sandbox: world.Sandbox, *, deferrable: bool) -> None:
        """Set the connections to a sandbox, and whether operators defer by default."""
        self.variables |= world.connections(sandbox, self.folder)
        self.variables["AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE"] = str(deferrable)

    def env(self) -> dict[str, str]:
        """Return the variables for its processes."""
        path = f"{self.environment.airflow.parent}:{outside()['PATH']}"
        return {**outside(), **self.variables, "PATH": path}

    def airflow(self, *arguments: str, **more: str) -> str:
        """Run an ``airflow`` command and return its output.

        :raises Failed: if it ended with an error.
        """
        return output_of([self.environment.airflow, *arguments], {**self.env(), **more}, self.folder)

    def inside(self, question: str, *details: str) -> str:
        """Run a function of ``inside.py`` and return its result, the last line it prints.

        :raises Failed: if it ended with an error.
        """
        program = Path(__file__).with_name("inside.py")
        response = output_of([self.environment.python, program, question, *details], self.env(), self.folder)
        return response.splitlines()[-1]

    def migrate(self) -> None:
        """Create the database, with the DAGs in it: Airflow 3.0 runs no task with unknown assets.

        :raises Failed: if a command ended with an error.
        """
        self.airflow("db", "migrate")
        self.airflow("dags", "reserialize")

    def take_database(self, other: Home) -> None:
        """Start with a copy of another home's database."""
        shutil.copy(other.folder / "airflow.db", self.folder)

    def query(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        """Query its database."""
        address = f"file:{self.folder / 'airflow.db'}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=30)) as database:
            return database.execute(sql, values).fetchall()

    def states(self, dag_id: str) -> dict[str, str]:
        """Return the state of each task of the run ``matrix``, or of the newest run."""
        rows = self.query(
            "SELECT task_id, state FROM task_instance WHERE dag_id = ? AND run_id = "
            "(SELECT run_id FROM dag_run WHERE dag_id = ? ORDER BY run_id = 'matrix' DESC, id DESC LIMIT 1)",
            dag_id,
            dag_id,
        )
        return {row[0]: row[1] for row in rows}
