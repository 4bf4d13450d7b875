import importlib
import inspect
import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, metadata
from pathlib import Path

import pytest

import airflow_provider_meisa
from airflow_provider_meisa.get_provider_info import get_provider_info
from airflow_provider_meisa.hooks.meisa import MeisaHook

pytestmark = pytest.mark.xdist_group("provider_info")  # the commands are run once

AIRFLOW = Path(sys.executable).with_name("airflow")


def airflow(*arguments, **environment):
    return subprocess.run(
        [AIRFLOW, *arguments],
        env={**os.environ, **environment, "COLUMNS": "250"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_description_fits_the_schemas_of_airflow():
    import airflow
    import jsonschema

    folder = Path(airflow.__path__[0])
    info = get_provider_info()
    jsonschema.validate(info, json.loads((folder / "provider_info.schema.json").read_text()))
    strict = json.loads((folder / "provider.yaml.schema.json").read_text())
    for name in (
        "connection-types",
        "hooks",
        "operators",
        "sensors",
        "triggers",
        "extra-links",
        "integrations",
        "asset-uris",
        "dataset-uris",
        "task-decorators",
    ):
        jsonschema.validate(
            info[name], {**strict["properties"][name], "definitions": strict.get("definitions", {})}
        )


def test_everything_the_description_names_can_be_imported():
    info = get_provider_info()
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for entry in info[kind]:
            for module in entry["python-modules"]:
                importlib.import_module(module)
    for transfer in info["transfers"]:
        importlib.import_module(transfer["python-module"])
    for path in (*info["extra-links"], info["connection-types"][0]["hook-class-name"]):
        module, _, name = path.rpartition(".")
        assert inspect.isclass(getattr(importlib.import_module(module), name))
    (uris,), decorators = info["asset-uris"], [each["class-name"] for each in info["task-decorators"]]
    assert len(decorators) == 2
    for path in (uris["handler"], uris["to_openlineage_converter"], *decorators):
        module, _, name = path.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))


def test_the_description_agrees_with_the_hook_and_the_distribution():
    info = get_provider_info()
    (connection,) = info["connection-types"]
    assert connection["connection-type"] == MeisaHook.conn_type
    assert connection["hook-name"] == MeisaHook.hook_name
    assert info["package-name"] == metadata("airflow-provider-meisa")["Name"]


def test_every_extra_the_settings_read_has_a_field_in_the_form():
    from airflow_provider_meisa.api.extras import KNOWN

    assert list(get_provider_info()["connection-types"][0]["conn-fields"]) == list(KNOWN)


def test_the_entry_points_are_those_that_airflow_and_pytest_look_for():
    found = {
        (point.group, point.value)
        for group in ("airflow.plugins", "apache_airflow_provider", "console_scripts", "pytest11")
        for point in entry_points(group=group)
        if point.dist is not None and point.dist.name == "airflow-provider-meisa"
    }
    assert found == {
        ("apache_airflow_provider", "airflow_provider_meisa.get_provider_info:get_provider_info"),
        ("pytest11", "airflow_provider_meisa.sandbox.pytest_plugin"),
        ("airflow.plugins", "airflow_provider_meisa.plugins.meisa:MeisaPlugin"),
        ("console_scripts", "airflow_provider_meisa.cli.__main__:main"),
        ("console_scripts", "airflow_provider_meisa.sandbox.__main__:main"),
    }


def test_the_version_is_the_newest_of_the_changelog():
    root = Path(__file__).resolve().parent.parent
    changelog = (root / "CHANGELOG.md").read_text()
    newest = next(
        line for line in changelog.splitlines() if line.startswith("## [") and "Unreleased" not in line
    )
    assert f"[{airflow_provider_meisa.__version__}]" in newest
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]


SHOWN = {
    "providers list -o plain": "airflow-provider-meisa",
    "providers hooks -o plain": "airflow_provider_meisa.hooks.meisa.MeisaHook",
    "providers behaviours -o plain": "\nmeisa\n",
    "providers widgets -o plain": "rate_limits",
    "providers links -o plain": "airflow_provider_meisa.links.meisa.MeisaSequenceLink",
    "providers get airflow-provider-meisa --full -o yaml": "conn-fields",
}
COMMANDS = """
import contextlib, io, json, sys
from airflow.cli.cli_parser import get_parser

shown = {}
for command in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        arguments = get_parser().parse_args(command.split())
        arguments.func(arguments)
    shown[command] = out.getvalue()
print(json.dumps(shown))
"""


@pytest.fixture(scope="module")
def shown_by_each():
    """Run the commands in one process: to start Airflow takes longer than all of them."""
    ran = subprocess.run(
        [sys.executable, "-c", COMMANDS, *SHOWN],
        env={**os.environ, "COLUMNS": "250"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Meisa" not in ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize("command", SHOWN)
def test_the_airflow_command_shows_the_provider(command, shown_by_each):
    assert SHOWN[command] in shown_by_each[command]


def test_the_airflow_command_tests_the_connection(meisa_sandbox, meisa_connection):
    ran = airflow("connections", "test", "meisa_default")
    assert ran.returncode == 0
    assert "Connection success!" in ran.stdout
    assert [request["path"] for request in meisa_sandbox.requests()] == ["/api/v1/ping/"]
    assert meisa_sandbox.key not in ran.stdout + ran.stderr
