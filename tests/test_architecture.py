"""What an import may need and may cost; `make check` holds which layer may import which."""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_provider_meisa
from tests.support.provider import modules_of_provider

pytestmark = pytest.mark.xdist_group("house")  # what each module loads is found out once

HOUSE = Path(airflow_provider_meisa.__path__[0])
LAYER_OF_API = {"requests", "urllib3", "tenacity", "redis"}


def rooms():
    return [path for path in HOUSE.rglob("*.py") if path.parent != HOUSE or path.stem == "get_provider_info"]


def layer_of(path):
    first = path.relative_to(HOUSE).parts[0]
    return first.removesuffix(".py")


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


@pytest.mark.parametrize(
    "path", [path for path in rooms() if layer_of(path) != "sandbox"], ids=lambda path: path.stem
)
def test_no_room_needs_more_than_the_core_install(path):
    allowed = {"airflow", "airflow_provider_meisa", "asgiref", "msgspec"} | set(sys.stdlib_module_names)
    foreign = {name.split(".")[0] for name in imports_of(path)} - allowed
    optional = {"flask_appbuilder", "wtforms", "pyarrow", "sqlparse"}
    # rich is what Airflow's own commands are drawn with; its own pages are made with FastAPI and SQLAlchemy
    of_layer = {"api": LAYER_OF_API, "cli": {"rich"}, "plugins": {"fastapi", "sqlalchemy"}}
    assert foreign <= of_layer.get(layer_of(path), set()) | optional


LOADED_BY_EACH = """
import importlib, json, os, sys
from airflow.sdk import BaseOperator, BaseSensorOperator

before, loaded = set(sys.modules), {}
for name in sys.argv[1:]:
    reading, writing = os.pipe()
    if not os.fork():  # so that each module is imported into a process in which Airflow is, and nothing of ours
        importlib.import_module(f"airflow_provider_meisa.{name}")
        os.write(writing, json.dumps(sorted(set(sys.modules) - before)).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        loaded[name] = json.loads(pipe.read())
print(json.dumps(loaded))
"""
USED_BY_DAG_FILES = [
    *(name.removeprefix("airflow_provider_meisa.") for name in modules_of_provider()),
    "links.meisa",
    "assets",
    "decorators.meisa_enroll",
]
HEAVY = {
    "requests",
    "tenacity",
    "fastapi",
    "openlineage",
    "urllib3",
    "uvicorn",
    "pandas",
    "redis",
    "airflow.models",
    "sqlalchemy",
}


def python(*arguments):
    return subprocess.run(
        [sys.executable, "-c", *arguments], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def loaded_by_each():
    return json.loads(python(LOADED_BY_EACH, *USED_BY_DAG_FILES).splitlines()[-1])


@pytest.mark.parametrize("module", USED_BY_DAG_FILES)
def test_a_dag_file_loads_nothing_heavy_with_us(module, loaded_by_each):
    loaded = loaded_by_each[module]
    assert f"airflow_provider_meisa.{module}" in loaded
    assert not {name for name in loaded if name in HEAVY or name.split(".")[0] in HEAVY - {"airflow.models"}}


def loaded_by(statement):
    program = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    return set(python(program).split())


def test_importing_the_package_loads_nothing_at_all():
    assert loaded_by("import airflow_provider_meisa") == {"airflow_provider_meisa"}


def test_the_provider_description_loads_nothing_else():
    assert loaded_by("from airflow_provider_meisa import get_provider_info") <= {
        "airflow_provider_meisa",
        "airflow_provider_meisa.get_provider_info",
        "typing",
        "__future__",
        "collections.abc",
        "re",
        *sys.stdlib_module_names,
        *(name for name in sys.modules if name.split(".")[0] in sys.stdlib_module_names),
    }


@pytest.mark.parametrize(
    "name", [".".join(path.relative_to(HOUSE).with_suffix("").parts) for path in rooms()]
)
def test_no_pattern_needs_a_later_python(name):
    """Before Python 3.11.5 possessive quantifiers and atomic groups match wrongly (python/cpython#106052)."""
    module = importlib.import_module(f"airflow_provider_meisa.{name}".removesuffix(".__init__"))
    patterns = [value for value in vars(module).values() if isinstance(value, re.Pattern)]
    parsed = [str(re._parser.parse(pattern.pattern).data) for pattern in patterns]
    assert not [tree for tree in parsed if "POSSESSIVE_REPEAT" in tree or "ATOMIC_GROUP" in tree]
