"""Meisa in Python, in an environment without Airflow."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import venv
from pathlib import Path

import pytest

import airflow_provider_meisa

NEEDED = ("msgspec", "requests", "tenacity")

PROGRAM = """
import importlib, json, pkgutil, sys

try:
    import airflow
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("Airflow is here")

import airflow_provider_meisa.api
for module in pkgutil.iter_modules(airflow_provider_meisa.api.__path__, "airflow_provider_meisa.api."):
    importlib.import_module(module.name)

from airflow_provider_meisa.api.client import MeisaClient
from airflow_provider_meisa.api.endpoints.sequences import bulk_enroll, enroll
from airflow_provider_meisa.api.settings import Settings

base_url, key = sys.argv[1:]
with MeisaClient(Settings(base_url=base_url, api_key=key, rate_limit_storage="memory", environment="live")) as client:
    one = enroll(client, "ada@example.org", "onboarding")
    two = bulk_enroll(client, ["ada@example.org", "bounced@example.com"], "onboarding").outcomes

strangers = {"airflow", "fastapi", "pydantic", "sqlalchemy"} & set(sys.modules)
print(json.dumps({"statuses": [outcome.status for outcome in (one, *two)], "strangers": sorted(strangers)}))
"""


def distributions(names):
    """Name these distributions and, in turn, those they cannot do without."""
    found, waiting = {}, list(names)
    while waiting:
        distribution = importlib.metadata.distribution(waiting.pop())
        if distribution.name not in found:
            found[distribution.name] = distribution
            required = (line for line in distribution.requires or () if ";" not in line)
            waiting += [re.match(r"[\w.-]+", line).group() for line in required]
    return found


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """A Python with our package and what its API part needs, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, system_site_packages=False, symlinks=True)
    [packages] = folder.glob("lib/python*/site-packages")
    for distribution in distributions(NEEDED).values():
        for name in {file.parts[0] for file in distribution.files if ".." not in file.parts}:
            (packages / name).symlink_to(distribution.locate_file(name))
    own = Path(airflow_provider_meisa.__file__).parent
    (packages / own.name).symlink_to(own)
    return folder / "bin" / "python"


def test_contacts_are_enrolled_without_airflow(bare_python, meisa_sandbox):
    done = subprocess.run(
        [bare_python, "-I", "-c", PROGRAM, meisa_sandbox.api_url, meisa_sandbox.key],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == {
        "statuses": ["enrolled", "already_enrolled", "suppressed"],
        "strangers": [],
    }
    assert [row["email"] for row in meisa_sandbox.enrollments("onboarding")] == ["ada@example.org"]
