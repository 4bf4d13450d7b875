"""What is in the wheel and in the sdist, and what is not."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from importlib.metadata import EntryPoint
from pathlib import Path, PurePosixPath

import pytest

import airflow_provider_meisa

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = "airflow_provider_meisa"
DIST_INFO = f"{PACKAGE}-{airflow_provider_meisa.__version__}.dist-info"


def build(kind, source, into):
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", into]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = into.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    with zipfile.ZipFile(build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))) as archive:
        yield archive


@pytest.fixture(scope="module")
def unpacked_sdist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))) as archive:
        archive.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    return top


def sources():
    files = (path for path in (ROOT / PACKAGE).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}


def metadata(wheel):
    return message_from_string(wheel.read(f"{DIST_INFO}/METADATA").decode())


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel):
    described = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    assert set(wheel.namelist()) == sources() | {f"{DIST_INFO}/{name}" for name in described}


def test_nothing_stray_lies_in_the_package():
    assert {PurePosixPath(name).suffix for name in sources()} <= {".py", ".js", ".css", ".typed"}
    assert not [name for name in sources() if "test" in PurePosixPath(name).stem.removeprefix("pytest")]


def test_type_checkers_and_browsers_find_what_they_look_for(wheel):
    assert f"{PACKAGE}/py.typed" in wheel.namelist()
    assert b"AirflowPlugin" in wheel.read(f"{PACKAGE}/plugins/static/meisa.js")


def test_every_entry_point_of_the_wheel_leads_somewhere(wheel):
    group, points = "", []
    for line in wheel.read(f"{DIST_INFO}/entry_points.txt").decode().splitlines():
        if line.startswith("["):
            group = line.strip("[]")
        elif line:
            name, value = line.split(" = ")
            points.append(EntryPoint(name, value, group))
    assert {point.group for point in points} >= {"apache_airflow_provider", "airflow.plugins", "pytest11"}
    assert all(point.load() for point in points)


def test_the_wheel_asks_for_no_newest_airflow_and_no_oldest_python(wheel):
    message = metadata(wheel)
    needed = {line for line in message.get_all("Requires-Dist") if "extra ==" not in line}
    assert "apache-airflow>=2.11.0" in needed
    assert not [line for line in needed if "<" in line], "an upper bound keeps people from upgrading"
    assert message["Requires-Python"] == ">=3.11"


def test_the_sdist_can_be_tested_and_has_no_folder_of_a_tool(unpacked_sdist):
    found = {path.name for path in unpacked_sdist.iterdir()} - {"PKG-INFO", ".gitignore"}
    assert found == {
        PACKAGE,
        *("benchmarks", "constraints", "dev", "docs", "example_dags", "tests"),
        *(
            "CHANGELOG.md",
            "CONTRIBUTING.md",
            "LICENSE",
            "Makefile",
            "README.md",
            "RELEASING.md",
            "SECURITY.md",
            "pyproject.toml",
        ),
    }
    assert not [path for path in unpacked_sdist.rglob("*") if path.suffix == ".pyc" or "_build" in path.parts]
    assert not (unpacked_sdist / "tests" / "packaging" / "test_github.py").exists()


def test_the_sdist_makes_the_same_wheel(unpacked_sdist, wheel, tmp_path):
    with zipfile.ZipFile(build("wheel", unpacked_sdist, tmp_path)) as again:
        assert {name: again.read(name) for name in again.namelist()} == {
            name: wheel.read(name) for name in wheel.namelist()
        }
