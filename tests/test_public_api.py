"""What the packages promise: their public names exist, load nothing until asked for, and are on the page."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_provider_meisa
from airflow_provider_meisa import api, bulk, jobs
from airflow_provider_meisa.api import errors

ROOT = Path(airflow_provider_meisa.__path__[0]).parent
PAGE = (ROOT / "docs" / "reference" / "public-api.md").read_text()
PACKAGES = pytest.mark.parametrize("package", [api, bulk], ids=lambda package: package.__name__)


@PACKAGES
def test_every_public_name_can_be_imported(package):
    for name in package.__all__:
        assert getattr(package, name).__name__ == name


@PACKAGES
def test_the_types_see_the_same_names(package):
    tree = ast.parse(inspect.getsource(package))
    (checking,) = [node for node in tree.body if isinstance(node, ast.If)]
    names = [alias.name for node in checking.body for alias in node.names]
    assert sorted(names) == sorted(package.__all__)


@PACKAGES
def test_dir_lists_the_public_names(package):
    assert set(package.__all__) <= set(dir(package))


@PACKAGES
def test_an_unknown_name_is_an_attribute_error(package):
    for name in ("Nothing", "MeisaNothingError", "annotation"):
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
            getattr(package, name)


def test_jobs_have_no_public_name():
    assert jobs.__all__ == []
    assert "| `airflow_provider_meisa.jobs` | none: use the operators |" in PAGE


def test_every_error_is_public():
    classes = {
        name for name, class_ in vars(errors).items() if inspect.isclass(class_) and name.startswith("Meisa")
    }
    assert classes <= set(api.__all__)


@PACKAGES
def test_importing_a_package_loads_nothing_of_it(package):
    program = (
        f"import sys, {package.__name__}; print(*(name for name in sys.modules if 'meisa' in name), sep=',')"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(ran.stdout.strip().split(",")) == {"airflow_provider_meisa", package.__name__}


@PACKAGES
def test_the_page_names_every_public_name(package):
    for name in package.__all__:
        assert f"`{name}`" in PAGE or (name.endswith("Error") and "errors.md" in PAGE), name


def test_every_name_of_the_page_exists_where_it_says():
    rows = re.findall(r"^\| `(airflow_provider_meisa[\w.]*)` \| (.+?) \|$", PAGE, re.MULTILINE)
    assert len(rows) > 10
    for module, names in rows:
        for name in re.findall(r"`(\w+)`", names):
            assert hasattr(importlib.import_module(module), name), (module, name)
