"""The pins of each line of Airflow."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = sorted((ROOT / "constraints").glob("airflow-*.txt"))
FOR_USERS = ("parquet", "redis", "sandbox", "sql")

every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def pins(file):
    return [line.split("==") for line in file.read_text().splitlines()]


def test_every_line_of_airflow_that_is_supported_has_its_pins():
    assert {file.stem for file in FILES} == {
        f"airflow-{line}" for line in ("2.11", "3.0", "3.1", "3.2", "3.3")
    }


@every_file
def test_a_pin_is_a_name_and_a_version_and_no_address_or_path(file):
    lines = file.read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
    names = [canonicalize_name(name) for name, _ in pins(file)]
    assert len(names) == len(set(names))


@every_file
def test_the_pins_are_of_that_airflow_and_satisfy_what_we_ask_for(file):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = project["dependencies"] + [each for extra in FOR_USERS for each in extras[extra]]
    pinned = {canonicalize_name(name): version for name, version in pins(file)}
    assert pinned["apache-airflow"].startswith(file.stem.removeprefix("airflow-"))
    for requirement in map(Requirement, asked):
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} is pinned to {version}"


def test_the_versions_page_has_a_row_of_every_pinned_airflow():
    rows = re.findall(
        r"^\| (\d+\.\d+\.\d+) \| 3\.\d+", (ROOT / "docs" / "versions.md").read_text(), re.MULTILINE
    )
    assert set(rows) == {dict(pins(file))["apache-airflow"] for file in FILES}
